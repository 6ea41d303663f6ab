// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/zip"
	"encoding/binary"
	"io"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A reader takes a class apart (Java Virtual Machine Specification, chapter 4).
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.failed, r.b = true, nil
		return make([]byte, max(0, min(n, 8)))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u2() int { return int(binary.BigEndian.Uint16(r.take(2))) }

// Sizes of the constants that have one.
var constants = map[byte]int{3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}

const (
	accPublic = 0x1
	accStatic = 0x8
	magic     = 0xcafebabe
)

// hasMain reports whether a class has the method that java starts, and the name of
// the class. ErrInvalid if it is broken.
func hasMain(b []byte) (name string, found bool, err error) {
	r := &reader{b: b}
	head := r.take(8)
	if r.failed || binary.BigEndian.Uint32(head) != magic {
		return "", false, oci.Errorf(oci.ErrInvalid, "no class of Java")
	}
	texts, classes := map[int]string{}, map[int]int{}
	count := r.u2()
	for n := 1; n < count && !r.failed; n++ {
		switch kind := r.take(1)[0]; {
		case kind == 1:
			texts[n] = string(r.take(r.u2()))
		case kind == 7:
			classes[n] = r.u2()
		case constants[kind] > 0:
			r.take(constants[kind])
			if kind == 5 || kind == 6 { // which take two places
				n++
			}
		default:
			r.failed = true
		}
	}
	r.u2() // access
	name = strings.ReplaceAll(texts[classes[r.u2()]], "/", ".")
	r.u2()             // super class
	r.take(2 * r.u2()) // interfaces
	for part := range 2 {
		for n := r.u2(); n > 0 && !r.failed; n-- {
			access, member, kind := r.u2(), texts[r.u2()], texts[r.u2()]
			found = found || part == 1 && access&(accPublic|accStatic) == accPublic|accStatic && member == "main" && kind == "([Ljava/lang/String;)V"
			for m := r.u2(); m > 0 && !r.failed; m-- {
				r.u2()
				r.take(int(binary.BigEndian.Uint32(r.take(4))))
			}
		}
	}
	if r.failed {
		return "", false, oci.Errorf(oci.ErrInvalid, "a broken class of Java")
	}
	return name, found, nil
}

// isClass reports whether an entry is a class that every version of Java loads.
func isClass(name string) bool {
	return strings.HasSuffix(name, ".class") && !strings.HasPrefix(name, "META-INF/versions/") && !strings.HasSuffix(name, "module-info.class")
}

// javaOf is the version of Java that the classes of an archive need.
func (a *archive) javaOf() (java int, err error) {
	var head [8]byte
	for _, f := range a.entries {
		if !isClass(f.Name) || f.UncompressedSize64 < 8 {
			continue
		}
		if err := readHead(f, head[:]); err != nil {
			return 0, oci.Wrap("", oci.Quote(f.Name), broken(err))
		}
		if binary.BigEndian.Uint32(head[:]) == magic {
			java = max(java, int(binary.BigEndian.Uint16(head[6:]))-44)
		}
	}
	return java, nil
}

func readHead(f *zip.File, head []byte) error {
	rc, err := f.Open()
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = io.ReadFull(rc, head)
	return err
}

// findMain finds the only class that can be started.
func (a *archive) findMain() (string, error) {
	var all []string
	for _, f := range a.entries {
		if !isClass(f.Name) || f.UncompressedSize64 > maxClass {
			continue
		}
		b, err := readAll(f, maxClass)
		if err != nil {
			return "", err
		}
		if name, found, err := hasMain(b); err == nil && found && name != "" {
			all = append(all, name)
		}
	}
	switch {
	case len(all) == 0:
		return "", oci.Errorf(oci.ErrInvalid, "there is nothing to start: the manifest has no Main-Class, and no class a main method")
	case len(all) > 1:
		more := ""
		if len(all) > 5 {
			all, more = all[:5], ", …"
		}
		return "", oci.Errorf(oci.ErrInvalid, "the manifest has no Main-Class, and several classes have a main method: say --main-class, one of %s%s", strings.Join(all, ", "), more)
	}
	return all[0], nil
}

// lts are the versions of Java that the default base comes with.
var lts = []int{8, 11, 17, 21, 25}

// baseFor is the image of the earliest Java that is maintained for long and runs
// what needs a version; 0: any.
func baseFor(java int) (string, error) {
	for _, v := range lts {
		if v >= java {
			return "eclipse-temurin:" + itoa(v) + "-jre", nil
		}
	}
	return "", oci.Errorf(oci.ErrInvalid, "it needs Java %d, and no default base has that: name one with --from", java)
}
