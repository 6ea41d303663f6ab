// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

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

// maxWindow bounds the memory of a zstd decoder; zstd's own --long=27. Beyond
// lightWindow, which is that of all levels up to 19, it is much.
const (
	maxWindow   = 128 << 20
	lightWindow = 8 << 20
)

// Decompress reads the first bytes of r and undoes the compression they show,
// whatever a media type says. The caller closes the result, which does not
// close r. How much comes out is not bounded here.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) { return decompress(r, nil) }

// decompress is Decompress for one of several layers that are read at the same
// time: before it takes much memory it waits. A zstd layer that begins modestly
// must go on so then.
func decompress(r io.Reader, wait func() error) (io.ReadCloser, Compression, error) {
	src := &source{r: r}
	br := bufio.NewReaderSize(src, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, None, err
	}
	c := Sniff(head)
	b := broken{src: src, kind: c}
	window, err := room(br, c, wait)
	if err != nil {
		return nil, c, err
	}
	switch c {
	case None:
		return io.NopCloser(br), c, nil
	case Gzip:
		var z *pgzip.Reader
		z, err = pgzip.NewReaderN(br, 1<<20, 4)
		b.Reader, b.c = z, z
	case Zstd:
		var z *zstd.Decoder
		if z, err = zstd.NewReader(br, zstd.WithDecoderMaxWindow(window), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true)); err == nil {
			b.Reader, b.c = z, z.IOReadCloser()
		}
	case XZ:
		b.Reader, err = newXZ(br)
	case Bzip2:
		b.Reader = bzip2.NewReader(br)
	}
	if err != nil {
		return nil, c, b.explain(err)
	}
	return b, c, nil
}

// room is the largest window that the layer may have, after a wait if that is
// large.
func room(br *bufio.Reader, c Compression, wait func() error) (uint64, error) {
	if wait == nil || c != Zstd && c != XZ {
		return maxWindow, nil
	}
	if c == Zstd {
		var h zstd.Header
		head, _ := br.Peek(zstd.HeaderMaxSize)
		err := h.Decode(head)
		size := h.WindowSize
		if h.SingleSegment {
			size = h.FrameContentSize
		}
		if err == nil && !h.Skippable && size <= lightWindow {
			return lightWindow, nil
		}
	}
	return maxWindow, wait()
}

// source remembers the error of what is decompressed.
type source struct {
	r   io.Reader
	err atomic.Pointer[error]
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// broken tells the errors of a decompressor from those of its source.
type broken struct {
	io.Reader
	c    io.Closer
	src  *source
	kind Compression
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = b.explain(err)
	}
	return n, err
}

func (b broken) explain(err error) error {
	if cause := b.src.err.Load(); cause != nil {
		return *cause
	}
	return oci.Errorf(oci.ErrInvalid, "%s: %w", b.kind, err)
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
