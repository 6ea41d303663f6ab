// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// Merge reads layers, the lowest first, and applies them one after the other.
// Several are read at the same time; each is read to its end, so that its
// digest is verified. At most o.Bytes are read of each, uncompressed.
func Merge(ctx context.Context, layers []oci.Blob, o Limits) (*Tree, error) {
	return MergeTOC(ctx, layers, nil, o)
}

// A batch is some entries of a layer; err ends it.
type batch struct {
	entries []*Entry
	err     error
}

// Batches end at one of these, which bounds what is in memory.
const (
	batchEntries = 256
	batchBytes   = 64 << 10
	batches      = 8
)

// startReading reads a layer's entries until ctx ends. Before it takes much
// memory it waits for its turn.
func startReading(ctx context.Context, b oci.Blob, turn <-chan struct{}, o Limits) <-chan batch {
	out := make(chan batch, batches)
	go func() {
		defer close(out)
		send := func(x batch) bool {
			select {
			case out <- x:
				return true
			case <-ctx.Done():
				return false
			}
		}
		wait := func() error {
			select {
			case <-turn:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		var now []*Entry
		bytes := 0
		err := each(ctx, b, wait, o, func(e *Entry, _ io.Reader) error {
			now, bytes = append(now, e), bytes+weight(e)
			if len(now) < batchEntries && bytes < batchBytes {
				return nil
			}
			ok := send(batch{entries: now})
			if now, bytes = nil, 0; !ok {
				return ctx.Err()
			}
			return nil
		})
		send(batch{now, err})
	}()
	return out
}

// weight is about how much memory an entry takes beyond the usual.
func weight(e *Entry) int {
	n := len(e.Name) + len(e.Link)
	for k, v := range e.Header.PAXRecords {
		n += len(k) + len(v)
	}
	return n
}

// each reads the entries of a layer to its verified end.
func each(ctx context.Context, b oci.Blob, wait func() error, o Limits, f func(e *Entry, content io.Reader) error) error {
	rc, err := open(ctx, b, wait)
	if err != nil {
		return err
	}
	defer rc.Close()
	r := NewReader(rc, o)
	for {
		e, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = f(e, r)
		}
		if err != nil {
			return err
		}
	}
}

func entries(in <-chan batch) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for b := range in {
			for _, e := range b.entries {
				if !yield(e, nil) {
					return
				}
			}
			if b.err != nil {
				yield(nil, b.err)
				return
			}
		}
	}
}

// A contents is what Flatten and Unpack write of a Tree: every directory,
// parents first, then everything else in the order in which the layers have
// it, each file's names together.
type contents struct {
	root  *node
	dirs  []place
	files []place
	bytes int64 // of all files, each once
}

// A place is a name in a directory.
type place struct {
	in     *branch
	base   string
	n      *node // the file
	hidden int32 // metadata of a directory from below this layer does not count
	kept   bool  // its owner, by Unpack
}

func (p place) path() string {
	if p.in == nil {
		return p.base
	}
	return join(p.in.path(), p.base)
}

// A branch is the path of a directory; nil that of the root. Paths share their
// beginnings: written out they could take a thousand times as much memory.
type branch struct {
	in   *branch
	base string
}

func (b *branch) path() string {
	if b == nil {
		return "."
	}
	var bases []string
	for ; b != nil; b = b.in {
		bases = append(bases, b.base)
	}
	slices.Reverse(bases)
	return strings.Join(bases, "/")
}

// contents lists the tree.
func (t *Tree) contents() *contents {
	c := &contents{root: t.root}
	var visit func(s step, in *branch)
	visit = func(s step, in *branch) {
		for base, n := range s.each() {
			p := place{in: in, base: base, n: n.file(), hidden: s.hides()}
			if n.kind != Dir {
				c.files = append(c.files, p)
				continue
			}
			c.dirs = append(c.dirs, p)
			visit(step{n: n, hidden: p.hidden}, &branch{in, base})
		}
	}
	visit(step{n: t.root}, nil)
	slices.SortStableFunc(c.files, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.n.layer, b.n.layer), cmp.Compare(a.n.index, b.n.index))
	})
	var last *node
	for _, p := range c.files {
		if p.n != last {
			c.bytes += p.n.size
		}
		last = p.n
	}
	return c
}

// A group is all names of one file, and its content if it has any.
type group struct {
	names   []place
	content io.Reader
}

// next calls f with the names of the first file, and returns the others.
func (c *contents) next(files []place, content io.Reader, f func(g group) error) ([]place, error) {
	n := 1
	for n < len(files) && files[n].n == files[0].n {
		n++
	}
	return files[n:], f(group{files[:n], content})
}

// read calls f for each file, in the order of the layers. Layers without any
// content that is still to be seen are not opened, the others are verified
// again to their ends.
func (c *contents) read(ctx context.Context, layers []oci.Blob, o Limits, f func(g group) error) error {
	files := c.files
	for i, b := range layers {
		n, _ := slices.BinarySearchFunc(files, int32(i+1), func(p place, layer int32) int { return cmp.Compare(p.n.layer, layer) })
		if err := c.readLayer(ctx, b, files[:n], o, f); err != nil {
			return oci.Wrap("layer", string(b.Descriptor().Digest), err)
		}
		files = files[n:]
	}
	return nil
}

func (c *contents) readLayer(ctx context.Context, b oci.Blob, files []place, o Limits, f func(g group) error) error {
	if slices.ContainsFunc(files, func(p place) bool { return p.n.size > 0 }) {
		index := int32(-1)
		err := each(ctx, b, nil, o, func(e *Entry, content io.Reader) (err error) {
			index++
			if len(files) == 0 || files[0].n.index != index {
				return nil
			}
			if n := files[0].n; n.kind != e.Kind || n.size != e.Size {
				return oci.Errorf(oci.ErrCorrupt, "the layer changed while it was read")
			}
			files, err = c.next(files, content, f)
			return err
		})
		if err != nil {
			return err
		}
	}
	for len(files) > 0 { // a layer in which nothing has content
		if files[0].n.size > 0 {
			return oci.Errorf(oci.ErrCorrupt, "the layer changed while it was read")
		}
		var err error
		if files, err = c.next(files, nil, f); err != nil {
			return err
		}
	}
	return ctx.Err()
}
