// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/oci"
)

// How the two formats say where their table is and what its digest is.
const (
	stargzDigest = "containerd.io/snapshot/stargz/toc.digest"
	stargzName   = "stargz.index.json"
	stargzFooter = 51
	oldFooter    = 47 // of stargz, before the e
)

// tail is how much of a layer is read for its footer: as most tables are
// larger than this, more would be waste; as small ones fit, it saves a request.
const tail = 64 << 10

// tocReader is a table being read.
type tocReader struct {
	blob   oci.RangeBlob
	toc    TOC
	most   int   // entries, and chunks
	bytes  int64 // of all files
	header int64 // bytes of an entry
	limit  int64 // where in the blob the files end
	pace   *paced

	sections []*section // that were opened
	ignore   bool       // chunks of an entry that is not in the table
}

// readStargz finds the footer, which says where the table is: a gzip stream of
// a tar with one JSON file.
func (t *tocReader) readStargz(ctx context.Context, d oci.Descriptor) error {
	want, err := oci.ParseDigest(d.Annotations[stargzDigest])
	if err != nil {
		return err
	}
	start := max(0, d.Size-tail)
	end, err := t.section(ctx, start, d.Size-start)
	if err != nil {
		return err
	}
	defer end.Close()
	last, err := io.ReadAll(end)
	if err != nil {
		return err
	}
	offset, footer, ok := parseFooter(last)
	if !ok || offset <= 0 || offset >= d.Size-footer || d.Size-offset > maxTable {
		return oci.Errorf(oci.ErrUnsupported, "no footer of eStargz that can be used")
	}
	last = last[:int64(len(last))-footer]
	packed := io.Reader(bytes.NewReader(last))
	if offset < start {
		rest, err := t.section(ctx, offset, start-offset)
		if err != nil {
			return err
		}
		defer rest.Close()
		packed = io.MultiReader(rest, packed)
	} else {
		packed = bytes.NewReader(last[offset-start:])
	}
	t.toc = TOC{blob: t.blob, kind: Gzip}
	t.limit = offset
	return t.unpackStargz(packed, want, chunk{offset: offset, end: d.Size - footer, digest: want})
}

func (t *tocReader) unpackStargz(packed io.Reader, want oci.Digest, self chunk) error {
	z, err := gzip.NewReader(packed)
	if err != nil {
		return t.kind(err)
	}
	z.Multistream(false)
	plain := &counted{r: io.LimitReader(z, maxTable)}
	tr := tar.NewReader(plain)
	h, err := tr.Next()
	if err != nil {
		return t.kind(err)
	}
	if h.Name != stargzName || h.Typeflag != tar.TypeReg {
		return oci.Errorf(oci.ErrInvalid, "want a tar that begins with %s", stargzName)
	}
	self.skip, self.size = plain.n, h.Size
	if err := t.parse(oci.Verify(io.NopCloser(tr), oci.Descriptor{Digest: want, Size: h.Size})); err != nil {
		return err
	}
	// The table is a file of the layer, too, and is the only one not in itself.
	if self.size > 0 {
		t.toc.entries = append(t.toc.entries, tocEntry{name: stargzName, typeflag: tar.TypeReg, size: self.size, modTime: h.ModTime, digest: want,
			first: int32(len(t.toc.chunks)), many: 1})
		t.toc.chunks = append(t.toc.chunks, self)
	}
	return nil
}

// parseFooter reads the gzip stream without content at the end of a blob: its
// extra field is the offset of the table in hex.
func parseFooter(last []byte) (offset, length int64, ok bool) {
	for _, n := range []int{stargzFooter, oldFooter} {
		if len(last) < n {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(last[len(last)-n:]))
		if err != nil {
			continue
		}
		field := z.Extra
		if n == stargzFooter {
			if len(field) < 4 || string(field[:2]) != "SG" || int(binary.LittleEndian.Uint16(field[2:])) != len(field)-4 {
				continue
			}
			field = field[4:]
		}
		hex, found := strings.CutSuffix(string(field), "STARGZ")
		if v, err := strconv.ParseUint(hex, 16, 63); found && len(hex) == 16 && err == nil {
			return int64(v), int64(n), true
		}
	}
	return 0, 0, false
}

// chunkedKey is an annotation of zstd:chunked, by its name of today or by that
// of before 2023.
func chunkedKey(d oci.Descriptor, name string) string {
	for _, prefix := range []string{"io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."} {
		if v := d.Annotations[prefix+name]; v != "" {
			return v
		}
	}
	return ""
}

// readChunked reads a table whose place and digest are annotations.
func (t *tocReader) readChunked(ctx context.Context, d oci.Descriptor) error {
	want, err := oci.ParseDigest(chunkedKey(d, "manifest-checksum"))
	if err != nil {
		return err
	}
	var at [4]int64 // offset, length, unpacked length, type
	fields := strings.Split(chunkedKey(d, "manifest-position"), ":")
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, 63)
		if len(fields) != len(at) || err != nil {
			return oci.Errorf(oci.ErrInvalid, "position %s: want four numbers", oci.Quote(strings.Join(fields, ":")))
		}
		at[i] = int64(v)
	}
	offset, length, plain, kind := at[0], at[1], at[2], at[3]
	switch {
	case kind != 1 || length > maxTable || plain > maxTable:
		return oci.Errorf(oci.ErrUnsupported, "type %d, %d bytes, %d unpacked", kind, length, plain)
	case length == 0 || offset > d.Size || length > d.Size-offset:
		return oci.Errorf(oci.ErrInvalid, "it is said to be %d bytes at %d, of %d", length, offset, d.Size)
	}
	packed, err := t.section(ctx, offset, length)
	if err != nil {
		return err
	}
	defer packed.Close()
	verified := oci.Verify(packed, oci.Descriptor{Digest: want, Size: length})
	z, err := zstd.NewReader(verified, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return t.kind(err)
	}
	defer z.Close()
	t.toc = TOC{blob: t.blob, kind: Zstd}
	t.limit = offset
	content := &counted{r: io.LimitReader(z, plain+1)}
	if err := t.parse(content); err != nil {
		return err
	}
	if content.n != plain {
		return oci.Errorf(oci.ErrInvalid, "it unpacks to other than %d bytes", plain)
	}
	_, err = io.Copy(io.Discard, verified) // the digest is known at its end
	return err
}

// section reads a part of the blob, exactly that many bytes.
func (t *tocReader) section(ctx context.Context, offset, length int64) (*section, error) {
	s, err := openSection(ctx, t.blob, offset, length)
	if err == nil {
		t.sections = append(t.sections, s)
	}
	return s, err
}

func openSection(ctx context.Context, b oci.RangeBlob, offset, length int64) (*section, error) {
	rc, err := b.OpenRange(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	return &section{ReadCloser: rc, left: length}, nil
}

// A section is a part of a blob that has to be there whole.
type section struct {
	io.ReadCloser
	left int64
	err  error // that is not io.EOF
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = oci.Errorf(oci.ErrCorrupt, "the source ends %d bytes early", s.left)
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A counted reader counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
