// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"io"

	"github.com/dray-tools/dray/oci"
)

var peMachines = map[uint16]oci.Platform{
	pe.IMAGE_FILE_MACHINE_AMD64: {OS: "windows", Architecture: "amd64"},
	pe.IMAGE_FILE_MACHINE_I386:  {OS: "windows", Architecture: "386"},
	pe.IMAGE_FILE_MACHINE_ARM64: {OS: "windows", Architecture: "arm64"},
	pe.IMAGE_FILE_MACHINE_ARMNT: {OS: "windows", Architecture: "arm", Variant: "v7"},
}

// sniffPE reads a program of Windows. What is for DOS or firmware, libraries,
// and what the .NET runtime runs wherever it is, are none.
func sniffPE(r io.ReaderAt, size int64) (*program, error) {
	p, order := part{r, size}, binary.LittleEndian
	dos, err := p.at(0x3c, 4, 4)
	if err != nil {
		return nil, nil
	}
	at := uint64(order.Uint32(dos))
	head, err := p.at(at, 24, 24)
	if err != nil || string(head[:4]) != "PE\x00\x00" {
		return nil, nil
	}
	machine, optional, flags := order.Uint16(head[4:]), order.Uint16(head[20:]), order.Uint16(head[22:])
	if flags&pe.IMAGE_FILE_DLL != 0 || flags&pe.IMAGE_FILE_EXECUTABLE_IMAGE == 0 {
		return nil, nil
	}
	o, err := p.at(at+24, uint64(optional), 4096)
	if err != nil || len(o) < 96 {
		return nil, oci.Errorf(oci.ErrInvalid, "a broken program of Windows: its header ends too early")
	}
	directories := 96
	if order.Uint16(o) == 0x20b { // 64 bits
		directories = 112
	}
	subsystem := order.Uint16(o[68:])
	clr := directories + 8*pe.IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR
	managed := len(o) >= clr+8 && order.Uint32(o[clr:]) != 0
	if managed || subsystem != pe.IMAGE_SUBSYSTEM_WINDOWS_CUI && subsystem != pe.IMAGE_SUBSYSTEM_WINDOWS_GUI {
		return nil, nil
	}
	platform, ok := peMachines[machine]
	if !ok {
		return nil, oci.Errorf(oci.ErrUnsupported, "a program of Windows for an unknown machine (%#x)", machine)
	}
	return &program{platform: platform, goInfo: p.goInfo(at+24+uint64(optional), order.Uint16(head[6:]))}, nil
}

// goMagic is what the go command writes before what it tells of a program.
var goMagic = []byte("\xff Go buildinf:")

// goInfo is that of a program of Windows: near the beginning of its data. nil: none.
func (p part) goInfo(sections uint64, count uint16) []byte {
	const header, near, most = 40, 64 << 10, 1 << 20
	list, err := p.at(sections, header*uint64(count), header*maxHeaders)
	if err != nil {
		return nil
	}
	for ; len(list) >= header; list = list[header:] {
		if text(list[:8]) != ".data" {
			continue
		}
		size, at := binary.LittleEndian.Uint32(list[16:]), binary.LittleEndian.Uint32(list[20:])
		b, err := p.at(uint64(at), uint64(min(size, most)), most)
		if n := bytes.Index(b[:min(len(b), near)], goMagic); err == nil && n >= 0 {
			return bytes.Clone(b[n:])
		}
	}
	return nil
}
