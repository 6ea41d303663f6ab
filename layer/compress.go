// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"

	"github.com/dray-tools/dray/oci"
)

// A Compression is how the bytes of a tar are packed.
type Compression string

// The compressions. Bzip2 and XZ are read, never written.
const (
	None  Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
	XZ    Compression = "xz"
)

var magics = []struct {
	c     Compression
	magic string
}{
	{Gzip, "\x1f\x8b"},
	{Zstd, "\x28\xb5\x2f\xfd"},
	{XZ, "\xfd7zXZ\x00"},
	{Bzip2, "BZh"},
}

// Sniff tells the compression from the first bytes; six are enough.
func Sniff(head []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.c
		}
	}
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) { // a skippable frame
		return Zstd
	}
	return None
}

// maxWindow bounds the memory of a zstd decoder; zstd's own --long=27.
const maxWindow = 128 << 20

// Decompress reads the first bytes of r and undoes the compression they show,
// whatever a media type says. The caller closes the result, which does not
// close r. How much comes out is not bounded here.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, None, err
	}
	c := Sniff(head)
	switch c {
	case Gzip:
		z, err := pgzip.NewReaderN(br, 1<<20, 4)
		if err != nil {
			return nil, c, oci.Errorf(oci.ErrInvalid, "gzip: %w", err)
		}
		return broken{z, z, c}, c, nil
	case Zstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, c, oci.Errorf(oci.ErrInvalid, "zstd: %w", err)
		}
		return broken{z, z.IOReadCloser(), c}, c, nil
	case XZ:
		z, err := xz.ReaderConfig{DictCap: maxWindow}.NewReader(br)
		if err != nil {
			return nil, c, oci.Errorf(oci.ErrInvalid, "xz: %w", err)
		}
		return broken{z, nil, c}, c, nil
	case Bzip2:
		return broken{bzip2.NewReader(br), nil, c}, c, nil
	}
	return io.NopCloser(br), c, nil
}

// broken gives the errors of a decompressor their kind.
type broken struct {
	io.Reader
	c    io.Closer
	kind Compression
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = oci.Errorf(oci.ErrInvalid, "%s: %w", b.kind, err)
	}
	return n, err
}

func (b broken) Close() error {
	if b.c == nil {
		return nil
	}
	return b.c.Close()
}

// MediaType is that of a layer with another compression, of the same family
// (OCI or Docker, distributable or not).
func MediaType(old string, c Compression) string {
	base := old
	for _, suffix := range []string{"+gzip", "+zstd", ".gzip", ".zstd"} {
		base = strings.TrimSuffix(base, suffix)
	}
	sep := "+"
	if strings.Contains(base, ".docker.") {
		sep = "."
	}
	if c == None {
		return base
	}
	return base + sep + string(c)
}
