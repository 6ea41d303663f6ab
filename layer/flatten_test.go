// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func flatten(t testing.TB, layers ...[]rec) []rec {
	t.Helper()
	var b bytes.Buffer
	if err := layer.Flatten(ctx(t), &b, blobs(t, layers...), layer.FlattenOptions{}); err != nil {
		t.Fatalf("%v\n%s", err, show(layers))
	}
	return untar(t, b.Bytes())
}

func untar(t testing.TB, b []byte) (out []rec) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec{*h, string(content)})
	}
}

// listing of a tar without whiteouts: every path with its content and all
// paths that are the same file. It fails on what must not be there.
func listing(t testing.TB, recs []rec) []string {
	t.Helper()
	same := map[string][]string{}
	lines := map[string]string{}
	for _, r := range recs {
		name := strings.TrimSuffix(r.Name, "/")
		if parent := filepath.Dir(name); parent != "." && !strings.HasPrefix(lines[parent], "5") {
			t.Errorf("%s comes before its parent", name)
		}
		if lines[name] != "" {
			t.Errorf("%s is there twice", name)
		}
		if r.Typeflag == tar.TypeLink {
			if lines[r.Linkname] == "" {
				t.Errorf("%s is a link to %s, which is not there", name, r.Linkname)
			}
			same[r.Linkname] = append(same[r.Linkname], name)
			lines[name] = lines[r.Linkname]
			continue
		}
		same[name] = []string{name}
		lines[name] = fmt.Sprintf("%c %o %q %q", r.Typeflag, r.Mode, r.Linkname, r.content)
	}
	out := map[string]string{}
	for _, group := range same {
		slices.Sort(group)
		for _, name := range group {
			out[name] = fmt.Sprintf("%s %s %v", name, lines[name], group)
		}
	}
	delete(out, ".")
	return slices.Sorted(maps.Values(out))
}

// listing is what listing finds of a tar of the model.
func (m *model) listing() []string {
	same := map[*thing][]string{}
	for _, p := range slices.Sorted(maps.Keys(m.at)) {
		same[m.at[p]] = append(same[m.at[p]], p)
	}
	var out []string
	for p, x := range m.at {
		if p != "." {
			out = append(out, fmt.Sprintf("%s %c %o %q %q %v", p, x.kind, x.mode, x.link, x.content, same[x]))
		}
	}
	slices.Sort(out)
	return out
}

func TestFlattenIsModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		b := make([]byte, rnd.IntN(150))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		m, layers := valid((&coder{b}).layers(5))
		got, want := listing(t, flatten(t, layers...)), m.listing()
		if !slices.Equal(got, want) {
			t.Fatalf("%s\ngot\n %s\nwant\n %s", show(layers), strings.Join(got, "\n "), strings.Join(want, "\n "))
		}
	}
}

// What GNU tar makes of the layers one after the other is what it makes of
// the flattened tar, where there are no whiteouts, which it does not know.
func TestFlattenIsGNUTar(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		t.Skip("no GNU tar here")
	}
	layers := [][]rec{
		{dir("a"), file("a/x", "one"), hardlink("a/y", "a/x"), symlink("l", "a"), dir("d"), file("d/gone", "x")},
		{file("a/x", "two"), hardlink("z", "a/y"), dir("d"), file("d/new", "y"), symlink("a/s", "/etc/passwd")},
		{dir("a"), file("z", "three"), dir("q"), dir("long"), dir("long/" + strings.Repeat("n", 120)), hardlink("q/w", "a/x"), file("long/"+strings.Repeat("n", 120)+"/"+strings.Repeat("m", 200), "long")},
	}
	extract := func(dir string, tars ...[]byte) string {
		for _, b := range tars {
			cmd := exec.Command("tar", "-x", "--delay-directory-restore", "-f", "-", "-C", dir, "--no-same-owner")
			cmd.Stdin = bytes.NewReader(b)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("tar: %v: %s", err, out)
			}
		}
		out, err := exec.Command("find", dir, "-mindepth", "1", "-printf", "%P %M %n %s %l %T@\n").Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(out), "\n")
		slices.Sort(lines)
		for i, line := range lines {
			name, _, _ := strings.Cut(line, " ")
			if fi, err := os.Lstat(filepath.Join(dir, name)); err != nil || !fi.Mode().IsRegular() {
				continue
			}
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				lines[i] += " " + string(b)
			}
		}
		return strings.Join(lines, "\n")
	}
	var sequence [][]byte
	for _, l := range layers {
		sequence = append(sequence, tarOf(t, l...))
	}
	var flat bytes.Buffer
	if err := layer.Flatten(ctx(t), &flat, blobs(t, layers...), layer.FlattenOptions{}); err != nil {
		t.Fatal(err)
	}
	want, got := extract(t.TempDir(), sequence...), extract(t.TempDir(), flat.Bytes())
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Everything that a header can say about a file survives, and the bytes do not
// depend on how often it is done.
func TestFlattenKeeps(t *testing.T) {
	t.Parallel()
	strange := file("caf\xe9/"+strings.Repeat("n", 300), "x")
	strange.Uid, strange.Gid, strange.Uname, strange.Gname = 3_000_000_000, 7, "me", "us"
	strange.Mode, strange.ModTime = 0o6755, time.Unix(-5, 123456789)
	strange.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "a\x00b", "SCHILY.xattr.security.capability": "\x01", "MSWINDOWS.rawsd": "q"}
	strange.Format = tar.FormatPAX
	dev := rec{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev", Devmajor: 8, Devminor: 1, Mode: 0o600, ModTime: epoch}}
	fifo := rec{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600, ModTime: epoch}}
	top := dir(".")
	layers := blobs(t, []rec{top, strange, dev, fifo})
	var a, b bytes.Buffer
	for _, w := range []io.Writer{&a, &b} {
		if err := layer.Flatten(ctx(t), w, layers, layer.FlattenOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two runs differ")
	}
	got := untar(t, a.Bytes())
	if len(got) != 5 || got[0].Name != "./" || got[0].Mode != 0o755 {
		t.Fatalf("got %v", got)
	}
	h := got[2]
	if h.Name != strange.Name || h.Uid != strange.Uid || h.Gid != 7 || h.Uname != "me" || h.Gname != "us" || h.Mode != 0o6755 || !h.ModTime.Equal(strange.ModTime) {
		t.Errorf("got %+v", h)
	}
	for k, v := range strange.PAXRecords {
		if h.PAXRecords[k] != v {
			t.Errorf("%s is %q", k, h.PAXRecords[k])
		}
	}
	if d := got[3]; d.Typeflag != tar.TypeBlock || d.Devmajor != 8 || d.Devminor != 1 {
		t.Errorf("got %+v", d)
	}
}

// A layer whose content does not count is read once, and one that changes
// between the passes is noticed.
func TestFlattenReads(t *testing.T) {
	t.Parallel()
	layers := blobs(t, []rec{file("x", "old"), dir("d")}, []rec{file("x", "new"), symlink("l", "x")})
	opened := make([]int, len(layers))
	for i, b := range layers {
		layers[i] = &countingBlob{b, &opened[i]}
	}
	if err := layer.Flatten(ctx(t), io.Discard, layers, layer.FlattenOptions{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(opened, []int{1, 2}) {
		t.Errorf("opened %v times", opened)
	}
	raw := tarOf(t, file("x", "one"))
	changing := &changingBlob{oci.Bytes(oci.MediaLayer, raw), [][]byte{raw, tarOf(t, file("x", "two"))}}
	if err := layer.Flatten(ctx(t), io.Discard, []oci.Blob{changing}, layer.FlattenOptions{}); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}
