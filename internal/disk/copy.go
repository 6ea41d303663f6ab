// SPDX-License-Identifier: Apache-2.0

// Package disk has what stores and caches on disk share: files that are only
// files, files that are written whole, copies that end with the context; and what
// the system knows of a file.
package disk

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
)

const streamBuffer = 1 << 20 // bytes; a stream has two

var buffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// Copy copies until the end of r, or until the context ends. It writes in
// another goroutine than it reads, because reading is hashing too; both have
// ended when it returns. A failed write is a WriteError. After a failed read,
// all that was read before has been written.
func Copy(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	s := stream{w: w, full: make(chan filled, 1), free: make(chan *[streamBuffer]byte, 2)}
	s.free <- buffers.Get().(*[streamBuffer]byte)
	s.free <- buffers.Get().(*[streamBuffer]byte)
	var wg sync.WaitGroup
	wg.Go(s.write)
	for err == nil && !s.broken.Load() {
		if err = ctx.Err(); err != nil {
			break
		}
		f := filled{buf: <-s.free}
		f.n, err = fill(r, f.buf[:])
		n += int64(f.n)
		s.full <- f
	}
	close(s.full)
	wg.Wait()
	buffers.Put(<-s.free)
	buffers.Put(<-s.free)
	switch {
	case s.err != nil:
		return n, &WriteError{Err: s.err}
	case err == io.EOF:
		return n, nil
	}
	return n, err
}

// A stream is the writing half of Copy.
type stream struct {
	w      io.Writer
	full   chan filled
	free   chan *[streamBuffer]byte
	broken atomic.Bool
	err    error // valid when write has returned
}

type filled struct {
	buf *[streamBuffer]byte
	n   int
}

func (s *stream) write() {
	w := &past{w: s.w}
	defer w.end()
	for f := range s.full {
		if s.err == nil {
			_, s.err = w.Write(f.buf[:f.n])
			s.broken.Store(s.err != nil)
		}
		s.free <- f.buf
	}
}

// fill reads until the buffer is full: whole buffers are what past can write.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// A WriteError is one of the file system that is written to, not of the source.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }
