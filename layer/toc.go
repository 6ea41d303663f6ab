// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/dray-tools/dray/oci"
)

// Bounds of a table of contents. One that asks for more is not used: the layer
// is read instead. They are far above real ones, of about 400 bytes a file.
const (
	maxTable        = 128 << 20 // bytes, packed and unpacked
	maxTableEntries = 1_000_000 // with the chunks of large files
)

// A TOC is the table of contents of a layer, which tells where in the blob each
// file is: that of eStargz (stargz-snapshotter, docs/estargz.md) or of
// zstd:chunked (containers-storage-zstd-chunked). A file can be read by its
// bytes alone.
type TOC struct {
	blob    oci.RangeBlob
	kind    Compression
	entries []tocEntry
	chunks  []chunk
}

// tocEntry is an entry of the table. A layer has many, so it is small.
type tocEntry struct {
	name, link  string
	typeflag    byte
	mode        int64
	uid, gid    int
	size        int64
	modTime     time.Time
	digest      oci.Digest // of the content, if the table has it
	first, many int32      // its chunks
	extra       *tocExtra
}

// tocExtra is what few entries have.
type tocExtra struct {
	uname, gname string
	major, minor int64
	xattrs       map[string][]byte
}

// A chunk is a part of a file's content, as it is packed.
type chunk struct {
	offset, end int64      // in the blob
	skip        int64      // unpacked bytes before it
	size        int64      // unpacked
	digest      oci.Digest // unpacked; "" where the file's own tells
}

// OpenTOC reads the table of contents of a layer. It is read if an annotation
// of the layer's descriptor has its digest, and so is as trusted as the
// manifest that the descriptor comes from. ErrUnsupported if the layer has no
// table, none that can be trusted or one beyond the bounds; ErrInvalid or
// ErrCorrupt if it is broken. In all these cases the layer itself may be well.
func OpenTOC(ctx context.Context, b oci.RangeBlob, l Limits) (*TOC, error) {
	d := b.Descriptor()
	if err := oci.CheckDescriptor(d); err != nil {
		return nil, err
	}
	l = l.defaults()
	t := &tocReader{blob: b, most: min(l.Entries, maxTableEntries), bytes: l.Bytes, header: l.Header}
	var err error
	switch {
	case chunkedKey(d, "manifest-checksum") != "":
		err = t.readChunked(ctx, d)
	case d.Annotations[stargzDigest] != "":
		err = t.readStargz(ctx, d)
	default:
		err = oci.Errorf(oci.ErrUnsupported, "no table of contents")
	}
	if err != nil {
		return nil, oci.Wrap("table of contents", string(d.Digest), err)
	}
	return &t.toc, nil
}

// Entries yields the entries in the order of the layer, as [Reader.Entries]
// does, and numbered alike.
func (t *TOC) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for i := range t.entries {
			e, err := newEntry(t.entries[i].header())
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// header is the entry as it stands in the tar.
func (e *tocEntry) header() *tar.Header {
	h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.typeflag, Mode: e.mode, Uid: e.uid, Gid: e.gid, Size: e.size, ModTime: e.modTime}
	if x := e.extra; x != nil {
		h.Uname, h.Gname, h.Devmajor, h.Devminor = x.uname, x.gname, x.major, x.minor
		for k, v := range x.xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+k] = string(v)
		}
	}
	return h
}

// Digest is that of the content of entry i, "" if the table does not tell it.
func (t *TOC) Digest(i int) oci.Digest {
	if i < 0 || i >= len(t.entries) {
		return ""
	}
	return t.entries[i].digest
}

// Open reads the content of entry i, a File, and only the part of the layer
// that has it. What it yields is verified against the table's digests, as
// [oci.Verify] does. The caller closes it.
func (t *TOC) Open(ctx context.Context, i int) (io.ReadCloser, error) {
	if i < 0 || i >= len(t.entries) || t.entries[i].typeflag != tar.TypeReg {
		return nil, oci.Errorf(oci.ErrInvalid, "entry %d of %s is not a file", i, t.blob.Descriptor().Digest)
	}
	e := &t.entries[i]
	r := io.ReadCloser(&content{ctx: ctx, toc: t, chunks: t.chunks[e.first : e.first+e.many]})
	if e.digest != "" {
		r = oci.Verify(r, oci.Descriptor{Digest: e.digest, Size: e.size})
	}
	return r, nil
}

// TOCFallback reports whether an error of [OpenTOC] says only that the table is
// of no use, so that the layer has to be read.
func TOCFallback(err error) bool {
	return errors.Is(err, oci.ErrUnsupported) || errors.Is(err, oci.ErrInvalid) || errors.Is(err, oci.ErrCorrupt)
}
