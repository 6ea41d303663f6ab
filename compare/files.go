// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"archive/tar"
	"cmp"
	"iter"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A FileChange is of a path in the file system that the layers make. What lists
// what changed: type, mode, owner, size, content, target, device, xattrs. Times
// and which names are hard links of one another are not compared: a build
// changes them even where it makes the same.
type FileChange struct {
	Op   Op       `json:"op"`
	Path string   `json:"path"` // from the root, with a slash at its start
	What []string `json:"what,omitempty"`
	A    *File    `json:"a,omitempty"`
	B    *File    `json:"b,omitempty"`
}

// A File is what an image has at a path.
type File struct {
	Type   string     `json:"type"` // file, dir, link, char, block or fifo
	Mode   string     `json:"mode"` // octal, without the type
	UID    int        `json:"uid"`
	GID    int        `json:"gid"`
	Size   int64      `json:"size,omitempty"`
	Digest oci.Digest `json:"digest,omitempty"` // sha256 of the content of a file
	Target string     `json:"target,omitempty"` // of a link
	Layer  int        `json:"layer"`            // that brings it, 1 the lowest
}

var types = map[layer.Kind]string{layer.File: "file", layer.Dir: "dir", layer.Symlink: "link", layer.Char: "char", layer.Block: "block", layer.Fifo: "fifo"}

// files walks both trees side by side.
func (s *both) files() []FileChange {
	nextA, stopA := iter.Pull2(s.a.tree.All("."))
	defer stopA()
	nextB, stopB := iter.Pull2(s.b.tree.All("."))
	defer stopB()
	var out []FileChange
	if c := s.file(".", root(s.a.tree), root(s.b.tree)); c != nil {
		out = append(out, *c)
	}
	pa, a, okA := nextA()
	pb, b, okB := nextB()
	for okA || okB {
		order := comparePaths(pa, pb)
		switch {
		case !okB || okA && order < 0:
			out = append(out, FileChange{Op: Removed, Path: shown(pa), A: s.a.file(a)})
			pa, a, okA = nextA()
		case !okA || order > 0:
			out = append(out, FileChange{Op: Added, Path: shown(pb), B: s.b.file(b)})
			pb, b, okB = nextB()
		default:
			if c := s.file(pa, a, b); c != nil {
				out = append(out, *c)
			}
			pa, a, okA = nextA()
			pb, b, okB = nextB()
		}
	}
	return out
}

func root(t *layer.Tree) *layer.Node {
	_, n, err := t.Lookup(".")
	if err != nil {
		return nil
	}
	return n
}

// comparePaths orders as layer.Tree.All does: a directory before what is in
// it, all of that before what comes after the directory.
func comparePaths(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, "/")
		y, b, _ = strings.Cut(b, "/")
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(a, b)
}

// file compares what both have at a path; nil if it is the same.
func (s *both) file(name string, a, b *layer.Node) *FileChange {
	if a == nil || b == nil || a.Layer == b.Layer && a.Layer < s.shared && a.Index == b.Index && a.Index >= 0 {
		return nil
	}
	x, y := a.Header, b.Header
	var what []string
	note := func(name string, differs bool) {
		if differs {
			what = append(what, name)
		}
	}
	note("type", a.Kind != b.Kind)
	if a.Kind != layer.Symlink || b.Kind != layer.Symlink { // whose modes mean nothing
		note("mode", mode(x) != mode(y))
	}
	note("owner", x.Uid != y.Uid || x.Gid != y.Gid)
	if a.Kind == b.Kind {
		note("size", a.Size != b.Size)
		note("content", a.Kind == layer.File && s.a.digest(a) != s.b.digest(b))
		note("target", a.Link != b.Link)
		note("device", x.Devmajor != y.Devmajor || x.Devminor != y.Devminor)
	}
	note("xattrs", !maps.Equal(xattrs(x), xattrs(y)))
	if what == nil {
		return nil
	}
	return &FileChange{Changed, shown(name), what, s.a.file(a), s.b.file(b)}
}

// shown is a path of a tree from the root.
func shown(name string) string { return path.Join("/", name) }

func mode(h *tar.Header) int64 { return h.Mode & 0o7777 }

func xattrs(h *tar.Header) map[string]string {
	var out map[string]string
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

func (s *side) file(n *layer.Node) *File {
	f := &File{Type: types[n.Kind], Mode: "0" + strconv.FormatInt(mode(n.Header), 8), UID: n.Header.Uid, GID: n.Header.Gid,
		Size: n.Size, Target: n.Link, Layer: n.Layer + 1}
	if n.Kind == layer.File {
		f.Digest = s.digest(n)
	}
	return f
}
