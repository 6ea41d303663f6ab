// SPDX-License-Identifier: Apache-2.0

package layer

import "iter"

// A Node is a file, directory, link or device of a Tree.
type Node struct {
	*Entry     // what it is; of a path that only hard links lead to, its first
	Layer  int // that it comes from, 0 the lowest
	Index  int // of its entry in that layer
}

// A Tree is the file system that layers make, applied one after the other
// (image-spec, layer.md, "Applying Changesets"). Parents that are links are
// followed within the root, as a container would.
type Tree struct{}

// NewTree is the empty file system.
func NewTree(l Limits) *Tree { return &Tree{} }

// Apply reads the next layer to its end.
func (t *Tree) Apply(r *Reader) error { return nil }

// Lookup finds a path, following links within the root except at its end.
// ErrNotFound if nothing is there.
func (t *Tree) Lookup(name string) (string, *Node, error) { return "", nil, nil }

// Follow is Lookup that also follows a link at the end; it returns the real path.
func (t *Tree) Follow(name string) (string, *Node, error) { return "", nil, nil }

// All yields every path below a directory (with "." all), parents before
// children, in byte order.
func (t *Tree) All(below string) iter.Seq2[string, *Node] { return nil }
