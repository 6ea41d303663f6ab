// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"iter"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

// An Outline is a layer without its contents. It is kept packed, in about fifty
// bytes an entry, and is never changed, so that many can read it at the same
// time.
type Outline struct {
	Layer oci.Digest // as it is packed
	// Table is the digest of the table of contents that all of this comes from;
	// "" if the layer itself was read.
	Table     oci.Digest
	DiffID    oci.Digest // "" if only the table was read
	PlainSize int64      // of the layer's tar; 0 if only the table was read
	Len       int        // number of entries

	packed []byte // see outline_file.go
}

// A Change is an entry of an Outline.
type Change struct {
	*Entry
	// Content is the sha256 digest of what a File has in it, "" if it is not known:
	// where a table of contents does not tell it, and of files with holes.
	Content oci.Digest
}

// ReadOutline reads a layer once, to its verified end; or its table of contents,
// if OpenTOC finds one of use.
func ReadOutline(ctx context.Context, b oci.Blob, l Limits) (*Outline, error) {
	return readOutline(ctx, b, nil, l)
}

func readOutline(ctx context.Context, b oci.Blob, wait func() error, l Limits) (*Outline, error) {
	d := b.Descriptor()
	if err := oci.CheckDescriptor(d); err != nil {
		return nil, err
	}
	if r, ok := b.(oci.RangeBlob); ok && tableOf(d) != "" {
		o, err := outlineTable(ctx, r, l)
		if err == nil || !TOCFallback(err) {
			return o, err
		}
	}
	o, err := outlineLayer(ctx, b, wait, l)
	return o, oci.Wrap("layer", string(d.Digest), err)
}

// tableOf is the digest of the layer's table of contents, if it says that it
// has one.
func tableOf(d oci.Descriptor) oci.Digest {
	text := chunkedKey(d, "manifest-checksum")
	if text == "" {
		text = d.Annotations[stargzDigest]
	}
	table, err := oci.ParseDigest(text)
	if err != nil {
		return ""
	}
	return table
}

func outlineTable(ctx context.Context, b oci.RangeBlob, l Limits) (*Outline, error) {
	t, err := OpenTOC(ctx, b, l)
	if err != nil {
		return nil, err
	}
	w, err := newOutlineWriter()
	if err != nil {
		return nil, err
	}
	i := 0
	for e, err := range t.Entries() {
		if err == nil {
			err = w.add(e, sumOf(t.Digest(i)))
		}
		if err != nil {
			return nil, err
		}
		i++
	}
	d := b.Descriptor()
	return w.outline(Outline{Layer: d.Digest, Table: tableOf(d)})
}

func outlineLayer(ctx context.Context, b oci.Blob, wait func() error, l Limits) (*Outline, error) {
	rc, err := open(ctx, b, wait)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	w, err := newOutlineWriter()
	if err != nil {
		return nil, err
	}
	plain := &hashed{r: rc, h: sha256.New()}
	r := NewReader(plain, l)
	content, buf := sha256.New(), make([]byte, 128<<10)
	for {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		var s *checksum
		if err == nil && e.Kind == File && !r.raw.sparse { // a terabyte of holes takes long to hash
			content.Reset()
			s = new(checksum)
			_, err = io.CopyBuffer(content, struct{ io.Reader }{r}, buf)
			content.Sum(s[:0])
		}
		if err == nil {
			err = w.add(e, s)
		}
		if err != nil {
			return nil, err
		}
	}
	return w.outline(Outline{Layer: b.Descriptor().Digest, PlainSize: plain.n, DiffID: digest.NewDigest(digest.SHA256, plain.h)})
}

// hashed hashes and counts what is read.
type hashed struct {
	r io.Reader
	h hash.Hash
	n int64
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	h.n += int64(n)
	return n, err
}

// A checksum is a sha256 digest; nil: not known.
type checksum [sha256.Size]byte

func (s *checksum) digest() oci.Digest {
	if s == nil {
		return ""
	}
	return digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(s[:]))
}

func sumOf(d oci.Digest) *checksum {
	if d == "" || d.Algorithm() != digest.SHA256 {
		return nil
	}
	raw, err := hex.DecodeString(d.Encoded())
	if err != nil || len(raw) != sha256.Size {
		return nil
	}
	return (*checksum)(raw)
}

// Entries yields the entries in the order of the layer, as [Reader.Entries]
// does, and numbered alike. Of a header there is what Tree keeps of it.
func (o *Outline) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for e, err := range o.sums() {
			if !yield(e.Entry, err) {
				return
			}
		}
	}
}

// Changes yields the entries with the digests of their contents.
func (o *Outline) Changes() iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for e, err := range o.sums() {
			if !yield(Change{e.Entry, e.sum.digest()}, err) {
				return
			}
		}
	}
}

// MergeOutlines is [Merge] of layers that have been outlined, the lowest first.
func MergeOutlines(layers []*Outline, l Limits) (*Tree, error) {
	t := NewTree(l)
	for _, o := range layers {
		if err := t.Add(o.Entries()); err != nil {
			return nil, oci.Wrap("layer", string(o.Layer), err)
		}
	}
	return t, nil
}
