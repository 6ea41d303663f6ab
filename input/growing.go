// SPDX-License-Identifier: Apache-2.0

package input

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/dray-tools/dray/internal/temp"
	"github.com/dray-tools/dray/oci"
)

// A growing is a temporary file that is read while it is written: by one
// writer, and any number of readers that wait for what is not there yet.
type growing struct {
	f *temp.File

	mu   sync.Mutex
	size int64
	err  error         // nil: it grows; io.EOF: it is whole
	more chan struct{} // closed when something above has changed
}

func newGrowing(dir string) (*growing, error) {
	f, err := temp.Create(dir)
	if err != nil {
		return nil, err
	}
	return &growing{f: f, more: make(chan struct{})}, nil
}

func (g *growing) Write(p []byte) (int, error) {
	n, err := g.f.Write(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.size += int64(n)
	g.wake()
	return n, err
}

func (g *growing) length() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size
}

func (g *growing) wake() {
	close(g.more)
	g.more = make(chan struct{})
}

// end says that there is no more to come: nil, or why not.
func (g *growing) end(err error) {
	if err == nil {
		err = io.EOF
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
		g.wake()
	}
}

// wait returns how far the file has got when that is beyond an offset, or the
// error that ended it.
func (g *growing) wait(ctx context.Context, offset int64) (int64, error) {
	for {
		g.mu.Lock()
		size, err, more := g.size, g.err, g.more
		g.mu.Unlock()
		switch {
		case err != nil && err != io.EOF:
			return size, err
		case size > offset || err != nil:
			return size, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return size, context.Cause(ctx)
		}
	}
}

// reader reads a part, to the end of the file if length is negative. It ends
// with the context.
func (g *growing) reader(ctx context.Context, offset, length int64) io.ReadCloser {
	r := io.Reader(&growingReader{ctx, g, max(offset, 0)})
	if length >= 0 {
		r = io.LimitReader(r, length)
	}
	return io.NopCloser(r)
}

// section reads a part of a file that is whole.
func (g *growing) section(offset, length int64) io.ReadCloser {
	return io.NopCloser(oci.Section(g.f, g.length(), offset, length))
}

type growingReader struct {
	ctx context.Context
	g   *growing
	at  int64
}

func (r *growingReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	size, err := r.g.wait(r.ctx, r.at)
	if err != nil {
		return 0, err
	}
	if r.at >= size {
		return 0, io.EOF
	}
	n, err := r.g.f.ReadAt(p[:min(int64(len(p)), size-r.at)], r.at)
	r.at += int64(n)
	if err == io.EOF { // of the file as it was, not of what it becomes
		err = nil
	}
	return n, err
}

// Close removes the file. Those who read it get an error.
func (g *growing) Close() error {
	g.end(os.ErrClosed)
	return g.f.Close()
}
