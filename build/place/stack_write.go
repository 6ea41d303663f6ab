// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"io"
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A stagePart is what is picked of layers.
type stagePart struct {
	blobs []oci.Blob
	list  []chosen
	at    map[string]int // in list, by name
}

// key: layers are known by their digests, and the picks follow from the Spec.
func (p *stagePart) key() string { return "layers " + strings.Join(digests(p.blobs), " ") }

// write writes what has no content first, parents before what is in them, and
// then the files, a layer after the other: each is read once, if it has any.
func (p *stagePart) write(w *writer) error {
	files := make([]map[int][]chosen, len(p.blobs)) // of each layer by their index, all names of a file
	for _, c := range p.list {
		switch {
		case c.node.Kind == layer.File:
			of := &files[c.node.Layer]
			if *of == nil {
				*of = map[int][]chosen{}
			}
			(*of)[c.node.Index] = append((*of)[c.node.Index], c)
		default:
			if err := w.put(c.header(), nil); err != nil {
				return err
			}
		}
	}
	for n, of := range files {
		if len(of) == 0 {
			continue
		}
		if err := writeFiles(w, p.blobs[n], of); err != nil {
			return oci.Wrap("layer", string(p.blobs[n].Descriptor().Digest), err)
		}
	}
	return nil
}

// writeFiles reads files of a layer: by its table of contents if it has one,
// else all of it, so that its digest is checked.
func writeFiles(w *writer, b oci.Blob, files map[int][]chosen) error {
	if r, ok := b.(oci.RangeBlob); ok {
		toc, err := layer.OpenTOC(w.ctx, r, layer.Limits{})
		if err == nil {
			return writeOfTable(w, toc, files)
		}
		if !layer.TOCFallback(err) {
			return err
		}
	}
	rc, err := layer.Open(w.ctx, b)
	if err != nil {
		return err
	}
	defer rc.Close()
	r := layer.NewReader(rc, layer.Limits{})
	left := len(files)
	for n := 0; ; n++ {
		e, err := r.Next()
		switch {
		case err == io.EOF && left > 0:
			return oci.Errorf(oci.ErrCorrupt, "it has less than it had before")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if names := files[n]; names != nil {
			if err := writeFile(w, names, e, r); err != nil {
				return err
			}
			left--
		}
	}
}

func writeOfTable(w *writer, toc *layer.TOC, files map[int][]chosen) error {
	n := -1
	for e, err := range toc.Entries() {
		if err != nil {
			return err
		}
		n++
		names := files[n]
		if names == nil {
			continue
		}
		rc, err := toc.Open(w.ctx, n)
		if err != nil {
			return err
		}
		err = writeFile(w, names, e, rc)
		if cerr := rc.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file and its other names. The entry has what the tree does
// not keep: extended attributes and what Windows notes.
func writeFile(w *writer, names []chosen, e *layer.Entry, r io.Reader) error {
	h := names[0].header()
	if e.Kind != layer.File || e.Size != h.Size {
		return oci.Errorf(oci.ErrCorrupt, "%s is another file than it was", oci.Quote(e.Name))
	}
	for k, v := range e.Header.PAXRecords {
		if strings.HasPrefix(k, xattrRecord) || strings.HasPrefix(k, "MSWINDOWS.") {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[k] = v
		}
	}
	if err := w.put(h, r); err != nil {
		return err
	}
	for _, c := range names[1:] {
		l := c.header()
		l.Typeflag, l.Linkname, l.Size = tar.TypeLink, names[0].to, 0
		if err := w.put(l, nil); err != nil {
			return err
		}
	}
	return nil
}
