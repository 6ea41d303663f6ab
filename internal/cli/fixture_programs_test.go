// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// mkprogram FILE PLATFORM [loader=PATH]: a program as a compiler writes it, as far
// as it says what it is for, and what loads it.
func mkProgram(ts *testscript.TestScript, neg bool, args []string) {
	name, o, rest := words(ts, neg, args, "mkprogram FILE PLATFORM [loader=PATH]")
	if len(rest) != 1 {
		ts.Fatalf("mkprogram: want one platform")
	}
	var b []byte
	switch system, machine, _ := strings.Cut(rest[0], "/"); system {
	case "linux":
		b = elfProgram(map[string]uint16{"amd64": 62, "arm64": 183}[machine], o["loader"])
	case "windows":
		b = make([]byte, 512)
		copy(b, "MZ")
		b[0x3c] = 64
		copy(b[64:], "PE\x00\x00\x64\x86")    // amd64
		b[84], b[86], b[88+68] = 240, 0x22, 3 // length of the next header, a program, for the console
		copy(b[88:], "\x0b\x02")              // of 64 bits
	case "darwin":
		b = []byte("\xcf\xfa\xed\xfe\x0c\x00\x00\x01")
	default:
		ts.Fatalf("mkprogram: no programs for %s", rest[0])
	}
	path := ts.MkAbs(name)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, b, 0o755))
}

// elfProgram is a program of Linux for a machine of 64 bits that does nothing.
func elfProgram(machine uint16, loader string) []byte {
	const head, entry = 64, 56
	b := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	le := binary.LittleEndian
	for _, n := range []uint16{2, machine} { // a program
		b = le.AppendUint16(b, n)
	}
	b = le.AppendUint32(b, 1)
	for _, n := range []uint64{0, head, 0} { // nothing to begin with, the list of segments, none of sections
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{head, entry, 1, 0, 0, 0} { // one segment
		b = le.AppendUint16(b, n)
	}
	kind := uint32(1) // loaded
	if loader != "" {
		kind = 3 // the name of the loader
	}
	b = le.AppendUint32(le.AppendUint32(b, kind), 4)
	for _, n := range []uint64{head + entry, 0, 0, uint64(len(loader) + 1), uint64(len(loader) + 1), 1} {
		b = le.AppendUint64(b, n)
	}
	return append(append(b, loader...), 0)
}

// mkjar FILE DIR [CLASS=JAVA]...: an archive of the files in a directory, and of
// classes for a version of Java. Those whose names end with Main can be started.
func mkJar(ts *testscript.TestScript, neg bool, args []string) {
	name, classes, rest := words(ts, neg, args, "mkjar FILE DIR [CLASS=JAVA]...")
	if len(rest) != 1 {
		ts.Fatalf("mkjar: want one directory")
	}
	files := map[string][]byte{}
	for class, java := range classes {
		files[strings.ReplaceAll(class, ".", "/")+".class"] = classFile(class, number(ts, java, 0), strings.HasSuffix(class, "Main"))
	}
	root := os.DirFS(ts.MkAbs(rest[0]))
	ts.Check(fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = fs.ReadFile(root, path)
		}
		return err
	}))
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: path, Method: zip.Store})
		ts.Check(err)
		_, err = w.Write(files[path])
		ts.Check(err)
	}
	ts.Check(z.Close())
	path := ts.MkAbs(name)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, b.Bytes(), 0o600))
}

// classFile is a class with one method, which java starts if it is static.
func classFile(name string, java int, main bool) []byte {
	text := func(s string) string { return "\x01" + u2(len(s)) + s }
	access := 0x1
	if main {
		access = 0x9
	}
	return []byte("\xca\xfe\xba\xbe" + u2(0, 44+java) + u2(7) + text(strings.ReplaceAll(name, ".", "/")) + "\x07" + u2(1) + text("java/lang/Object") + "\x07" + u2(3) +
		text("main") + text("([Ljava/lang/String;)V") + u2(0x21, 2, 4, 0, 0, 1, access, 5, 6, 0, 0))
}

func u2(list ...int) string {
	var b []byte
	for _, n := range list {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return string(b)
}
