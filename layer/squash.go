// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// Squash writes the tar of one layer that does what layers do together, the
// lowest first: what they take away of layers below them stays taken away. What
// they have themselves and take away again is not in it. Links of layers below are not
// known, and so not followed. The same layers give
// the same bytes. Each layer is opened twice at most; memory grows with the number of
// files, not with their sizes. ErrUnsupported for a hard link to a file of a
// layer below that is taken away or replaced, and for a whiteout through a link
// that climbs out of a directory which only layers below may have.
func Squash(ctx context.Context, w io.Writer, layers []oci.Blob, l Limits) error {
	s := &squasher{}
	s.root = s.directory()
	for i, b := range layers {
		s.layer = i
		index := -1
		err := each(ctx, b, nil, l, func(e *Entry, _ io.Reader) error {
			index++
			return s.add(e, index)
		})
		if err != nil {
			return oci.Wrap("layer", string(b.Descriptor().Digest), err)
		}
	}
	buffered := bufio.NewWriterSize(w, 256<<10)
	out := &squashing{flattener: flattener{tar.NewWriter(buffered), make([]byte, 128<<10)}, names: make([]map[int][]string, len(layers))}
	if err := out.heads(s.root); err != nil {
		return err
	}
	for i, b := range layers {
		if err := out.files(ctx, b, out.names[i], l); err != nil {
			return oci.Wrap("layer", string(b.Descriptor().Digest), err)
		}
	}
	for _, b := range out.below {
		if err := out.link(s, b); err != nil {
			return err
		}
	}
	if err := out.w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// A squashing writes: directories first, with what they take away, then the
// files in the order of the layers.
type squashing struct {
	flattener
	names []map[int][]string // of the entries of each layer
	below []belowLink
}

// A belowLink is a hard link to a file of a lower layer.
type belowLink struct {
	name string
	h    *tar.Header
}

// heads writes directories and what is taken away, and notes where the files go.
func (out *squashing) heads(root *squashed) error {
	return root.each(".", func(name string, n *squashed) error {
		switch {
		case n.gone:
			dir, base := path.Split(name)
			return out.mark(dir + whiteoutPrefix + base)
		case n.kind == Dir:
			head := n.head
			if head == nil && n.fresh { // made because of what is in it
				head = &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}
			}
			if head != nil {
				if err := out.entry(head, name, ""); err != nil {
					return err
				}
			}
			if n.opaque {
				return out.mark(join(name, opaqueMarker))
			}
		case n.head != nil:
			out.below = append(out.below, belowLink{name, n.head})
		default:
			at := &out.names[n.from.layer]
			if *at == nil {
				*at = map[int][]string{}
			}
			(*at)[n.from.entry] = append((*at)[n.from.entry], name)
		}
		return nil
	})
}

// mark writes a whiteout.
func (out *squashing) mark(name string) error {
	return oci.Wrap("", oci.Quote(name), out.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Format: tar.FormatPAX}))
}

// entry writes a header as the layer has it, with another name.
func (out *squashing) entry(was *tar.Header, name, link string) error {
	h := *was
	h.Name, h.Format, h.Mode = name, tar.FormatPAX, h.Mode&0o7777777
	h.PAXRecords = maps.Clone(was.PAXRecords)
	maps.DeleteFunc(h.PAXRecords, func(k, _ string) bool { return !keeps(k) })
	switch {
	case link != "":
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, link, 0, nil
	case h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeCont:
		h.Typeflag = tar.TypeReg
	case h.Typeflag == tar.TypeDir:
		h.Name += "/"
	}
	return oci.Wrap("", oci.Quote(name), out.w.WriteHeader(&h))
}

// files writes the files of a layer that are to be seen.
func (out *squashing) files(ctx context.Context, b oci.Blob, names map[int][]string, l Limits) error {
	if len(names) == 0 {
		return nil
	}
	index := -1
	return each(ctx, b, nil, l, func(e *Entry, content io.Reader) error {
		index++
		list := names[index]
		if len(list) == 0 {
			return nil
		}
		if err := out.entry(e.Header, list[0], ""); err != nil {
			return err
		}
		if e.Size > 0 {
			if _, err := io.CopyBuffer(struct{ io.Writer }{out.w}, struct{ io.Reader }{content}, out.buf); err != nil {
				return err
			}
		}
		for _, name := range list[1:] {
			if err := out.entry(e.Header, name, list[0]); err != nil {
				return err
			}
		}
		return nil
	})
}

// link writes a hard link to a file of a lower layer, which must still be there.
func (out *squashing) link(s *squasher, b belowLink) error {
	to, err := cleanName(b.h.Linkname)
	if err != nil {
		return err
	}
	at, rest := s.root, to
	for at != nil && rest != "" {
		var c string
		c, rest, _ = strings.Cut(rest, "/")
		next := at.kids[c]
		if at.opaque || next != nil && (next.gone || next.kind != Dir || rest == "" && !next.maybe) {
			return oci.Errorf(oci.ErrUnsupported, "hard link %s leads to %s of a lower layer, which the layers hide", oci.Quote(b.name), oci.Quote(to))
		}
		at = next
	}
	return out.entry(b.h, b.name, to)
}
