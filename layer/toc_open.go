// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"context"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/oci"
)

// maxGap is how many bytes between two chunks are read and dropped rather than
// asked for apart: about what a request costs.
const maxGap = 64 << 10

// content reads a file chunk by chunk. Chunks that stand together are one
// request.
type content struct {
	ctx    context.Context
	toc    *TOC
	chunks []chunk
	cur    io.ReadCloser // of the chunk before chunks[0]
	src    *section      // the run of chunks that is open
	pos    int64         // of src in the blob
	end    int64         // of src in the blob
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
	err    error
}

func (c *content) Read(p []byte) (int, error) {
	for c.err == nil {
		if c.cur == nil {
			if len(c.chunks) == 0 {
				c.err = io.EOF
				break
			}
			c.cur, c.err = c.open(c.chunks[0])
			c.chunks = c.chunks[1:]
			continue
		}
		n, err := c.cur.Read(p)
		if err == io.EOF {
			c.cur, err = nil, nil
		}
		c.err = err
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, c.err
}

func (c *content) Close() error {
	if c.err == nil {
		c.err = oci.Errorf(oci.ErrInvalid, "read after close")
	}
	if c.zstd != nil {
		c.zstd.Close()
	}
	if c.src == nil {
		return nil
	}
	err := c.src.Close()
	c.src = nil
	return err
}

// open goes to a chunk and unpacks it.
func (c *content) open(k chunk) (io.ReadCloser, error) {
	if err := c.seek(k); err != nil {
		return nil, err
	}
	packed := &counted{r: io.LimitReader(c.src, k.end-k.offset)}
	plain, err := c.unpack(packed)
	if err == nil && k.skip > 0 {
		_, err = io.CopyN(io.Discard, plain, k.skip)
	}
	part := &part{c: c, packed: packed, plain: plain, left: k.size}
	if err != nil {
		return nil, part.explain(err)
	}
	if k.digest == "" {
		return part, nil // the file's own digest tells
	}
	return oci.Verify(part, oci.Descriptor{Digest: k.digest, Size: k.size}), nil
}

// seek brings src to the start of a chunk.
func (c *content) seek(k chunk) error {
	if c.src != nil && k.offset >= c.pos && k.end <= c.end {
		n, err := io.CopyN(io.Discard, c.src, k.offset-c.pos)
		c.pos += n
		return err
	}
	if c.src != nil {
		c.src.Close()
		c.src = nil
	}
	end := k.end
	for _, next := range c.chunks[1:] {
		if next.offset < end || next.offset-end > maxGap {
			break
		}
		end = next.end
	}
	var err error
	c.src, err = openSection(c.ctx, c.toc.blob, k.offset, end-k.offset)
	c.pos, c.end = k.offset, end
	return err
}

// unpack undoes the compression of a chunk, with the decompressor of the one
// before.
func (c *content) unpack(packed io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(packed, 16<<10)
	var err error
	if c.toc.kind == Gzip {
		if c.gzip == nil {
			c.gzip, err = gzip.NewReader(br)
			return c.gzip, err
		}
		return c.gzip, c.gzip.Reset(br)
	}
	if c.zstd == nil {
		c.zstd, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		return c.zstd, err
	}
	return c.zstd, c.zstd.Reset(br)
}

// A part is one chunk, unpacked.
type part struct {
	c      *content
	packed *counted
	plain  io.Reader
	left   int64
}

func (p *part) Read(b []byte) (int, error) {
	if p.left == 0 {
		p.c.pos += p.packed.n
		p.packed.n = 0
		return 0, io.EOF
	}
	n, err := p.plain.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	if err == io.EOF && p.left == 0 {
		err = nil
	}
	return n, p.explain(err)
}

// explain tells a source that fails from bytes that cannot be unpacked.
func (p *part) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case p.c.src.err != nil:
		return p.c.src.err
	case err == io.EOF:
		return oci.Errorf(oci.ErrCorrupt, "the chunk ends %d bytes early", p.left)
	}
	return oci.Errorf(oci.ErrInvalid, "%s: %w", p.c.toc.kind, err)
}

func (p *part) Close() error { return nil }
