// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"slices"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// BaseOptions say how much of a base may be read.
type BaseOptions struct {
	Blind bool // nothing
	Deep  bool // all that is needed, for every path
	// Taken tells of a name at the top that no distribution has whether the base
	// may have something there nevertheless. It must depend on the base alone. nil:
	// it has not.
	Taken    func(top string) bool
	Outlines *Outlines // what is known of layers; nil: nothing is, and nothing is kept
	Limits   Limits    // of all layers together
}

// A Base is the Ground that the layers of an image are. Nothing is read before
// a question needs it, and then all layers are, at the same time and once. It
// is safe for concurrent use.
//
// What it answers depends on the layers and the path alone, and never on what
// somebody knew already, so that the same inputs give the same layer
// everywhere. The root is Present, and on no layers nothing else is. It is
// Unknown, with the path as it was asked, what is
//   - in a base that has foreign layers, which are never read for this;
//   - below a name that no distribution has at its top and that is not Taken,
//     unless Deep is set;
//   - anything, if Blind is set.
//
// All else is looked up. Where a component of the path is not there the rest of
// the path follows it, Absent, and where it is no directory, Blocked.
type Base struct {
	layers  []oci.Blob
	o       BaseOptions
	foreign bool

	turn     chan struct{} // held by who reads
	outlines []*Outline
	tree     *Tree

	mu   sync.Mutex
	read []oci.Descriptor
}

// NewBase is the Ground of layers, the lowest first. Nothing is read.
func NewBase(layers []oci.Blob, o BaseOptions) *Base {
	if o.Outlines == nil {
		o.Outlines = &Outlines{Limits: o.Limits}
	}
	b := &Base{layers: layers, o: o, turn: make(chan struct{}, 1)}
	b.foreign = slices.ContainsFunc(layers, func(l oci.Blob) bool { return oci.IsForeign(l.Descriptor()) })
	return b
}

// Dir implements Ground. ErrInvalid for links in a circle.
func (b *Base) Dir(ctx context.Context, dir string) (Place, error) {
	switch {
	case dir == ".":
		return Place{Path: ".", There: Present}, nil
	case len(b.layers) == 0:
		return Place{Path: dir, There: Absent}, nil
	case b.o.Blind || b.foreign || !b.o.Deep && b.fresh(dir):
		return Place{Path: dir}, nil
	}
	t, err := b.Tree(ctx)
	if err != nil {
		return Place{}, err
	}
	return t.place(dir)
}

// Tree is all of the base but extended attributes, whatever the options and the
// kinds of layers. It must not be changed.
func (b *Base) Tree(ctx context.Context) (*Tree, error) {
	if err := take(ctx, b.turn); err != nil {
		return nil, err
	}
	defer func() { <-b.turn }()
	if b.tree != nil {
		return b.tree, nil
	}
	err := b.outline(ctx)
	if err == nil {
		b.tree, err = mergeBare(b.outlines, b.o.Limits)
	}
	return b.tree, oci.Wrap("base", "", err)
}

// mergeBare is MergeOutlines without extended attributes, which may be large
// and say nothing of paths.
func mergeBare(layers []*Outline, l Limits) (*Tree, error) {
	t := NewTree(l)
	for _, o := range layers {
		err := t.Add(func(yield func(*Entry, error) bool) {
			for e, err := range o.Entries() {
				if err == nil {
					e.Header.PAXRecords = nil // all of it was made for this
				}
				if !yield(e, err) {
					return
				}
			}
		})
		if err != nil {
			return nil, oci.Wrap("layer", string(o.Layer), err)
		}
	}
	return t, nil
}

// Outlines are those of the layers, read as for Tree.
func (b *Base) Outlines(ctx context.Context) ([]*Outline, error) {
	if err := take(ctx, b.turn); err != nil {
		return nil, err
	}
	defer func() { <-b.turn }()
	return b.outlines, oci.Wrap("base", "", b.outline(ctx))
}

// outline reads what is not known, a layer that is there twice only once.
func (b *Base) outline(ctx context.Context) error {
	if b.outlines != nil {
		return nil
	}
	first := map[oci.Digest]int{}
	for i, l := range b.layers {
		if _, ok := first[l.Descriptor().Digest]; !ok {
			first[l.Descriptor().Digest] = i
		}
	}
	all := make([]*Outline, len(b.layers))
	err := oci.Parallel(ctx, len(all), func(ctx context.Context, i int) (err error) {
		d := b.layers[i].Descriptor()
		if first[d.Digest] != i {
			return nil
		}
		now := false
		if all[i], now, err = b.o.Outlines.of(ctx, b.layers[i]); now && err == nil && all[i].Table == "" {
			b.note(d)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, l := range b.layers {
		all[i] = all[first[l.Descriptor().Digest]]
	}
	b.outlines = all
	return nil
}

func (b *Base) note(d oci.Descriptor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read = append(b.read, d)
}

// Read lists the layers that had to be read whole so far, the lowest first.
func (b *Base) Read() []oci.Descriptor {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []oci.Descriptor
	for _, l := range b.layers {
		d := l.Descriptor()
		same := func(x oci.Descriptor) bool { return x.Digest == d.Digest }
		if slices.ContainsFunc(b.read, same) && !slices.ContainsFunc(out, same) {
			out = append(out, d)
		}
	}
	return out
}
