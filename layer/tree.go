// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Node is a file, directory, link or device of a Tree. Two nodes of equal
// Layer and Index are names of one file (hard links).
type Node struct {
	// Entry is what it is; never a Link, and its Name is the real path. The
	// header has what matters of the layer's: mode, owner, modification time,
	// device and extended attributes.
	*Entry
	Layer int // that it comes from, 0 the lowest
	// Index of its entry in that layer, as Reader counts them; -1 of a directory
	// that is there because something is below it.
	Index int
}

// A Tree is the file system that layers make, applied one after the other
// (image-spec, layer.md, "Applying Changesets"). Parents that are links are
// followed within the root, as a container would. Applying layers takes time
// in proportion to their size, whatever is in them. A Tree that is not being
// changed can be read at the same time by many.
type Tree struct {
	root   *node
	layer  int32 // that is being applied, or will be next
	limits Limits
	owners map[owner]*extra

	entries int   // made so far, directories that are implied as well
	kept    int64 // bytes of names and the like
	walked  int64 // bytes of links that were followed
}

// What a tree may cost at most beside its number of entries.
const (
	maxKept   = 1 << 30
	maxWalked = 64 << 20 // and 1 KiB for each entry
	maxHops   = 40       // of links to one file, as in Linux
)

// NewTree is the empty file system.
func NewTree(l Limits) *Tree {
	return &Tree{root: implied(0), limits: l.defaults(), owners: map[owner]*extra{}}
}

// Apply reads the next layer to its end.
func (t *Tree) Apply(r *Reader) error { return t.Add(r.Entries()) }

// Add puts the entries of the next layer over what is there. A layer's
// whiteouts take away what lower layers have, never what it has itself.
// ErrInvalid for a hard link to nothing and for links in a circle; after an
// error the tree is of no use.
func (t *Tree) Add(layer iter.Seq2[*Entry, error]) error {
	if t.layer >= maxLayers {
		return oci.Errorf(oci.ErrInvalid, "too many layers")
	}
	index := int32(0)
	for e, err := range layer {
		if err == nil {
			err = t.add(e, index)
		}
		if err != nil {
			return err
		}
		index++
	}
	t.layer++
	return nil
}

func (t *Tree) add(e *Entry, index int32) error {
	if e.Kind == Whiteout || e.Kind == Opaque {
		return t.hide(e)
	}
	n, kept := t.compact(e)
	n.layer, n.index, n.touched = t.layer, index, t.layer
	if err := t.spend(1, kept); err != nil {
		return err
	}
	if e.Name == "." {
		t.update(t.root, n)
		return nil
	}
	dir, base := path.Split(e.Name)
	way, err := t.walk(dir, t.layer, true)
	if err != nil {
		return oci.Wrap("", oci.Quote(e.Name), err)
	}
	parent := way.end()
	if e.Kind == Link {
		if n, err = t.link(e, parent.child(base)); n == nil || err != nil {
			return err
		}
	}
	old := parent.child(base)
	if old != nil && old.kind == Dir && n.kind == Dir {
		t.update(old, n)
		return nil
	}
	return t.put(parent, base, n)
}

// put gives a directory an entry, in the place of what was there.
func (t *Tree) put(at step, base string, n *node) error {
	if at.length+len(base) > maxPath {
		return oci.Errorf(oci.ErrInvalid, "links make a path of more than %d bytes", maxPath)
	}
	dir := at.n.extra
	if dir.kids == nil {
		dir.kids = map[string]*node{}
	}
	if _, known := dir.kids[base]; !known {
		base = strings.Clone(base)
	}
	dir.kids[base] = n
	return t.spend(0, len(base))
}

// spend counts entries and the bytes they keep.
func (t *Tree) spend(entries, kept int) error {
	t.kept += int64(kept)
	if t.entries += entries; t.entries > t.limits.Entries {
		return oci.Errorf(oci.ErrInvalid, "more than %d entries", t.limits.Entries)
	}
	if t.kept > maxKept {
		return oci.Errorf(oci.ErrInvalid, "names and attributes of more than %d bytes", maxKept)
	}
	return nil
}

// update gives a directory new metadata and leaves what is in it.
func (t *Tree) update(dir, n *node) {
	n.extra.kids, n.extra.opaque = dir.extra.kids, dir.extra.opaque
	*dir = *n
}

// link makes another name of a file that is there; nil if it is its own name.
func (t *Tree) link(e *Entry, self *node) (*node, error) {
	way, err := t.walk(path.Dir(e.Link), t.layer, false)
	if err != nil {
		return nil, t.badLink(e, err)
	}
	to := way.end().child(path.Base(e.Link))
	switch {
	case to == nil:
		return nil, t.badLink(e, oci.Errorf(oci.ErrNotFound, "not found"))
	case to.kind == Dir:
		return nil, oci.Errorf(oci.ErrInvalid, "hard link %s to %s, which is a directory", oci.Quote(e.Name), oci.Quote(e.Link))
	case to == self:
		return nil, nil
	}
	return &node{kind: Link, extra: &extra{inode: to.file()}, layer: t.layer, touched: t.layer}, t.spend(0, 64)
}

func (t *Tree) badLink(e *Entry, err error) error {
	return oci.Errorf(oci.ErrInvalid, "hard link %s to %s, which is not there: %w", oci.Quote(e.Name), oci.Quote(e.Link), err)
}

// hide applies a whiteout. What the layer itself has put there stays: such
// names are marked with it, and lookups pass over those with lower marks
// within a directory that is hidden. So nothing is searched or removed here,
// and a thousand markers cost no more than a thousand files.
func (t *Tree) hide(e *Entry) error {
	if e.Kind == Opaque {
		way, err := t.walk(e.Name, t.layer, false)
		if err == nil {
			way.end().n.extra.opaque = t.layer
		}
		return absent(err)
	}
	dir, base := path.Split(e.Name)
	way, err := t.walk(dir, t.layer, false)
	if err != nil {
		return absent(err)
	}
	parent := way.end()
	switch n := parent.n.extra.kids[base]; {
	case n == nil:
	case n.touched < t.layer:
		delete(parent.n.extra.kids, base)
	case n.kind == Dir:
		n.extra.opaque = t.layer
		if n.layer < t.layer {
			t.update(n, implied(t.layer))
		}
	}
	return nil
}

// Lookup finds a path, following links within the root except at its end. It
// returns the real path. ErrNotFound if nothing is there.
func (t *Tree) Lookup(name string) (string, *Node, error) { return t.lookup(name, false) }

// Follow is Lookup that also follows a link at the end; it returns the real path.
func (t *Tree) Follow(name string) (string, *Node, error) { return t.lookup(name, true) }

// All yields every path below a directory (with "." all), parents before
// children, in byte order within each directory.
func (t *Tree) All(below string) iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		way, err := t.reader().walk(below, 0, false)
		if err == nil {
			way.end().all(way.path(), func(p string, n *node, hidden int32) bool { return yield(p, expand(p, n, hidden)) })
		}
	}
}

// each yields what is in a directory, in byte order.
func (s step) each() iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		hidden := s.hides()
		for _, base := range slices.Sorted(maps.Keys(s.n.extra.kids)) {
			if n := s.n.extra.kids[base]; n.touched >= hidden && !yield(base, n) {
				return
			}
		}
	}
}

// all calls f for everything below a directory, until f returns false.
func (s step) all(dir string, f func(path string, n *node, hidden int32) bool) bool {
	for base, n := range s.each() {
		p := join(dir, base)
		if !f(p, n, s.hides()) || n.kind == Dir && !(step{n: n, hidden: s.hides()}).all(p, f) {
			return false
		}
	}
	return true
}

func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}
