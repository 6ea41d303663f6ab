// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"

	"github.com/dray-tools/dray/oci"
)

// What a program may have of each at most; a real one has far less.
const (
	maxHeaders = 4096
	maxDynamic = 256 << 10
	maxStrings = 4 << 20
	maxNeeded  = 1000
	maxNotes   = 64 << 10
	maxGoInfo  = 4 << 20
	maxCrates  = 4 << 20
)

// An elfFile is as much of a file of the format ELF as is read at once. Nothing in
// it is believed: debug/elf unpacks sections to whatever size they claim.
type elfFile struct {
	part
	order    binary.ByteOrder
	wide     bool // 64 bits
	head     elf.Header64
	progs    []elf.Prog64
	sections []elf.Section64
}

// sniffELF reads a program of Linux or another Unix. Libraries, objects, kernel
// modules and core dumps are none.
func sniffELF(r io.ReaderAt, size int64) (*program, error) {
	f, err := openELF(r, size)
	if err != nil {
		return nil, err
	}
	if t := elf.Type(f.head.Type); t != elf.ET_EXEC && t != elf.ET_DYN {
		return nil, nil
	}
	p := &program{}
	if p.interpreter, err = f.interpreter(); err != nil {
		return nil, err
	}
	pie := false
	if p.libraries, pie, err = f.dynamic(); err != nil {
		return nil, err
	}
	if elf.Type(f.head.Type) == elf.ET_DYN && p.interpreter == "" && !pie {
		return nil, nil // a library
	}
	if p.platform, err = f.platform(); err != nil {
		return nil, err
	}
	info := f.section(".go.buildinfo", maxGoInfo)
	switch p.platform.Architecture {
	case "arm":
		p.platform.Variant = f.armVariant(info)
	case "amd64":
		p.level = f.amd64Level(info)
	}
	p.crates, p.goInfo = f.section(".dep-v0", maxCrates), info
	return p, nil
}

func openELF(r io.ReaderAt, size int64) (*elfFile, error) {
	f := &elfFile{part: part{r, size}}
	ident, err := f.at(0, elf.EI_NIDENT, elf.EI_NIDENT)
	if err != nil {
		return nil, err
	}
	switch elf.Data(ident[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		f.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		f.order = binary.BigEndian
	default:
		return nil, oci.Errorf(oci.ErrInvalid, "a broken program: its byte order is unknown")
	}
	switch elf.Class(ident[elf.EI_CLASS]) {
	case elf.ELFCLASS64:
		f.wide = true
	case elf.ELFCLASS32:
	default:
		return nil, oci.Errorf(oci.ErrInvalid, "a broken program: neither of 32 nor of 64 bits")
	}
	if err := f.readHead(); err != nil {
		return nil, err
	}
	return f, f.readTables()
}

func (f *elfFile) readHead() error {
	if f.wide {
		return f.decode(0, &f.head)
	}
	var h elf.Header32
	err := f.decode(0, &h)
	f.head = elf.Header64{Ident: h.Ident, Type: h.Type, Machine: h.Machine, Flags: h.Flags, Phoff: uint64(h.Phoff), Shoff: uint64(h.Shoff),
		Phentsize: h.Phentsize, Phnum: h.Phnum, Shentsize: h.Shentsize, Shnum: h.Shnum, Shstrndx: h.Shstrndx}
	return err
}

// decode reads a value of a fixed size.
func (f *elfFile) decode(at uint64, v any) error {
	n := binary.Size(v)
	b, err := f.at(at, uint64(n), n)
	if err == nil {
		_, err = binary.Decode(b, f.order, v)
	}
	return err
}

// readTables reads the headers of segments and sections. A program does not need
// the latter: broken ones are as none.
func (f *elfFile) readTables() error {
	h := &f.head
	if h.Phnum > maxHeaders {
		return oci.Errorf(oci.ErrInvalid, "a broken program: it has %d segments", h.Phnum)
	}
	if f.wide {
		f.progs = make([]elf.Prog64, h.Phnum)
		if err := f.decode(h.Phoff, f.progs); err != nil {
			return err
		}
	} else {
		list := make([]elf.Prog32, h.Phnum)
		if err := f.decode(h.Phoff, list); err != nil {
			return err
		}
		for _, p := range list {
			f.progs = append(f.progs, elf.Prog64{Type: p.Type, Off: uint64(p.Off), Vaddr: uint64(p.Vaddr), Filesz: uint64(p.Filesz)})
		}
	}
	if h.Shoff == 0 || h.Shnum > maxHeaders {
		return nil
	}
	if f.wide {
		list := make([]elf.Section64, h.Shnum)
		if f.decode(h.Shoff, list) == nil {
			f.sections = list
		}
		return nil
	}
	list := make([]elf.Section32, h.Shnum)
	if f.decode(h.Shoff, list) == nil {
		for _, s := range list {
			f.sections = append(f.sections, elf.Section64{Name: s.Name, Type: s.Type, Flags: uint64(s.Flags), Off: uint64(s.Off), Size: uint64(s.Size)})
		}
	}
	return nil
}

// section is the content of a section, nil if there is none of use.
func (f *elfFile) section(name string, most int) []byte {
	if int(f.head.Shstrndx) >= len(f.sections) {
		return nil
	}
	names := f.sections[f.head.Shstrndx]
	list, err := f.at(names.Off, names.Size, maxStrings)
	if err != nil {
		return nil
	}
	for _, s := range f.sections {
		if uint64(s.Name) < uint64(len(list)) && bytes.HasPrefix(list[s.Name:], append([]byte(name), 0)) {
			return f.content(s, most)
		}
	}
	return nil
}

func (f *elfFile) content(s elf.Section64, most int) []byte {
	if elf.SectionFlag(s.Flags)&elf.SHF_COMPRESSED != 0 || elf.SectionType(s.Type) == elf.SHT_NOBITS {
		return nil
	}
	b, err := f.at(s.Off, s.Size, most)
	if err != nil {
		return nil
	}
	return b
}

// interpreter is what loads the program.
func (f *elfFile) interpreter() (string, error) {
	for _, p := range f.progs {
		if elf.ProgType(p.Type) == elf.PT_INTERP {
			b, err := f.at(p.Off, p.Filesz, 4096)
			return text(b), err
		}
	}
	return "", nil
}

// dynamic is what a program that is linked when it starts says: the libraries
// that it needs, and whether it is a program that can be loaded anywhere.
func (f *elfFile) dynamic() (needed []string, pie bool, err error) {
	values, err := f.tags()
	if err != nil || values == nil {
		return nil, false, err
	}
	for _, flags := range values[elf.DT_FLAGS_1] {
		pie = pie || elf.DynFlag1(flags)&elf.DF_1_PIE != 0
	}
	if len(values[elf.DT_NEEDED]) == 0 || len(values[elf.DT_STRTAB]) == 0 || len(values[elf.DT_STRSZ]) == 0 {
		return nil, pie, nil
	}
	at, ok := f.offset(values[elf.DT_STRTAB][0])
	if !ok {
		return nil, pie, nil
	}
	names, err := f.at(at, values[elf.DT_STRSZ][0], maxStrings)
	if err != nil {
		return nil, pie, nil // packed programs
	}
	for _, n := range values[elf.DT_NEEDED] {
		if n < uint64(len(names)) && len(needed) < maxNeeded {
			needed = append(needed, text(names[n:min(uint64(len(names)), n+256)]))
		}
	}
	return needed, pie, nil
}

// tags are the values of the dynamic segment that matter here.
func (f *elfFile) tags() (map[elf.DynTag][]uint64, error) {
	for _, p := range f.progs {
		if elf.ProgType(p.Type) != elf.PT_DYNAMIC {
			continue
		}
		b, err := f.at(p.Off, p.Filesz, maxDynamic)
		if err != nil {
			return nil, err
		}
		values, word := map[elf.DynTag][]uint64{}, 4
		if f.wide {
			word = 8
		}
		for ; len(b) >= 2*word; b = b[2*word:] {
			switch tag := elf.DynTag(f.word(b)); tag {
			case elf.DT_NULL:
				return values, nil
			case elf.DT_NEEDED, elf.DT_STRTAB, elf.DT_STRSZ, elf.DT_FLAGS_1:
				values[tag] = append(values[tag], f.word(b[word:]))
			}
		}
		return values, nil
	}
	return nil, nil
}

func (f *elfFile) word(b []byte) uint64 {
	if f.wide {
		return f.order.Uint64(b)
	}
	return uint64(f.order.Uint32(b))
}

// offset finds where in the file an address is loaded from.
func (f *elfFile) offset(address uint64) (uint64, bool) {
	for _, p := range f.progs {
		if elf.ProgType(p.Type) == elf.PT_LOAD && address >= p.Vaddr && address-p.Vaddr < p.Filesz {
			return p.Off + (address - p.Vaddr), true
		}
	}
	return 0, false
}
