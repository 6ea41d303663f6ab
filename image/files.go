// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Files is the file system of an image, of which no more is read than a
// question needs: of a layer with a table of contents that and the ranges of a
// file, of another layer all. It remembers the entries of what it has read. It
// is safe for concurrent use.
type Files struct {
	limits layer.Limits
	layers []view // the lowest first

	mu   sync.Mutex // held while layers are looked through
	tree *layer.Tree
	kept int64 // bytes of what is known of the layers
	most int64 // that may be kept
}

// A view is what is known of a layer.
type view struct {
	blob  oci.Blob
	asked bool       // for a table
	toc   *layer.TOC // nil: none of use
	list  []change   // all of its changes, if known
	known bool
}

// A change is as much of an entry as a search needs.
type change struct {
	name, link string
	kind       layer.Kind
}

// mostKept bounds what is remembered of an image's layers. Where one has more
// entries than that, the tree is made, which has limits of its own.
const mostKept = 256 << 20

// size is about how much memory it takes, with what a scan notes of it.
func (x change) size() int64 { return int64(len(x.name) + len(x.link) + 160) }

// Files opens the file system. Nothing is read yet.
func (i *Image) Files(l layer.Limits) *Files { return FilesOf(i.Layers(), l) }

// FilesOf opens the file system that layers make, the lowest first. Nothing is
// read yet.
func FilesOf(layers []oci.Blob, l layer.Limits) *Files {
	f := &Files{limits: l, most: mostKept}
	for _, b := range layers {
		f.layers = append(f.layers, view{blob: b})
	}
	return f
}

// Tree is the whole file system. Tables of contents are read where there are
// any, and the other layers, several at a time.
func (f *Files) Tree(ctx context.Context) (*layer.Tree, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all(ctx)
}

func (f *Files) all(ctx context.Context) (*layer.Tree, error) {
	if f.tree != nil {
		return f.tree, nil
	}
	err := oci.Parallel(ctx, len(f.layers), func(ctx context.Context, i int) error { return f.layers[i].askTOC(ctx, f.limits) })
	if err != nil {
		return nil, err
	}
	blobs, tocs := make([]oci.Blob, len(f.layers)), make([]*layer.TOC, len(f.layers))
	for i, v := range f.layers {
		blobs[i], tocs[i] = v.blob, v.toc
	}
	f.tree, err = layer.MergeTOC(ctx, blobs, tocs, f.limits)
	return f.tree, err
}

// askTOC reads the layer's table of contents, once. That it has none, or one
// that is of no use, is no error.
func (v *view) askTOC(ctx context.Context, l layer.Limits) error {
	if v.asked {
		return nil
	}
	if b, ok := v.blob.(oci.RangeBlob); ok {
		var err error
		if v.toc, err = layer.OpenTOC(ctx, b, l); err != nil && !layer.TOCFallback(err) {
			return err
		}
	}
	v.asked = true
	return nil
}

// Open reads a file. Links are followed within the image's root. The layers are
// looked through from the top one down, and no further than the answer needs;
// one without a table of contents is read once, to its end before io.EOF, and
// for a small file before Open returns, so that all of it is verified. ErrNotFound if the file is not there, ErrInvalid
// if it is not a regular file. The caller closes the reader.
func (f *Files) Open(ctx context.Context, name string) (io.ReadCloser, *layer.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rc, n, err := f.open(ctx, cleanPath(name))
	return rc, n, oci.Wrap("", oci.Quote(name), err)
}

// cleanPath makes a path one from the root, "." for the root itself.
func cleanPath(name string) string {
	if name = path.Clean("/" + name)[1:]; name == "" {
		return "."
	}
	return name
}

func (f *Files) open(ctx context.Context, name string) (io.ReadCloser, *layer.Node, error) {
	if f.tree == nil {
		rc, n, err := (&search{files: f, asked: name, name: name}).run(ctx)
		if !errors.Is(err, errUnclear) {
			return rc, n, err
		}
	}
	tree, err := f.all(ctx)
	if err != nil {
		return nil, nil, err
	}
	_, n, err := tree.Follow(name)
	if err != nil {
		return nil, nil, unwrapPlace(err)
	}
	if err := isFile(n.Kind); err != nil {
		return nil, nil, err
	}
	rc, _, err := f.content(ctx, n.Layer, n.Index)
	return rc, n, err
}

// unwrapPlace takes off a place that Open will say.
func unwrapPlace(err error) error {
	if e, ok := err.(*oci.Error); ok && e.Op == "" {
		return e.Err
	}
	return err
}

func isFile(k layer.Kind) error {
	switch k {
	case layer.File:
		return nil
	case layer.Dir:
		return oci.Errorf(oci.ErrInvalid, "a directory")
	}
	return oci.Errorf(oci.ErrInvalid, "not a regular file")
}

// content opens an entry of a layer.
func (f *Files) content(ctx context.Context, i, index int) (io.ReadCloser, *layer.Node, error) {
	v := &f.layers[i]
	if v.toc != nil {
		rc, err := v.toc.Open(ctx, index)
		return rc, &layer.Node{Entry: v.entry(index), Layer: i, Index: index}, err
	}
	rc, err := layer.Open(ctx, v.blob)
	if err != nil {
		return nil, nil, err
	}
	r := layer.NewReader(rc, f.limits)
	var e *layer.Entry
	for range index + 1 {
		if e, err = r.Next(); err != nil {
			rc.Close()
			return nil, nil, notYet(err)
		}
	}
	return &stream{Closer: rc, r: r}, &layer.Node{Entry: e, Layer: i, Index: index}, nil
}

// entry is an entry of the table.
func (v *view) entry(index int) *layer.Entry {
	n := 0
	for e := range v.toc.Entries() { // has been read before, without an error
		if n == index {
			return e
		}
		n++
	}
	return nil
}

// notYet is for a layer that ends before what it is known to have.
func notYet(err error) error {
	if err == io.EOF {
		return oci.Errorf(oci.ErrCorrupt, "the layer is another than it was")
	}
	return err
}

// Digest is that of a file's content, where a table of contents tells it, else "".
func (f *Files) Digest(n *layer.Node) oci.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.Kind != layer.File || n.Layer >= len(f.layers) || f.layers[n.Layer].toc == nil {
		return ""
	}
	return f.layers[n.Layer].toc.Digest(n.Index)
}

// A stream is the content of one entry, whose layer is read to its end before
// io.EOF.
type stream struct {
	io.Closer
	r    *layer.Reader
	rest func(*layer.Entry) // is told of the entries that follow
	done func() error       // decides at the end
	err  error
}

func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err == io.EOF {
		err = s.finish()
	}
	s.err = err
	return n, err
}

func (s *stream) finish() error {
	for {
		e, err := s.r.Next()
		switch {
		case err == io.EOF && s.done != nil:
			if err := s.done(); err != nil {
				return err
			}
			return io.EOF
		case err != nil:
			return err
		case s.rest != nil:
			s.rest(e)
		}
	}
}

// split cuts a path into its directory's path and its last name.
func split(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return ".", name
}
