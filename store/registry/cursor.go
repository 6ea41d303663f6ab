// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"io"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// A cursor reads a blob from any offset, going on with an open stream where it
// can. A stream from the start is verified; one from the middle cannot be, and
// the registry's own check of the digest has to do.
type cursor struct {
	ctx context.Context // of the upload, which a stream outlives no request of
	b   oci.Blob

	mu   sync.Mutex // the HTTP client may still read after there is an answer
	turn int        // of the section that may read
	rc   io.ReadCloser
	pos  int64
	err  error // of the blob, as opposed to the connection
}

// ahead opens the blob while the registry opens the session. If that fails,
// whoever reads tries again and sees the error.
func (c *cursor) ahead() {
	go func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.turn == 0 && c.seek(0) != nil {
			c.drop()
		}
	}()
}

// section is the part of the blob from one offset to another. Sections that
// were made before can no longer be read.
func (c *cursor) section(from, to int64) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	c.err = nil
	if err := c.seek(from); err != nil {
		c.drop()
		c.err = err
		return nil, err
	}
	return &section{c, c.turn, to - from}, nil
}

func (c *cursor) seek(off int64) error {
	if c.rc != nil && c.pos == off {
		return nil
	}
	c.drop()
	if rb, ok := c.b.(oci.RangeBlob); ok && off > 0 {
		rc, err := rb.OpenRange(c.ctx, off, -1)
		if err == nil {
			c.rc, c.pos = rc, off
			return nil
		}
		if !isKind(err, oci.ErrUnsupported) {
			return err
		}
	}
	rc, err := c.b.Open(c.ctx)
	if err != nil {
		return err
	}
	c.rc = oci.Verify(rc, c.b.Descriptor())
	c.pos, err = io.CopyN(io.Discard, c.rc, off)
	return err
}

// stop ends the section, and tells what went wrong with the blob.
func (c *cursor) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	return c.err
}

func (c *cursor) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	c.drop()
}

func (c *cursor) drop() {
	if c.rc != nil {
		c.rc.Close()
		c.rc = nil
	}
}

type section struct {
	c    *cursor
	turn int
	left int64
}

func (s *section) Read(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case s.turn != s.c.turn:
		return 0, io.ErrClosedPipe
	case s.left == 0:
		return 0, io.EOF
	case s.c.rc == nil: // it has failed
		return 0, s.c.err
	case int64(len(p)) > s.left:
		p = p[:s.left]
	}
	n, err := s.c.rc.Read(p)
	s.c.pos += int64(n)
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = oci.Errorf(oci.ErrCorrupt, "%s ends %d bytes early", s.c.b.Descriptor().Digest, s.left)
	}
	if err != nil && err != io.EOF {
		s.c.err = err
		s.c.drop()
	}
	return n, err
}

func (s *section) Close() error { return nil }
