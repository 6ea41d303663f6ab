// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/internal/temp"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A conversion is a layer and what becomes of it.
type conversion struct {
	in oci.Descriptor

	work sync.Mutex // held while it is converted

	mu   sync.Mutex
	done *outcome   // nil: not known
	made *temp.File // its bytes, if they are there
}

// result is the outcome, which must be known.
func (v *conversion) result() outcome {
	v.mu.Lock()
	defer v.mu.Unlock()
	return *v.done
}

func (v *conversion) known() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.done != nil
}

// settle notes the outcome.
func (c *Converter) settle(v *conversion, done *outcome, made *temp.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done = done
	if made != nil {
		v.made = made
	}
	c.packed[done.Digest] = append(c.packed[done.Digest], v)
}

// recall looks up what is remembered of a layer. If it has another diff ID
// than a config says, it is forgotten.
func (c *Converter) recall(v *conversion, diffID oci.Digest) {
	if v.known() {
		return
	}
	m := c.memory(v.in)
	done := m.read()
	if done != nil && done.Source != diffID {
		m.forget()
		done = nil
	}
	if done != nil {
		c.settle(v, done, nil)
	}
}

// bigLayer is from where on packing one layer keeps all cores busy.
const bigLayer = 32 << 20

// resolve makes the outcome of a layer known.
func (c *Converter) resolve(ctx context.Context, v *conversion) error {
	v.work.Lock()
	defer v.work.Unlock()
	if v.known() {
		return nil
	}
	done, made, err := c.pack(ctx, v.in)
	if err != nil {
		return err
	}
	c.settle(v, done, made)
	c.memory(v.in).write(done)
	return nil
}

// file finds the bytes of the converted layer, and makes them if they are not
// there.
func (c *Converter) file(ctx context.Context, v *conversion) (*temp.File, error) {
	v.work.Lock()
	defer v.work.Unlock()
	v.mu.Lock()
	made, want := v.made, v.done
	v.mu.Unlock()
	if made != nil {
		return made, nil
	}
	done, made, err := c.pack(ctx, v.in)
	if err != nil {
		return nil, err
	}
	if done.Digest != want.Digest || done.Size != want.Size {
		c.memory(v.in).forget()
		return nil, errors.Join(oci.Errorf(oci.ErrBusy, "layer %s packs differently than it did before; that is forgotten now, so that the next try works", v.in.Digest), made.Close())
	}
	v.mu.Lock()
	v.made = made
	v.mu.Unlock()
	return made, nil
}

// pack converts a layer into a file.
func (c *Converter) pack(ctx context.Context, d oci.Descriptor) (*outcome, *temp.File, error) {
	lane := c.small
	if d.Size >= bigLayer {
		lane = c.big
	}
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	f, err := temp.Create(c.o.TempDir)
	if err != nil {
		return nil, nil, err
	}
	done, err := c.packTo(ctx, f, d)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return done, f, nil
}

func (c *Converter) packTo(ctx context.Context, f io.Writer, d oci.Descriptor) (*outcome, error) {
	b := oci.From(c.s, d)
	if c.o.Progress != nil {
		c.o.Progress(d, 0)
		b = oci.Observe(b, func(n int) { c.o.Progress(d, n) })
	}
	rc, err := layer.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	in := &plainReader{ctx: ctx, r: rc, left: c.o.MaxBytes, d: d}
	source := sha256.New()
	var r io.Reader = in
	if c.o.Packing.Estargz {
		r = io.TeeReader(in, source)
	}
	p, err := layer.Pack(f, r, *c.o.Packing)
	if err != nil {
		return nil, oci.Wrap("", string(d.Digest), err)
	}
	done := &outcome{Digest: p.Digest, Size: p.Size, Source: p.DiffID, DiffID: p.DiffID, Annotations: p.Annotations}
	if c.o.Packing.Estargz {
		done.Source = digest.NewDigest(digest.SHA256, source)
	}
	return done, nil
}

// A plainReader ends with the context, and with ErrInvalid at a limit.
type plainReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
	d    oci.Descriptor
}

func (r *plainReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, oci.Errorf(oci.ErrInvalid, "layer of %d bytes unpacks to more than is allowed", r.d.Size)
	}
	return n, err
}
