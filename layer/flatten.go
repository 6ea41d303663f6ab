// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"io"

	"github.com/dray-tools/dray/oci"
)

// FlattenOptions are the options of Flatten.
type FlattenOptions struct {
	Limits Limits
}

// Flatten writes the file system that layers make, the lowest first, as one
// tar without whiteouts: directories first, then the rest in the order of the
// layers, the further names of a file as hard links to its first. The same
// layers give the same bytes. Each layer is opened twice at most; memory grows
// with the number of files, not with their sizes.
func Flatten(ctx context.Context, w io.Writer, layers []oci.Blob, o FlattenOptions) error {
	t, err := Merge(ctx, layers, o.Limits)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, 256<<10)
	f := flattener{tar.NewWriter(buffered), make([]byte, 128<<10)}
	if err := f.write(ctx, t.contents(), layers, o.Limits); err != nil {
		return err
	}
	if err := f.w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

type flattener struct {
	w   *tar.Writer
	buf []byte
}

func (f flattener) write(ctx context.Context, c *contents, layers []oci.Blob, o Limits) error {
	if c.root.index >= 0 { // some layer says what the root is like
		if err := f.header(".", c.root, 0); err != nil {
			return err
		}
	}
	for _, d := range c.dirs {
		if err := f.header(d.path(), d.n, d.hidden); err != nil {
			return err
		}
	}
	return c.read(ctx, layers, o, f.file)
}

// header writes what is not a hard link.
func (f flattener) header(path string, n *node, hidden int32) error {
	h := expand(path, n, hidden).Header
	h.Format = tar.FormatPAX // of which it uses only what the entry needs
	h.Mode &= 0o7777777
	const most = 0o7777777 // which no form of header goes beyond
	if h.Devmajor < 0 || h.Devmajor > most || h.Devminor < 0 || h.Devminor > most {
		return oci.Errorf(oci.ErrInvalid, "%s: no tar holds a device %d:%d in a way that all programs read", oci.Quote(path), h.Devmajor, h.Devminor)
	}
	return oci.Wrap("", oci.Quote(path), f.w.WriteHeader(h))
}

func (f flattener) file(g group) error {
	first := g.names[0]
	if err := f.header(first.path(), first.n, 0); err != nil {
		return err
	}
	if first.n.size > 0 {
		n, err := io.CopyBuffer(struct{ io.Writer }{f.w}, struct{ io.Reader }{g.content}, f.buf)
		if err != nil {
			return err
		}
		if n != first.n.size {
			return oci.Errorf(oci.ErrCorrupt, "%s has %d of %d bytes", oci.Quote(first.path()), n, first.n.size)
		}
	}
	for _, p := range g.names[1:] {
		h := expand(p.path(), p.n, 0).Header
		h.Format, h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.FormatPAX, tar.TypeLink, first.path(), 0, nil
		h.Mode &= 0o7777777
		if err := f.w.WriteHeader(h); err != nil {
			return oci.Wrap("", oci.Quote(p.path()), err)
		}
	}
	return nil
}
