// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"context"
	"io"
)

// Bytes makes a blob of bytes in memory. Without a digest it gets a sha256
// one; a digest that does not match shows when the blob is read.
func Bytes(mediaType string, b []byte, d ...Digest) Blob {
	desc := Descriptor{MediaType: mediaType, Size: int64(len(b))}
	if len(d) > 0 {
		desc.Digest = d[0]
	} else {
		desc.Digest = FromBytes(b)
	}
	return memBlob{desc, b}
}

type memBlob struct {
	d Descriptor
	b []byte
}

func (m memBlob) Descriptor() Descriptor { return m.d }

func (m memBlob) Open(context.Context) (io.ReadCloser, error) {
	return Verify(io.NopCloser(bytes.NewReader(m.b)), m.d), nil
}

func (m memBlob) OpenRange(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(Section(bytes.NewReader(m.b), m.d.Size, offset, length)), nil
}

// Section is the part of a blob of that size that OpenRange asks for.
func Section(r io.ReaderAt, size, offset, length int64) *io.SectionReader {
	offset = min(max(offset, 0), size)
	if length < 0 || length > size-offset {
		length = size - offset
	}
	return io.NewSectionReader(r, offset, length)
}

// From makes a blob of what a source has. It is a RangeBlob if the source is a
// Ranger.
func From(s Source, d Descriptor) Blob {
	b := sourceBlob{s, d}
	if r, ok := As[Ranger](s); ok {
		return rangeBlob{b, r}
	}
	return b
}

type sourceBlob struct {
	s Source
	d Descriptor
}

func (b sourceBlob) Descriptor() Descriptor { return b.d }

func (b sourceBlob) Open(ctx context.Context) (io.ReadCloser, error) { return b.s.Open(ctx, b.d) }

type rangeBlob struct {
	sourceBlob
	r Ranger
}

func (b rangeBlob) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	return b.r.OpenRange(ctx, b.d, offset, length)
}

// Observe calls f with the number of bytes, each time the blob's reader hands
// out some. A blob that can be opened in its middle stays one.
func Observe(b Blob, f func(n int)) Blob {
	o := observed{b, f}
	if r, ok := b.(RangeBlob); ok {
		return observedRange{o, r}
	}
	return o
}

type observed struct {
	Blob
	f func(int)
}

func (o observed) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := o.Blob.Open(ctx)
	if err != nil {
		return nil, err
	}
	if v, ok := rc.(*verifier); ok { // stays outermost, so that it is still recognised
		v.r = observer{v.r, o.f}
		return v, nil
	}
	return observer{rc, o.f}, nil
}

type observedRange struct {
	observed
	r RangeBlob
}

func (o observedRange) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	rc, err := o.r.OpenRange(ctx, offset, length)
	if err != nil {
		return nil, err
	}
	return observer{rc, o.f}, nil
}

type observer struct {
	io.ReadCloser
	f func(int)
}

func (o observer) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if n > 0 {
		o.f(n)
	}
	return n, err
}
