// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// ground is the model as Rewrite sees it.
func (m *model) ground() *ground {
	g := &ground{at: map[string]string{}}
	for p, t := range m.at {
		switch t.kind {
		case tar.TypeDir:
			g.at[p] = ""
		case tar.TypeSymlink:
			g.at[p] = t.link
		}
	}
	delete(g.at, ".")
	return g
}

// files are all but directories, which readers of layers make where a path or
// the target of a link goes through them.
func (m *model) files() string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(m.at)) {
		if t := m.at[p]; t.kind != tar.TypeDir {
			out = append(out, fmt.Sprintf("%s %c %s %s", p, t.kind, t.link, t.content))
		}
	}
	return strings.Join(out, "\n")
}

func (m *model) isLink(name string) bool {
	dir, _ := m.walk(path.Dir(name), false)
	t := m.at[path.Join(dir, path.Base(name))]
	return t != nil && t.kind == tar.TypeSymlink
}

// Where all programs agree, which is on layers without entries for directories
// and on paths through links, a rewritten layer makes what the layer makes. And
// what is in its place stays there.
func TestRewriteIsModel(t *testing.T) {
	t.Parallel()
	compared := 0
	for seed := range uint64(600) {
		if checkRewrite(t, ocitest.Random(seed, 20+int(seed%200))) {
			compared++
		}
	}
	if compared < 200 {
		t.Errorf("only %d were compared", compared)
	}
}

func checkRewrite(t testing.TB, b []byte) bool {
	_, layers := valid((&coder{b}).layers(2))
	if len(layers) < 2 {
		return false
	}
	for i := range layers { // some make the c, some do not
		layers[i] = slices.DeleteFunc(layers[i], func(r rec) bool { return r.Linkname == "./c/.." })
	}
	base, below := layers[0], newModel()
	below.apply(base)
	top := slices.DeleteFunc(layers[1], func(r rec) bool { // a second name of a link of the base is more than a Ground knows
		return strings.Contains(r.Name, ".wh.") || r.Typeflag == tar.TypeLink && below.isLink(r.Linkname)
	})
	checkTwice(t, top, below.ground())
	top = slices.DeleteFunc(top, func(r rec) bool { // nor whether links of the base led through what the tar replaces
		dir, _ := below.walk(path.Dir(r.Name), false)
		t := below.at[path.Join(dir, path.Base(r.Name))]
		return r.Typeflag == tar.TypeDir || t != nil && (t.kind == tar.TypeDir || t.kind == tar.TypeSymlink)
	})
	want := newModel()
	want.apply(base)
	if !want.apply(top) {
		return false
	}
	moved, ok := checkTwice(t, top, below.ground())
	if !ok { // a file and what is below it, a hard link into the base
		return false
	}
	if !below.apply(moved) {
		t.Fatalf("the model refuses %s\nof %s\non %s", listed(moved), listed(top), show(layers[:1]))
	}
	if got, want := below.files(), want.files(); got != want {
		t.Fatalf("%s\nof %s\non %s\ngot\n%s\nwant\n%s", listed(moved), listed(top), show(layers[:1]), got, want)
	}
	return true
}

// checkTwice rewrites a layer, and again; false: it cannot be one.
func checkTwice(t testing.TB, recs []rec, g *ground) ([]rec, bool) {
	in := tarOf(t, recs...)
	once, done, err := rewrite(t, in, layer.RewriteOptions{Ground: g})
	if err != nil {
		if !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
		return nil, false
	}
	if done.Changed == bytes.Equal(in, once) {
		t.Fatalf("%v: changed is said to be %v", listed(recs), done.Changed)
	}
	out := untar(t, once)
	checkExtracts(t, out)
	if twice, done, err := rewrite(t, once, layer.RewriteOptions{Ground: g}); err != nil || done.Changed || !bytes.Equal(once, twice) {
		t.Fatalf("%v:\n%v, and again:\n%v, %v", listed(recs), listed(out), listed(untar(t, twice)), err)
	}
	return out, true
}

// checkExtracts holds a layer to what Docker can extract: each name once, hard
// links to what was before, nothing in a file.
func checkExtracts(t testing.TB, recs []rec) {
	kinds := map[string]byte{}
	for _, r := range recs {
		name := path.Clean(r.Name)
		if r.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if _, twice := kinds[name]; twice {
			t.Fatalf("%s is there twice: %v", name, listed(recs))
		}
		if to, ok := kinds[path.Clean(r.Linkname)]; r.Typeflag == tar.TypeLink && (!ok || to == tar.TypeDir) {
			t.Fatalf("%s leads to %s, which is not there: %v", name, r.Linkname, listed(recs))
		}
		for up := path.Dir(name); up != "."; up = path.Dir(up) {
			if k, ok := kinds[up]; ok && k != tar.TypeDir && k != tar.TypeSymlink {
				t.Fatalf("%s is in a file: %v", name, listed(recs))
			}
		}
		kinds[name] = r.Typeflag
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add(tarOf(f, dir("."), dir("lib"), file("lib/x", "hello"), symlink("l", "/srv"), hardlink("l/h", "lib/x"), file("a/.wh.b", "")), byte(0))
	f.Add(tarOf(f, dir("."), file("./a/b.exe", "hello"), symlink("l", "a"), hardlink("l/h", "a/b.exe"), file("CON", "")), byte(3))
	f.Add(tarOf(f, dir("Files"), file("Files/x", ""), file("Hives/x", "")), byte(1))
	f.Add(cat(pax('x', record("path", "p"), record("size", "5"), record("mtime", "1.5"), record("atime", "2")), raw("x", tar.TypeReg, octal(5)), block("12345"), end), byte(6))
	f.Add(cat(pax('x', record("GNU.sparse.size", "600"), record("GNU.sparse.numblocks", "2"), record("GNU.sparse.map", "0,2,510,2")), raw("x", tar.TypeReg, octal(4)), block("abcd"), end), byte(4))
	f.Add(cat(pax('g', record("comment", "x")), raw("L", 'L', octal(3)), block("ab\x00"), raw("x", tar.TypeReg, octal(0)), end), byte(8))
	f.Add(cat(raw(".wh..wh.plnk/1", tar.TypeReg, octal(4)), block("abcd"), raw("d/", 0, octal(0)), raw("e", '7', octal(1)), block("1")), byte(8))
	g := groundOf(debian...)
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		o := layer.RewriteOptions{Ground: g, Windows: how&1 != 0, Exact: how&8 != 0, Limits: layer.Limits{Bytes: 1 << 20, Entries: 1000}}
		if how&2 != 0 {
			o.Prefix = "lib/p"
		}
		if how&4 != 0 {
			o.Clamp, o.Owner = time.Unix(1, 0), &layer.Owner{UID: 5}
		}
		out, done, err := rewrite(t, b, o)
		if err != nil {
			return
		}
		if done.Changed == bytes.Equal(b, out) || done.Changed && o.Exact && o.Clamp.IsZero() {
			t.Fatalf("changed is said to be %v", done.Changed)
		}
		r := reader(out)
		for e, err := range r.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			checkRewritten(t, e, o)
		}
	})
}

// checkRewritten holds an entry to the rules.
func checkRewritten(t *testing.T, e *layer.Entry, o layer.RewriteOptions) {
	top, _, _ := strings.Cut(e.Name, "/")
	switch {
	case o.Windows && top != "Files" && top != "Hives" && top != "UtilityVM" && (e.Name != "." || !o.Exact):
		t.Errorf("%q in a Windows layer", e.Name)
	case o.Exact:
	case e.Kind == layer.Whiteout || e.Kind == layer.Opaque || strings.Contains("/"+e.Header.Name, "/.wh."):
		t.Errorf("whiteout %q", e.Header.Name)
	case e.Name == ".":
		t.Error("the root")
	case !o.Windows && o.Prefix != "" && e.Kind != layer.Dir && !strings.HasPrefix(e.Name, "usr/lib/p/"):
		if path.Dir(e.Name) != "." { // a link of the tar may lead anywhere
			return
		}
		t.Errorf("%q is not below the prefix", e.Name)
	case !o.Clamp.IsZero() && (e.Header.ModTime.After(o.Clamp) || e.Header.Uid != 5):
		t.Errorf("%q is of %v and %d", e.Name, e.Header.ModTime, e.Header.Uid)
	}
}
