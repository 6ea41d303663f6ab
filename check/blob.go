// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

// A blob is one that manifests lead to.
type blob struct {
	place    // of the first mention
	d        oci.Descriptor
	isConfig bool // of an image: read already
	isLayer  bool
	foreign  bool               // an image says that it is kept elsewhere
	algs     []digest.Algorithm // of its diff IDs
	tables   []oci.Descriptor   // of contents: the layer with the annotations that name one
	scan     *scan              // of a layer that could be read
}

func (c *checker) blob(p place, d oci.Descriptor) *blob {
	b := c.blobs[d.Digest]
	if b == nil {
		b = &blob{place: p, d: d}
		b.digest = d.Digest
		c.blobs[d.Digest] = b
		c.order = append(c.order, b)
	}
	return b
}

// readBlobs reads what has not been read, the largest first, so that the last
// ones to end are small; in a fast check it only asks.
func (c *checker) readBlobs(ctx context.Context) error {
	var todo []*blob
	for _, b := range c.order {
		switch {
		case b.isLayer:
			c.stats.Layers++
		case b.foreign:
			c.add(Note, CodeForeign, b.place, "", "kept elsewhere; it was not read")
			continue
		case b.isConfig:
			continue
		}
		todo = append(todo, b)
	}
	if c.o.Fast {
		return oci.Parallel(ctx, len(todo), func(ctx context.Context, i int) error { return c.stat(ctx, todo[i]) })
	}
	for _, i := range c.images {
		for n, id := range i.diffIDs {
			if a := id.Algorithm(); !slices.Contains(i.layers[n].algs, a) {
				i.layers[n].algs = append(i.layers[n].algs, a)
			}
		}
	}
	slices.SortStableFunc(todo, func(a, b *blob) int { return cmp.Compare(b.d.Size, a.d.Size) })
	return parallel(ctx, c.o.Jobs, todo, c.readBlob)
}

// parallel calls f for all of a list, in its order and up to n at a time.
func parallel[T any](ctx context.Context, n int, list []T, f func(context.Context, T) error) error {
	next := make(chan T)
	return oci.Parallel(ctx, min(n, len(list))+1, func(ctx context.Context, i int) error {
		if i > 0 {
			for x := range next {
				if err := f(ctx, x); err != nil {
					return err
				}
			}
			return nil
		}
		defer close(next)
		for _, x := range list {
			select {
			case next <- x:
			case <-ctx.Done():
				return nil // the cause is who ended it
			}
		}
		return nil
	})
}

// stat asks for a blob.
func (c *checker) stat(ctx context.Context, b *blob) error {
	have, err := c.src.Stat(ctx, oci.Descriptor{MediaType: b.d.MediaType, Digest: b.d.Digest, Size: b.d.Size})
	switch {
	case errors.Is(err, oci.ErrCorrupt):
		c.add(Error, CodeSize, b.place, "", err.Error())
	case err != nil:
		return c.fault(b.place, CodeCorrupt, err)
	case have.Size != b.d.Size:
		c.add(Error, CodeSize, b.place, "", fmt.Sprintf("%d bytes are there, want %d", have.Size, b.d.Size))
	}
	return nil
}

// readBlob reads a blob to its end.
func (c *checker) readBlob(ctx context.Context, b *blob) error {
	ctx, cancel := context.WithCancel(ctx)
	d := b.d
	d.Data = nil
	rc, err := c.src.Open(ctx, d)
	if err != nil {
		cancel()
		return c.fault(b.place, CodeCorrupt, err)
	}
	r := newAhead(&counted{oci.Verify(rc, d), c})
	defer func() {
		cancel() // ends a read that hangs
		r.stop()
		rc.Close()
	}()
	var found []Finding
	if b.isLayer {
		b.scan, found = c.scanLayer(b, r)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // also what made the scan end
		b.scan = nil // of bytes that are not the layer's
		return c.fault(b.place, CodeCorrupt, err)
	}
	for _, f := range found {
		c.add(f.Severity, f.Code, b.place, f.Path, f.Text)
	}
	return c.checkTables(ctx, b)
}

// counted counts what is read.
type counted struct {
	io.Reader
	c *checker
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.c.count(n)
	return n, err
}

// ahead reads in a goroutine of its own: getting and hashing the packed bytes
// goes on while what came before is unpacked. Its error is sticky, so that who
// reads on after a decompressor has given up learns whether the bytes were to
// blame.
type ahead struct {
	full chan chunk
	free chan []byte
	done chan struct{}
	wg   sync.WaitGroup
	now  chunk
	rest []byte // of now
}

type chunk struct {
	b   []byte
	n   int
	err error
}

const (
	chunks    = 4
	chunkSize = 256 << 10
)

func newAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan chunk, chunks), free: make(chan []byte, chunks), done: make(chan struct{})}
	for range chunks {
		a.free <- nil // made when needed: most blobs are small
	}
	a.wg.Go(func() { a.run(r) })
	return a
}

func (a *ahead) run(r io.Reader) {
	for {
		var c chunk
		select {
		case c.b = <-a.free:
		case <-a.done:
			return
		}
		if c.b == nil {
			c.b = make([]byte, chunkSize)
		}
		for c.err == nil && c.n < chunkSize/2 {
			var n int
			n, c.err = r.Read(c.b[c.n:])
			c.n += n
		}
		a.full <- c // as many as there are buffers fit in
		if c.err != nil {
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.b != nil {
			a.free <- a.now.b
		}
		a.now = <-a.full
		a.rest = a.now.b[:a.now.n]
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// stop ends the goroutine; nothing may be read after it.
func (a *ahead) stop() {
	close(a.done)
	a.wg.Wait()
}
