// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A rec is one entry of a tar in a test.
type rec struct {
	tar.Header
	content string
}

var epoch = time.Unix(1_600_000_000, 0)

func file(name, content string) rec {
	return rec{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: epoch}, content}
}

func dir(name string) rec {
	return rec{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: epoch}}
}

func symlink(name, to string) rec {
	return rec{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777, ModTime: epoch}}
}

func hardlink(name, to string) rec {
	return rec{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644, ModTime: epoch}}
}

// tarOf packs records; it fails the test on those that cannot be.
func tarOf(t testing.TB, recs ...rec) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, r := range recs {
		h := r.Header
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, r.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blobs packs one layer each.
func blobs(t testing.TB, layers ...[]rec) []oci.Blob {
	t.Helper()
	var out []oci.Blob
	for _, l := range layers {
		out = append(out, oci.Bytes(oci.MediaLayer, tarOf(t, l...)))
	}
	return out
}

func reader(b []byte) *layer.Reader { return layer.NewReader(bytes.NewReader(b), layer.Limits{}) }

// A thing is what the model has at a path: inode tells hard links.
type thing struct {
	kind         byte // a typeflag
	link         string
	content      string
	mode         int64
	layer, index int
}

// A model is a file system in the plainest form: whole paths in a map, and
// every question answered by looking at all of them.
type model struct {
	at    map[string]*thing
	own   map[string]bool // of the layer
	layer int
}

func newModel() *model {
	return &model{at: map[string]*thing{".": {kind: tar.TypeDir, mode: 0o755, index: -1}}}
}

// apply puts a layer over it; false if the layer is not valid.
func (m *model) apply(recs []rec) bool {
	m.own = map[string]bool{}
	for i, r := range recs {
		name := path.Clean(strings.TrimLeft(r.Name, "/"))
		if !m.one(name, i, r) {
			return false
		}
	}
	m.layer++
	return true
}

func (m *model) one(name string, i int, r rec) bool {
	d, base := path.Split(name)
	if base == ".wh..wh..opq" {
		if p, ok := m.walk(d, false); ok {
			m.hideBelow(p)
		} else {
			return p == "absent"
		}
		return true
	}
	if hides, ok := strings.CutPrefix(base, ".wh."); ok {
		p, ok := m.walk(d, false)
		if !ok {
			return p == "absent"
		}
		p = path.Join(p, hides)
		if t := m.at[p]; t != nil && m.own[p] {
			if t.kind == tar.TypeDir {
				m.hideBelow(p)
				m.reset(p)
			}
		} else if t != nil {
			m.remove(p)
		}
		return true
	}
	x := &thing{kind: r.Typeflag, link: r.Linkname, content: r.content, mode: r.Mode, layer: m.layer, index: i}
	if name == "." {
		m.at["."] = x
		return true
	}
	p, ok := m.walk(d, true)
	if !ok {
		return false
	}
	p = path.Join(p, base)
	if r.Typeflag == tar.TypeLink {
		to := path.Clean(r.Linkname)
		dir, ok := m.walk(path.Dir(to), false)
		if !ok {
			return false
		}
		if x = m.at[path.Join(dir, path.Base(to))]; x == nil || x.kind == tar.TypeDir {
			return false
		}
	}
	if old := m.at[p]; old == x {
		return true
	} else if old != nil && (old.kind != tar.TypeDir || x.kind != tar.TypeDir) {
		m.remove(p)
	}
	m.at[p], m.own[p] = x, true
	return true
}

func below(p, dir string) bool {
	return p != "." && p != dir && (dir == "." || strings.HasPrefix(p, dir+"/"))
}

func (m *model) remove(p string) {
	for q := range m.at {
		if q == p || below(q, p) {
			delete(m.at, q)
		}
	}
}

func (m *model) hideBelow(dir string) {
	for q := range m.at {
		if below(q, dir) {
			if m.own[q] {
				m.reset(q)
			} else {
				delete(m.at, q)
			}
		}
	}
}

// reset makes a directory that is only there because of what is below it one
// without metadata.
func (m *model) reset(p string) {
	if t := m.at[p]; t.kind == tar.TypeDir && t.layer < m.layer {
		m.at[p] = &thing{kind: tar.TypeDir, mode: 0o755, layer: m.layer, index: -1}
	}
}

// walk finds the real path of a directory.
func (m *model) walk(name string, mkdir bool) (string, bool) {
	at := "."
	todo := strings.Split(name, "/")
	for hops := 0; len(todo) > 0; {
		c := todo[0]
		todo = todo[1:]
		switch c {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		p := path.Join(at, c)
		t := m.at[p]
		if t != nil && t.kind == tar.TypeSymlink {
			if hops++; hops > 40 {
				return "loop", false
			}
			if path.IsAbs(t.link) {
				at = "."
			}
			todo = append(strings.Split(t.link, "/"), todo...)
			continue
		}
		if t == nil || t.kind != tar.TypeDir {
			if !mkdir {
				return "absent", false
			}
			if t != nil && m.own[p] {
				return "file", false
			}
			m.remove(p)
			m.at[p] = &thing{kind: tar.TypeDir, mode: 0o755, layer: m.layer, index: -1}
		}
		if mkdir {
			m.own[p] = true
		}
		at = p
	}
	return at, true
}

// list is what the model has, comparable with listTree.
func (m *model) list() []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(m.at)) {
		t := m.at[p]
		out = append(out, fmt.Sprintf("%s %c %o %s %d/%d", p, t.kind, t.mode, t.link, t.layer, t.index))
	}
	return out
}

func listTree(t *layer.Tree) []string {
	var out []string
	_, root, _ := t.Lookup("/")
	show := func(p string, n *layer.Node) {
		out = append(out, fmt.Sprintf("%s %c %o %s %d/%d", p, n.Header.Typeflag, n.Header.Mode, n.Link, n.Layer, n.Index))
	}
	show(".", root)
	for p, n := range t.All(".") {
		show(p, n)
	}
	slices.Sort(out)
	return out
}

// A coder makes layers of bytes: few names, so that they meet.
type coder struct{ b []byte }

func (c *coder) next(n int) int {
	if len(c.b) == 0 {
		return 0
	}
	x := int(c.b[0])
	c.b = c.b[1:]
	return x % n
}

func (c *coder) path() string {
	p := string(rune('a' + c.next(3)))
	for range c.next(3) {
		p += "/" + string(rune('a'+c.next(3)))
	}
	return p
}

// layers reads at most n layers; what cannot be a layer is left out.
func (c *coder) layers(n int) [][]rec {
	out := [][]rec{nil}
	for i := 0; len(c.b) > 0; i++ {
		var r rec
		switch p := c.path(); c.next(9) {
		case 0, 1:
			r = file(p, fmt.Sprintf("content %d of %s", i, p))
		case 2:
			r = dir(p)
			r.Mode = int64(0o700 + i%64)
		case 3:
			r = symlink(p, []string{"a", "../b", "/c", "b/c", "../../../a/b", "./c/..", "nowhere"}[c.next(7)])
		case 4:
			r = hardlink(p, c.path())
		case 5:
			r = file(path.Dir(p)+"/.wh."+path.Base(p), "")
		case 6:
			r = file(p+"/.wh..wh..opq", "")
		case 7:
			r = file(path.Dir(p)+"/.wh..wh..opq", "")
		case 8:
			if len(out) < n {
				out = append(out, nil)
			}
			continue
		}
		out[len(out)-1] = append(out[len(out)-1], r)
	}
	return out
}

// valid leaves out what the model refuses, one entry at a time.
func valid(layers [][]rec) (*model, [][]rec) {
	kept := make([][]rec, len(layers))
	m := newModel()
	for i, l := range layers {
		for _, r := range l {
			trial := newModel()
			ok := true
			for _, done := range kept[:i] {
				ok = ok && trial.apply(done)
			}
			if ok && trial.apply(append(slices.Clone(kept[i]), r)) {
				kept[i] = append(kept[i], r)
			}
		}
		m.apply(kept[i])
	}
	return m, kept
}

func ctx(t testing.TB) context.Context { return t.Context() }
