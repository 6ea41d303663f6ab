// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"os"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A program is what a file says of itself that can be started.
type program struct {
	platform    oci.Platform
	level       string   // of amd64 that it needs, as v3; "": the first
	interpreter string   // that loads it; "": it needs none
	libraries   []string // that it needs, by name
	crates      []byte   // what it is built from, as cargo-auditable says it; nil: not said
	goInfo      []byte   // the same, as the go command says it
}

// headLen is how much of a file tells what it is.
const headLen = 64

// isProgram reports whether a file may be one, from its first bytes.
func isProgram(head []byte) bool {
	return bytes.HasPrefix(head, []byte("\x7fELF")) || bytes.HasPrefix(head, []byte("MZ")) || isMacho(head)
}

// isMacho recognises programs of macOS: of one architecture, or of several, where
// classes of Java begin alike, and go on with a version above 44.
func isMacho(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch binary.BigEndian.Uint32(head) {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
		return true
	case 0xcafebabe:
		return binary.BigEndian.Uint32(head[4:]) < 40
	}
	return false
}

// sniff reads what a file is; nil: no program, such as a library or a script.
// ErrInvalid for a broken one, ErrUnsupported for one that no image can have.
func sniff(r io.ReaderAt, size int64) (*program, error) {
	head := make([]byte, headLen)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch head = head[:n]; {
	case isMacho(head):
		return nil, oci.Errorf(oci.ErrUnsupported, "a program for macOS: there are no images for that")
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return sniffELF(r, size)
	case bytes.HasPrefix(head, []byte("MZ")):
		return sniffPE(r, size)
	}
	return nil, nil
}

// hasImages reports whether there are images for an operating system.
func hasImages(os string) bool { return os == "linux" || os == "windows" || os == "freebsd" }

// rank orders the variants of an architecture: what is made for one runs where
// there is one of the same or a higher rank. -1 of what is in no order.
func rank(p oci.Platform) int {
	p = oci.NormalizePlatform(p)
	orders := map[string]string{"arm": "v5 v6 v7 v8", "amd64": "v1 v2 v3 v4"}
	v := cmp.Or(p.Variant, "v1")
	if at := strings.Index(orders[p.Architecture], v); at >= 0 && len(v) == 2 {
		return at / 3
	}
	return -1
}

// runsOn reports whether a program for one platform runs on another.
func runsOn(program, on oci.Platform) bool {
	a, b := oci.NormalizePlatform(program), oci.NormalizePlatform(on)
	if a.OS != b.OS || a.Architecture != b.Architecture {
		return false
	}
	ra, rb := rank(a), rank(b)
	if ra < 0 || rb < 0 {
		return a.Variant == "" || a.Variant == b.Variant
	}
	return ra <= rb
}

// A part reads pieces of a file of which it believes nothing.
type part struct {
	r    io.ReaderAt
	size int64
}

// at reads a piece, all of it. ErrInvalid if it is not in the file, or longer than most.
func (p part) at(offset, length uint64, most int) ([]byte, error) {
	if length > uint64(most) || offset > uint64(p.size) || length > uint64(p.size)-offset {
		return nil, oci.Errorf(oci.ErrInvalid, "a broken program: a piece is not where it should be")
	}
	b := make([]byte, length)
	if _, err := p.r.ReadAt(b, int64(offset)); err != nil {
		if err == io.EOF {
			err = oci.Errorf(oci.ErrInvalid, "a broken program: it ends too early")
		}
		return nil, err
	}
	return b, nil
}

// text is a string that ends with a zero byte.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// IsProgram reports whether a path is a file that looks like a program.
func IsProgram(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, headLen)
	n, err := io.ReadFull(f, head)
	return (err == nil || err == io.ErrUnexpectedEOF) && isProgram(head[:n])
}
