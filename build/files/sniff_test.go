// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build/files"
	"github.com/dray-tools/dray/oci"
)

// attributes are build attributes of Arm: a name of the processor, and its kind.
func attributes(arch byte) []byte {
	sub := append([]byte("\x05Cortex\x00\x06"), arch, 8, 1)
	sub = append(binary.LittleEndian.AppendUint32([]byte{1}, uint32(len(sub)+5)), sub...)
	all := append([]byte("aeabi\x00"), sub...)
	return append(binary.LittleEndian.AppendUint32([]byte("A"), uint32(len(all)+4)), all...)
}

func goInfo(setting string) map[string][]byte {
	return map[string][]byte{".go.buildinfo": []byte("\xff Go buildinf:\x08\x02" + strings.Repeat("\x00", 16) + "\x06go1.26\x80\x01path\tx\nbuild\t-compiler=gc\nbuild\t" + setting + "\n")}
}

func packed(text string) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

const crates = `{"packages":[{"name":"app","version":"1.0.0","source":"local","root":true,"dependencies":[1]},{"name":"serde","version":"1.0.2","source":"crates.io"},{"name":"cc","version":"1.1.0","source":"crates.io","kind":"build"}]}`

func TestSniff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   sample
		want string // "": no program
	}{
		{sample{machine: elf.EM_X86_64}, "linux/amd64"},
		{sample{machine: elf.EM_X86_64, abi: 3}, "linux/amd64"},
		{sample{machine: elf.EM_X86_64, abi: 9}, "freebsd/amd64"},
		{sample{machine: elf.EM_386, small: true}, "linux/386"},
		{sample{machine: elf.EM_AARCH64}, "linux/arm64"},
		{sample{machine: elf.EM_RISCV}, "linux/riscv64"},
		{sample{machine: elf.EM_S390, big: true}, "linux/s390x"},
		{sample{machine: elf.EM_PPC64}, "linux/ppc64le"},
		{sample{machine: elf.EM_PPC64, big: true}, "linux/ppc64"},
		{sample{machine: elf.EM_MIPS}, "linux/mips64le"},
		{sample{machine: elf.EM_MIPS, small: true, big: true}, "linux/mips"},
		{sample{machine: elf.EM_LOONGARCH}, "linux/loong64"},
		{sample{machine: elf.EM_ARM, small: true, flags: 0x5000400}, "linux/arm/v7"},
		{sample{machine: elf.EM_ARM, small: true, flags: 0x5000200}, "linux/arm/v5"},
		{sample{machine: elf.EM_ARM, small: true, sections: map[string][]byte{".ARM.attributes": attributes(5)}}, "linux/arm/v5"},
		{sample{machine: elf.EM_ARM, small: true, sections: map[string][]byte{".ARM.attributes": attributes(6)}}, "linux/arm/v6"},
		{sample{machine: elf.EM_ARM, small: true, sections: map[string][]byte{".ARM.attributes": attributes(10), "x": nil}}, "linux/arm/v7"},
		{sample{machine: elf.EM_ARM, small: true, sections: map[string][]byte{".ARM.attributes": attributes(14)}}, "linux/arm/v8"},
		{sample{machine: elf.EM_ARM, small: true, sections: map[string][]byte{".ARM.attributes": attributes(10)[:20]}}, "linux/arm/v7"},
		{sample{machine: elf.EM_ARM, small: true, sections: goInfo("GOARM=6")}, "linux/arm/v6"},
		{sample{machine: elf.EM_ARM, small: true, sections: goInfo("GOARM=5,hardfloat")}, "linux/arm/v5"},
		{sample{machine: elf.EM_X86_64, sections: goInfo("GOAMD64=v3")}, "linux/amd64 level v3"},
		{sample{machine: elf.EM_X86_64, sections: goInfo("GOAMD64=v1")}, "linux/amd64"},
		{sample{machine: elf.EM_X86_64, isa: 1}, "linux/amd64"},
		{sample{machine: elf.EM_X86_64, isa: 7}, "linux/amd64 level v3"},
		{sample{machine: elf.EM_X86_64, isa: 15}, "linux/amd64 level v4"},
		{sample{machine: elf.EM_X86_64, interpreter: "/lib/ld.so", needed: []string{"libc.so.6", "libz.so.1"}}, "linux/amd64 by /lib/ld.so with libc.so.6 libz.so.1"},
		{sample{machine: elf.EM_ARM, small: true, interpreter: "/lib/ld.so", needed: []string{"libc.so.6"}}, "linux/arm/v7 by /lib/ld.so with libc.so.6"},
		{sample{machine: elf.EM_S390, big: true, kind: elf.ET_DYN, interpreter: "/lib/ld.so", needed: []string{"libc.so.6"}}, "linux/s390x by /lib/ld.so with libc.so.6"},
		{sample{machine: elf.EM_X86_64, kind: elf.ET_DYN, pie: true}, "linux/amd64"},
		{sample{machine: elf.EM_X86_64, sections: map[string][]byte{".dep-v0": packed(crates)}}, "linux/amd64 of pkg:cargo/serde@1.0.2"},
		{sample{machine: elf.EM_X86_64, sections: map[string][]byte{".dep-v0": packed(crates)[:30]}}, "linux/amd64"},
		{sample{machine: elf.EM_X86_64, kind: elf.ET_DYN, needed: []string{"libc.so.6"}}, ""}, // a library
		{sample{machine: elf.EM_X86_64, kind: elf.ET_REL}, ""},
		{sample{machine: elf.EM_X86_64, kind: elf.ET_CORE}, ""},
	} {
		p, err := files.Sniff(c.in.bytes())
		if err != nil {
			t.Errorf("%+v: %v", c.in, err)
			continue
		}
		if got := text(p); got != c.want {
			t.Errorf("%+v: %s, want %s", c.in, got, c.want)
		}
	}
}

func text(p *files.Program) string {
	if p == nil {
		return ""
	}
	s := p.Platform
	for _, part := range []struct{ word, value string }{{"level", p.Level}, {"by", p.Interpreter}, {"with", strings.Join(p.Libraries, " ")}, {"of", strings.Join(p.Crates, " ")}} {
		if part.value != "" {
			s += " " + part.word + " " + part.value
		}
	}
	return s
}

func TestSniffWindows(t *testing.T) {
	t.Parallel()
	const program, dll = 0x22, 0x2022
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{exe(0x8664, program, 3, false), "windows/amd64"}, {exe(0xaa64, program, 2, false), "windows/arm64"}, {exe(0x14c, program, 3, false), "windows/386"},
		{exe(0x8664, dll, 3, false), ""}, {exe(0x14c, program, 3, true), ""}, {exe(0x8664, program, 10, false), ""}, // a library, one for .NET, one for firmware
		{[]byte("MZ"), ""}, {append([]byte("MZ"), make([]byte, 100)...), ""}, {[]byte("#!/bin/sh\n"), ""}, {nil, ""}, {[]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34"), ""},
	} {
		p, err := files.Sniff(c.b)
		if got := text(p); got != c.want || err != nil {
			t.Errorf("%.20q: %s, %v, want %s", c.b, got, err, c.want)
		}
	}
}

func TestBad_Programs(t *testing.T) {
	t.Parallel()
	good := sample{machine: elf.EM_X86_64, interpreter: "/lib/ld.so"}.bytes()
	change := func(at int, b ...byte) []byte {
		out := slices.Clone(good)
		copy(out[at:], b)
		return out
	}
	for _, c := range []struct {
		b     []byte
		kind  error
		words string
	}{
		{good[:10], oci.ErrInvalid, "broken"}, {good[:100], oci.ErrInvalid, "broken"}, {change(5, 7), oci.ErrInvalid, "byte order"}, {change(4, 7), oci.ErrInvalid, "bits"},
		{change(56, 0xff, 0xff), oci.ErrInvalid, "65535 segments"}, {change(32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), oci.ErrInvalid, "broken"},
		{change(64+32, 0xff, 0xff, 0xff, 0x7f), oci.ErrInvalid, "broken"}, // the length of the interpreter's name
		{change(18, 0xfe, 0xfe), oci.ErrUnsupported, "unknown machine"}, {change(7, 12), oci.ErrUnsupported, "no images"},
		{sample{machine: elf.EM_X86_64, small: true}.bytes(), oci.ErrUnsupported, "unknown machine"}, // x32
		{[]byte("\xcf\xfa\xed\xfe\x07\x00\x00\x01"), oci.ErrUnsupported, "macOS"}, {[]byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"), oci.ErrUnsupported, "macOS"},
		{exe(0x1234, 0x22, 3, false), oci.ErrUnsupported, "unknown machine"}, {exe(0x8664, 0x22, 3, false)[:200], oci.ErrInvalid, "broken"},
	} {
		_, err := files.Sniff(c.b)
		wantError(t, err, c.kind, c.words)
	}
}

// What this machine's linker makes is read as it is.
func TestSniffReal(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := files.Sniff(b)
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		return
	}
	if err != nil || p == nil || !strings.HasPrefix(p.Platform, runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzSniff(f *testing.F) {
	f.Add(sample{machine: elf.EM_X86_64, interpreter: "/lib/ld.so", needed: []string{"libc.so.6"}, isa: 7, sections: goInfo("GOAMD64=v3")}.bytes())
	f.Add(sample{machine: elf.EM_ARM, small: true, needed: []string{"x"}, pie: true, sections: map[string][]byte{".ARM.attributes": attributes(6), ".dep-v0": packed(crates)}}.bytes())
	f.Add(exe(0x8664, 0x22, 3, false))
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := files.Sniff(b)
		if err != nil && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if p != nil && (p.Platform == "unknown" || len(p.Libraries) > 1000) {
			t.Fatalf("%+v", p)
		}
	})
}
