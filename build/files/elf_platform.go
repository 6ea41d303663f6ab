// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"debug/elf"
	"encoding/binary"

	"github.com/dray-tools/dray/oci"
)

// A machine is one for which programs are made: of 64 bits or not, little-endian
// or not.
type machine struct {
	name         elf.Machine
	wide, little bool
}

var architectures = map[machine]string{
	{elf.EM_X86_64, true, true}:     "amd64",
	{elf.EM_386, false, true}:       "386",
	{elf.EM_AARCH64, true, true}:    "arm64",
	{elf.EM_ARM, false, true}:       "arm",
	{elf.EM_RISCV, true, true}:      "riscv64",
	{elf.EM_S390, true, false}:      "s390x",
	{elf.EM_PPC64, true, true}:      "ppc64le",
	{elf.EM_PPC64, true, false}:     "ppc64",
	{elf.EM_MIPS, true, true}:       "mips64le",
	{elf.EM_MIPS, true, false}:      "mips64",
	{elf.EM_MIPS, false, true}:      "mipsle",
	{elf.EM_MIPS, false, false}:     "mips",
	{elf.EM_LOONGARCH, true, true}:  "loong64",
	{elf.EM_SPARCV9, true, false}:   "sparc64",
	{elf.EM_RISCV, false, true}:     "riscv",
	{elf.EM_PPC, false, false}:      "ppc",
	{elf.EM_AARCH64, true, false}:   "arm64be",
	{elf.EM_ARM, false, false}:      "armbe",
	{elf.EM_S390, false, false}:     "s390",
	{elf.EM_LOONGARCH, false, true}: "loong32",
}

// platform is what a program is for, without a variant.
func (f *elfFile) platform() (p oci.Platform, err error) {
	switch abi := elf.OSABI(f.head.Ident[elf.EI_OSABI]); abi {
	case elf.ELFOSABI_NONE, elf.ELFOSABI_LINUX:
		p.OS = "linux"
	case elf.ELFOSABI_FREEBSD:
		p.OS = "freebsd"
	default:
		return p, oci.Errorf(oci.ErrUnsupported, "a program for a system that has no images (%s)", abi)
	}
	m := machine{elf.Machine(f.head.Machine), f.wide, f.order == binary.LittleEndian}
	p.Architecture = architectures[m]
	if p.Architecture == "" {
		return p, oci.Errorf(oci.ErrUnsupported, "a program for an unknown machine (%s, %s)", m.name, elf.Class(f.head.Ident[elf.EI_CLASS]))
	}
	return p, nil
}

// goSetting is a setting that a Go program was built with.
func goSetting(info []byte, name string) string {
	_, rest, ok := bytes.Cut(info, []byte("\nbuild\t"+name+"="))
	if !ok {
		return ""
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if len(line) > 20 {
		return ""
	}
	return string(line)
}

// Section type and flags of the ABI for the Arm architecture.
const (
	armAttributes = 0x70000003
	armSoftFloat  = 0x200
)

// armVariant is what a 32-bit Arm needs to be: as Go says, or the build
// attributes, or at last the flags.
func (f *elfFile) armVariant(info []byte) string {
	if v := goSetting(info, "GOARM"); v != "" && v[0] >= '5' && v[0] <= '7' {
		return "v" + v[:1]
	}
	for _, s := range f.sections {
		if s.Type != armAttributes {
			continue
		}
		switch arch, ok := cpuArch(f.content(s, maxNotes), f.order); {
		case !ok:
		case arch <= 5:
			return "v5"
		case arch <= 9, arch == 11, arch == 12:
			return "v6"
		case arch == 10, arch == 13:
			return "v7"
		default:
			return "v8"
		}
	}
	if f.head.Flags&armSoftFloat != 0 {
		return "v5"
	}
	return "v7"
}

// cpuArch reads Tag_CPU_arch (Addenda to the ABI for the Arm architecture, "Build
// Attributes").
func cpuArch(b []byte, order binary.ByteOrder) (arch uint64, ok bool) {
	const vendor = "aeabi\x00"
	if len(b) < 5+len(vendor)+5 || b[0] != 'A' || string(b[5:5+len(vendor)]) != vendor || b[5+len(vendor)] != 1 {
		return 0, false
	}
	size := order.Uint32(b[6+len(vendor):])
	b = b[5+len(vendor):]
	if size < 5 || uint64(size) > uint64(len(b)) {
		return 0, false
	}
	for b = b[5:size]; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		if tag == 32 || tag != 4 && tag != 5 && (tag < 32 || tag%2 == 0) { // a number
			value, n := binary.Uvarint(b)
			if n <= 0 {
				return 0, false
			}
			if b = b[n:]; tag == 6 {
				return value, true
			}
		}
		if tag == 4 || tag == 5 || tag >= 32 && (tag%2 == 1 || tag == 32) { // a text
			_, b, _ = bytes.Cut(b, []byte{0})
		}
	}
	return 0, false
}

// Notes of GNU (Linux Extensions to gABI, "Program Property").
const (
	noteProperties = 5
	isaNeeded      = 0xc0008002
)

// amd64Level is the level of x86-64 that a program needs: as Go says, or the
// notes that compilers write.
func (f *elfFile) amd64Level(info []byte) string {
	if v := goSetting(info, "GOAMD64"); v != "" {
		return level(v)
	}
	for _, p := range f.progs {
		if elf.ProgType(p.Type) != elf.PT_GNU_PROPERTY {
			continue
		}
		b, err := f.at(p.Off, p.Filesz, maxNotes)
		if err != nil || len(b) < 16 || string(b[12:16]) != "GNU\x00" || f.order.Uint32(b[8:]) != noteProperties {
			continue
		}
		for b = b[16:]; len(b) >= 12; {
			kind, size := f.order.Uint32(b), uint64(f.order.Uint32(b[4:]))
			if kind == isaNeeded && size == 4 {
				return isaLevel(f.order.Uint32(b[8:]))
			}
			b = b[min(uint64(len(b)), 8+(size+7)/8*8):]
		}
	}
	return ""
}

func isaLevel(bits uint32) string {
	for n, v := range []string{"v4", "v3", "v2"} {
		if bits&(8>>n) != 0 {
			return v
		}
	}
	return ""
}

func level(v string) string {
	if v == "v2" || v == "v3" || v == "v4" {
		return v
	}
	return ""
}
