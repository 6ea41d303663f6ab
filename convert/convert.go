// SPDX-License-Identifier: Apache-2.0

// Package convert gives images another packing or other media types, as a source
// wrapped round the one that has them.
package convert

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// ErrNotRemembered is why a conversion without work fails: a layer has never
// been packed like that before.
var ErrNotRemembered = errors.New("the result is not known before")

// Options say what becomes of images. The zero value changes nothing.
type Options struct {
	// Packing is how the layers shall be packed; nil: as they are. A layer that
	// is packed so already is left alone, unless a level is asked for.
	Packing *layer.Packing
	// PlainOnly packs only layers that are not packed at all, with gzip if no
	// Packing is given.
	PlainOnly bool
	// MediaTypes are "oci" or "docker"; "": as they are.
	MediaTypes string
	// Keep tells which children of the root, if that is an index, are wanted.
	// The others are not read, and the index becomes smaller. nil: all.
	Keep func(index *oci.Manifest) ([]bool, error)
	// NoWork makes it ErrUnsupported to read a layer: only what is remembered
	// can be converted then.
	NoWork bool
	// CacheDir is where results are remembered; "": nowhere.
	CacheDir string
	// TempDir is where converted layers are kept until Close; "": the system's.
	TempDir string
	// MaxBytes bounds a layer without its packing; 0: 64 GiB.
	MaxBytes int64
	// Progress, if given, is called when reading a layer begins, with 0, and
	// with the number of bytes each time some have been read. Several goroutines
	// call it.
	Progress func(d oci.Descriptor, n int)
}

// A Converter is a source whose names stand for converted images. What it did
// not make it reads from the source below, also by ranges. It is safe for
// concurrent use. Close removes its files.
type Converter struct {
	s oci.Source
	o Options

	big, small chan struct{} // slots: packing uses all cores for big layers

	mu     sync.Mutex
	made   map[oci.Digest]oci.Blob      // manifests and configs, by their new digest
	layers map[oci.Digest]*conversion   // by the digest that they had
	packed map[oci.Digest][]*conversion // by the digest that they have
}

// New makes a source that converts what s has. Resolve reads and
// converts, unless the result is remembered: then the layers are converted
// only if they are opened.
func New(s oci.Source, o Options) *Converter {
	if o.PlainOnly && o.Packing == nil {
		o.Packing = &layer.Packing{}
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 30
	}
	return &Converter{
		s: s, o: o, big: make(chan struct{}, 1), small: make(chan struct{}, max(1, min(runtime.GOMAXPROCS(0), 8)-1)),
		made: map[oci.Digest]oci.Blob{}, layers: map[oci.Digest]*conversion{}, packed: map[oci.Digest][]*conversion{},
	}
}

// Resolve implements oci.Source: it converts what the name leads to. What
// needs no change keeps its digest. ErrCorrupt if a layer that has to be
// converted does not match its digest or its diff ID.
func (c *Converter) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if b := c.own(oci.Digest(name)); b != nil {
		return b.Descriptor(), nil
	}
	d, err := c.s.Resolve(ctx, name)
	if err != nil {
		return d, err
	}
	return c.convert(ctx, d)
}

// Stat implements oci.Source.
func (c *Converter) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := c.own(d.Digest); b != nil {
		return b.Descriptor(), nil
	}
	if v := c.output(d.Digest); v != nil {
		d.Size = v.result().Size
		return d, nil
	}
	return c.s.Stat(ctx, d)
}

// Open implements oci.Source. A layer whose conversion is only remembered is
// converted now.
func (c *Converter) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if b := c.own(d.Digest); b != nil {
		return b.Open(ctx)
	}
	v := c.output(d.Digest)
	if v == nil {
		return c.s.Open(ctx, d)
	}
	f, err := c.file(ctx, v)
	if err != nil {
		return nil, err
	}
	d.Size = v.result().Size
	return oci.Verify(io.NopCloser(oci.Section(f, d.Size, 0, -1)), d), nil
}

// OpenRange implements oci.Ranger.
func (c *Converter) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if b, ok := c.own(d.Digest).(oci.RangeBlob); ok {
		return b.OpenRange(ctx, offset, length)
	}
	if v := c.output(d.Digest); v != nil {
		f, err := c.file(ctx, v)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(oci.Section(f, v.result().Size, offset, length)), nil
	}
	if r, ok := oci.As[oci.Ranger](c.s); ok {
		return r.OpenRange(ctx, d, offset, length)
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "%s has to be read from its start", d.Digest)
}

// Close removes the converted layers. The source below is not closed.
func (c *Converter) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, v := range c.layers {
		v.mu.Lock()
		if v.made != nil {
			errs = append(errs, v.made.Close())
			v.made = nil
		}
		v.mu.Unlock()
	}
	return errors.Join(errs...)
}

// own is a manifest or config that was made here.
func (c *Converter) own(d oci.Digest) oci.Blob {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made[d]
}

func (c *Converter) keep(b oci.Blob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[b.Descriptor().Digest] = b
}

// output is the conversion that makes a layer.
func (c *Converter) output(d oci.Digest) *conversion {
	c.mu.Lock()
	defer c.mu.Unlock()
	if list := c.packed[d]; len(list) > 0 {
		return list[0]
	}
	return nil
}

// conversion is what becomes of a layer, one object for each digest.
func (c *Converter) conversion(d oci.Descriptor) *conversion {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.layers[d.Digest]
	if v == nil {
		v = &conversion{in: d}
		c.layers[d.Digest] = v
	}
	return v
}
