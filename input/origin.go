// SPDX-License-Identifier: Apache-2.0

package input

import (
	"context"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/dray-tools/dray/oci"
)

// An origin is where the bytes of an input come from, again and again.
type origin interface {
	// open opens a part, to the end if length is negative.
	open(ctx context.Context, offset, length int64) (io.ReadCloser, error)
	// size is -1 if it shows only at the end.
	size() int64
	close() error
}

// A file is a regular file, which has to stay as it was when it was first seen.
type file struct {
	path string
	info fs.FileInfo
}

func (f *file) size() int64  { return f.info.Size() }
func (f *file) close() error { return nil }

func (f *file) open(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	r, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe may have taken its place
	if err != nil {
		return nil, err
	}
	if err := f.unchanged(r); err != nil {
		r.Close()
		return nil, err
	}
	return &fileReader{oci.Section(r, f.size(), offset, length), r, f}, nil
}

func (f *file) unchanged(r *os.File) error {
	now, err := r.Stat()
	if err != nil {
		return err
	}
	if !now.Mode().IsRegular() || !os.SameFile(now, f.info) || now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return oci.Errorf(oci.ErrBusy, "it was changed while it was read")
	}
	return nil
}

// A fileReader has a last look at the file when it ends.
type fileReader struct {
	io.Reader
	r *os.File
	f *file
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		if cerr := r.f.unchanged(r.r); cerr != nil {
			err = cerr
		}
	}
	return n, err
}

func (r *fileReader) Close() error { return r.r.Close() }

// A spool keeps what can be read only once: standard input, a pipe. It is read
// at its own pace into a file, from which all who want it read.
type spool struct {
	dir  string // of the file
	most int64
	path string    // to open; "": r
	r    io.Reader // what is read

	mu     sync.Mutex
	kept   *growing
	opened *os.File // of path
	closed bool
}

func (*spool) size() int64 { return -1 }

func (s *spool) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		g, err := newGrowing(s.dir)
		if err != nil {
			return nil, err
		}
		s.kept = g
		go func() { g.end(s.fill(g)) }() // nobody can end a read that waits, so nobody waits for this
	}
	return s.kept.reader(ctx, offset, length), nil
}

func (s *spool) fill(g *growing) error {
	r := s.r
	if s.path != "" {
		f, err := os.Open(s.path) // waits for one who writes into the pipe
		if err != nil {
			return err
		}
		defer f.Close()
		s.mu.Lock()
		s.opened = f
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return os.ErrClosed
		}
		r = f
	}
	n, err := io.CopyBuffer(onlyWriter{g}, io.LimitReader(r, s.most+1), make([]byte, 256<<10))
	if err == nil && n > s.most {
		err = oci.Errorf(oci.ErrInvalid, "it has more than %d bytes", s.most)
	}
	return err
}

type onlyWriter struct{ io.Writer }

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.kept == nil {
		return nil
	}
	switch {
	case s.opened != nil:
		s.opened.Close()
	case s.path != "": // ends the wait for a writer
		if w, err := os.OpenFile(s.path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			w.Close()
		}
	}
	return s.kept.Close()
}

// A blob is a layer that is somewhere already.
type blob struct{ oci.Blob }

func (b blob) size() int64  { return b.Descriptor().Size }
func (b blob) close() error { return nil }

func (b blob) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if offset == 0 && length < 0 {
		rc, err := b.Open(ctx)
		if err != nil {
			return nil, err
		}
		return oci.Verify(rc, b.Descriptor()), nil
	}
	if r, ok := b.Blob.(oci.RangeBlob); ok {
		return r.OpenRange(ctx, offset, length)
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "it has to be read from its start")
}

// isStream reports whether a file gives its bytes only once. Files of /dev are
// what the process was given, wherever that stands.
func isStream(path string, info fs.FileInfo) bool {
	return !info.Mode().IsRegular() || strings.HasPrefix(path, "/dev/")
}
