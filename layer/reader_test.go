// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// raw makes a header block without the scruples of archive/tar.
func raw(name string, flag byte, size string, set ...func(b []byte)) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:136], size)
	copy(b[136:], "00000000000\x00")
	b[156] = flag
	copy(b[257:], "ustar\x0000")
	for _, f := range set {
		f(b)
	}
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func octal(n int) string { return fmt.Sprintf("%011o\x00", n) }

// block pads content.
func block(s string) []byte { return append([]byte(s), make([]byte, (512-len(s)%512)%512)...) }

func record(k, v string) string {
	n := len(k) + len(v) + 3
	for len(strconv.Itoa(n))+len(k)+len(v)+3 != n {
		n = len(strconv.Itoa(n)) + len(k) + len(v) + 3
	}
	return strconv.Itoa(n) + " " + k + "=" + v + "\n"
}

// pax is an extended header.
func pax(flag byte, records ...string) []byte {
	s := strings.Join(records, "")
	return append(raw("pax", flag, octal(len(s))), block(s)...)
}

var end = make([]byte, 1024)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	b := tarOf(t, dir("./a"), file("./a/x", "hello"), symlink("a/l", "../../x"), hardlink("/h", "./a/x"), file("a/.wh.gone", ""), file("a/.wh..wh..opq", ""), dir("."))
	r := layer.NewReader(iotest.OneByteReader(bytes.NewReader(b)), layer.Limits{})
	var got []string
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s %s %d %s", e.Kind, e.Name, e.Link, e.Size, content))
	}
	want := []string{"1 a  0 ", "0 a/x  5 hello", "2 a/l ../../x 0 ", "3 h a/x 0 ", "7 a/gone  0 ", "8 a  0 ", "1 .  0 "}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Holes come out as zeros, in all forms in which tars have them.
func TestReaderSparse(t *testing.T) {
	t.Parallel()
	want := "ab" + strings.Repeat("\x00", 508) + "cd" + strings.Repeat("\x00", 88)
	old := raw("x", tar.TypeGNUSparse, octal(4), func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[386:], octal(0)+octal(2)+octal(510)+octal(2)+octal(600)+octal(0))
		copy(b[483:], octal(600))
	})
	for name, b := range map[string][]byte{
		"GNU": cat(old, block("abcd"), end),
		"PAX 0.1": cat(pax('x', record("GNU.sparse.size", "600"), record("GNU.sparse.numblocks", "2"), record("GNU.sparse.map", "0,2,510,2")),
			raw("x", tar.TypeReg, octal(4)), block("abcd"), end),
		"PAX 1.0": cat(pax('x', record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0"), record("GNU.sparse.name", "x"), record("GNU.sparse.realsize", "600")),
			raw("GNUSparseFile.0/x", tar.TypeReg, octal(516)), block("2\n0\n2\n510\n2\n"), block("abcd"), end),
	} {
		r := reader(b)
		e, err := r.Next()
		if err != nil || e.Name != "x" || e.Size != 600 {
			t.Errorf("%s: %+v %v", name, e, err)
			continue
		}
		if got, err := io.ReadAll(r); string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBad_058_UnsafeNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../x", "a/../../x", "/../x", "", "..", "./..", "a/../..", "//../../etc/passwd"} {
		for _, flag := range []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink} {
			_, err := readAll(reader(cat(raw(name, flag, octal(0), func(b []byte) { copy(b[157:], "to") }), end)))
			wantKind(t, fmt.Sprintf("%q %c", name, flag), err, oci.ErrInvalid)
			if err != nil && name != "" && !strings.Contains(err.Error(), "unsafe path") {
				t.Errorf("%q: %v", name, err)
			}
		}
		_, err := readAll(reader(cat(raw("x", tar.TypeLink, octal(0), func(b []byte) { copy(b[157:], name) }), end)))
		wantKind(t, "hard link to "+name, err, oci.ErrInvalid)
	}
	for _, name := range []string{".", "/", "./", "//", "a/.."} {
		for _, flag := range []byte{tar.TypeReg, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeFifo} {
			_, err := readAll(reader(cat(raw(name, flag, octal(0), func(b []byte) { copy(b[157:], "to") }), end)))
			wantKind(t, fmt.Sprintf("%q %c", name, flag), err, oci.ErrInvalid)
		}
		list, err := readAll(reader(cat(raw(name, tar.TypeDir, octal(0)), end)))
		if err != nil || list[0].Name != "." {
			t.Errorf("%q: %v", name, err)
		}
	}
	list, err := readAll(reader(tarOf(t, file("/abs/x", ""))))
	if err != nil || list[0].Name != "abs/x" {
		t.Errorf("a slash at the start: %v", err)
	}
}

func TestBad_063_Whiteouts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "a/.wh...", ".wh.a/x", "x/.wh.a/.wh.b"} {
		_, err := readAll(reader(tarOf(t, file(name, ""))))
		wantKind(t, name, err, oci.ErrInvalid)
	}
	for name, want := range map[string]string{".wh.x": "x", "a/.wh.x": "a/x", "a/.wh....": "a/...", ".wh.wh.x": "wh.x"} {
		list, err := readAll(reader(tarOf(t, file(name, ""))))
		if err != nil || len(list) != 1 || list[0].Kind != layer.Whiteout || list[0].Name != want {
			t.Errorf("%s: %v %v", name, list, err)
		}
	}
	list, err := readAll(reader(tarOf(t, file(".wh..wh.aufs", ""), dir(".wh..wh.orph"), file("a/.wh..wh.plnk/1.2", ""), file("a/.wh..wh..opq", ""))))
	if err != nil || len(list) != 1 || list[0].Kind != layer.Opaque || list[0].Name != "a" {
		t.Errorf("aufs: %v %v", list, err)
	}
}

// Of two entries of one name the last one counts, whatever their types.
func TestBad_065_Duplicates(t *testing.T) {
	t.Parallel()
	makers := []func() rec{
		func() rec { return file("p", "content") },
		func() rec { return dir("p") },
		func() rec { return symlink("p", "elsewhere") },
	}
	for i, first := range makers {
		for j, second := range makers {
			layers := [][]rec{{first(), dir("elsewhere"), second()}}
			m := newModel()
			for _, l := range layers {
				m.apply(l)
			}
			if got, want := fmt.Sprint(listTree(mustTree(t, layers...))), fmt.Sprint(m.list()); got != want {
				t.Errorf("%d over %d: got %s, want %s", j, i, got, want)
			}
		}
	}
}

func TestBad_069_HugeHeaders(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 2<<20)
	old := raw("sparse", tar.TypeGNUSparse, octal(0), func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[386:], octal(0)+octal(0)) // one piece of nothing
		copy(b[483:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	})
	chain := raw("sparse", tar.TypeGNUSparse, octal(0), func(b []byte) { copy(b[257:], "ustar  \x00"); b[482] = 1 })
	more := bytes.Repeat(append(make([]byte, 504), 1, 0, 0, 0, 0, 0, 0, 0), 4000)
	for name, b := range map[string][]byte{
		"size of 8 EiB":         cat(raw("x", tar.TypeReg, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), end),
		"negative size":         cat(raw("x", tar.TypeReg, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), end),
		"size that is no digit": cat(raw("x", tar.TypeReg, "0000000001x\x00"), end),
		"PAX size of 8 EiB":     cat(pax('x', record("size", "9223372036854775807")), raw("x", tar.TypeReg, octal(0)), end),
		"long name":             cat(raw("././@LongLink", tar.TypeGNULongName, octal(len(long))), block(long), raw("x", tar.TypeReg, octal(0)), end),
		"long PAX":              cat(pax('x', record("path", long)), raw("x", tar.TypeReg, octal(0)), end),
		"many long PAX": cat(pax('x', record("a", long[:600<<10])), raw("L", 'L', octal(600<<10)), block(long[:600<<10]),
			raw("x", tar.TypeReg, octal(0)), end),
		"global headers without end": bytes.Repeat(pax('g', record("comment", "x")), 2000),
		"sparse of 8 EiB":            cat(old, end),
		"sparse map without end":     cat(chain, more),
		"long path":                  tarOf(t, file(strings.Repeat("d/", 3000)+"x", "")),
	} {
		_, err := readAll(reader(b))
		wantKind(t, name, err, oci.ErrInvalid)
	}
	_, err := readAll(layer.NewReader(bytes.NewReader(tarOf(t, file("x", "12345678"), file("y", ""))), layer.Limits{Bytes: 7}))
	wantKind(t, "small limit", err, oci.ErrInvalid)
	_, err = readAll(layer.NewReader(bytes.NewReader(tarOf(t, file("x", ""), file("y", ""))), layer.Limits{Entries: 1}))
	wantKind(t, "entries", err, oci.ErrInvalid)
	tree := layer.NewTree(layer.Limits{Entries: 100})
	wantKind(t, "implied directories", tree.Apply(reader(tarOf(t, file(strings.Repeat("d/", 101)+"x", "")))), oci.ErrInvalid)
}

func TestBad_070_Bomb(t *testing.T) {
	t.Parallel()
	big := file("zeros", strings.Repeat("\x00", 1<<20))
	for _, l := range []layer.Limits{{Bytes: 1 << 19}, {Bytes: 1<<20 + 1000}} {
		_, err := readAll(layer.NewReader(bytes.NewReader(tarOf(t, big)), l))
		wantKind(t, "tar", err, oci.ErrInvalid)
	}
	after := cat(tarOf(t, file("x", "")), make([]byte, 1<<20)) // zeros that follow the end
	_, err := readAll(layer.NewReader(bytes.NewReader(after), layer.Limits{Bytes: 1 << 19}))
	wantKind(t, "after the end", err, oci.ErrInvalid)
	dir := path.Join(t.TempDir(), "x")
	_, err = layer.Unpack(ctx(t), dir, blobs(t, []rec{big}, []rec{file("more", "x")}), layer.UnpackOptions{MaxBytes: 1 << 20})
	wantKind(t, "unpack", err, oci.ErrInvalid)
	holes := cat(pax('x', record("GNU.sparse.map", "0,1"), record("GNU.sparse.numblocks", "1"), record("GNU.sparse.size", "9999999999999")),
		raw("x", tar.TypeReg, octal(1)), block("x"), end)
	_, err = readAll(reader(holes))
	wantKind(t, "holes", err, oci.ErrInvalid)
}

func TestBad_072_TrailingData(t *testing.T) {
	t.Parallel()
	good := cat(tarOf(t, file("x", "1")), []byte("what tar programs do not look at"))
	b := oci.Bytes(oci.MediaLayer, good)
	if _, err := layer.Merge(ctx(t), []oci.Blob{b}, layer.Limits{}); err != nil {
		t.Error(err)
	}
	bad := bytes.Clone(good)
	bad[len(bad)-1]++
	lying := oci.Bytes(oci.MediaLayer, bad, b.Descriptor().Digest)
	_, err := layer.Merge(ctx(t), []oci.Blob{lying}, layer.Limits{})
	wantKind(t, "changed after the end", err, oci.ErrCorrupt)
	longer := &changingBlob{b, [][]byte{cat(good, []byte("more"))}}
	_, err = layer.Merge(ctx(t), []oci.Blob{longer}, layer.Limits{})
	wantKind(t, "longer", err, oci.ErrCorrupt)
}

// Whatever bytes names have, they come out again as they were.
func TestBad_073_StrangeNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"caf\xe9", "a\\b", "C:\\x", "con", "x ", "x.", strings.Repeat("n", 300), strings.Repeat("n/", 2000) + "n", "new\nline", "\x1b[1m", "e\u0301", "*?<>|\"", "..x", "x..", "...", ".x"} {
		got := flatten(t, []rec{file(name, name)})
		if last := got[len(got)-1]; last.Name != name || last.content != name {
			t.Errorf("%q became %q", name, last.Name)
		}
	}
	_, err := readAll(reader(cat(pax('x', record("path", "a\x00b")), raw("x", tar.TypeReg, octal(0)), end)))
	wantKind(t, "NUL", err, oci.ErrInvalid)
}

func TestBad_075_Truncated(t *testing.T) {
	t.Parallel()
	whole := tarOf(t, dir("a"), file("a/x", strings.Repeat("content", 200)), file("a/y", "z"))
	parent := t.TempDir()
	for n := 0; n < len(whole)-1; n += 101 {
		if _, err := readAll(reader(whole[:n])); err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
		cut := oci.Bytes(oci.MediaLayer, whole[:n], oci.FromBytes(whole))
		_, err := layer.Unpack(ctx(t), path.Join(parent, "x"), []oci.Blob{cut}, layer.UnpackOptions{})
		if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("unpack %d bytes: %v", n, err)
		}
	}
	wantEmpty(t, parent)
}

// Work is in proportion to entries: a hundred thousand opaque markers in a
// directory of a hundred thousand files would never end if each looked at them.
func TestBad_064_OpaqueMarkers(t *testing.T) {
	t.Parallel()
	const n = 100_000
	entries := func(yield func(*layer.Entry, error) bool) {
		h := &tar.Header{ModTime: time.Unix(0, 0)}
		for i := range n {
			if !yield(&layer.Entry{Name: "d/" + strconv.Itoa(i), Header: h}, nil) ||
				!yield(&layer.Entry{Name: "d", Kind: layer.Opaque, Header: h}, nil) {
				return
			}
		}
	}
	tree := layer.NewTree(layer.Limits{})
	for range 2 {
		if err := tree.Add(entries); err != nil {
			t.Fatal(err)
		}
	}
	files := 0
	for range tree.All("d") {
		files++
	}
	if files != n {
		t.Errorf("%d files", files)
	}
	links := layer.NewTree(layer.Limits{})
	err := links.Add(func(yield func(*layer.Entry, error) bool) { // each entry walks forty long links
		h := &tar.Header{}
		for i := range 41 {
			if !yield(&layer.Entry{Name: "l" + strconv.Itoa(i), Kind: layer.Symlink, Link: strings.Repeat("./", 2000) + "l" + strconv.Itoa(i+1), Header: h}, nil) {
				return
			}
		}
		if !yield(&layer.Entry{Name: "l41", Kind: layer.Dir, Header: h}, nil) {
			return
		}
		for i := 0; yield(&layer.Entry{Name: "l1/" + strconv.Itoa(i), Header: h}, nil); i++ {
		}
	})
	wantKind(t, "links", err, oci.ErrInvalid)
}

// FuzzLayer: names are clean, nothing panics, and what is read twice is the same.
func FuzzLayer(f *testing.F) {
	f.Add(tarOf(f, dir("a"), file("a/x", "hello"), symlink("l", "/a"), hardlink("h", "a/x"), file("a/.wh.b", ""), file("a/.wh..wh..opq", "")))
	f.Add(cat(pax('x', record("path", "p"), record("size", "5"), record("mtime", "1.5")), raw("x", tar.TypeReg, octal(5)), block("12345"), end))
	f.Add(cat(pax('x', record("GNU.sparse.map", "0,1"), record("GNU.sparse.size", "99")), raw("x", tar.TypeReg, octal(1)), block("x"), end))
	f.Add(cat(raw("L", 'L', octal(3)), block("ab\x00"), raw("x", tar.TypeReg, octal(0)), end))
	f.Add(raw("sparse", tar.TypeGNUSparse, octal(0), func(b []byte) { copy(b[257:], "ustar  \x00"); b[482] = 1 }))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := layer.NewReader(bytes.NewReader(b), layer.Limits{Bytes: 1 << 20, Entries: 1000})
		tree := layer.NewTree(layer.Limits{Entries: 1000})
		for e, err := range r.Entries() {
			if err != nil {
				return
			}
			if e.Name != path.Clean(e.Name) || e.Name == ".." || strings.HasPrefix(e.Name, "../") || strings.HasPrefix(e.Name, "/") || strings.Contains(e.Name, "\x00") {
				t.Fatalf("name %q", e.Name)
			}
			n, err := io.Copy(io.Discard, r)
			if err == nil && e.Kind == layer.File && n != e.Size {
				t.Fatalf("%q: %d of %d bytes", e.Name, n, e.Size)
			}
		}
		if err := tree.Apply(layer.NewReader(bytes.NewReader(b), layer.Limits{Bytes: 1 << 20})); err != nil {
			return
		}
		for p := range tree.All(".") {
			if real, _, err := tree.Lookup(p); err != nil || real != p {
				t.Fatalf("%q is not at its place: %q %v", p, real, err)
			}
		}
	})
}
