// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
)

// storeTest is one sentence of the contract of a store.
type storeTest struct {
	name string
	run  func(t *testing.T, s oci.Store)
}

// TestStore runs the suite that every store must pass. open gives an empty
// repository that does not exist yet; it is called once for each subtest,
// from parallel ones. Abilities that the store does not have are skipped by
// name.
func TestStore(t *testing.T, open func(t *testing.T) oci.Store) {
	for _, list := range [][]storeTest{readTests, writeTests, manifestTests, abilityTests} {
		for _, test := range list {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(t, open(t))
			})
		}
	}
}

// CheckCorrupt reads d, whose bytes in the store were broken by the caller,
// and checks that the store says so before the end of the stream.
func CheckCorrupt(t *testing.T, s oci.Source, d oci.Descriptor) {
	t.Helper()
	got, err := read(t.Context(), s, d)
	if !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("reading %s: got %v, want ErrCorrupt", d.Digest, err)
	}
	if d.Size > 0 && int64(len(got)) >= d.Size {
		t.Errorf("reading %s: got all of its %d bytes before the error", d.Digest, d.Size)
	}
}

// A probe is a blob that may lie about itself and counts how it is used.
type probe struct {
	d     oci.Descriptor
	r     func() io.Reader
	err   error // of Open
	opens atomic.Int64
	close atomic.Int64
}

// lie is a blob that calls itself d and has other bytes.
func lie(d oci.Descriptor, b []byte) *probe {
	return &probe{d: d, r: func() io.Reader { return bytes.NewReader(b) }}
}

func honest(b oci.Blob) *probe {
	return &probe{d: b.Descriptor(), r: func() io.Reader {
		r, err := b.Open(context.Background())
		must(err)
		return r
	}}
}

func (p *probe) Descriptor() oci.Descriptor { return p.d }

func (p *probe) Open(context.Context) (io.ReadCloser, error) {
	if p.err != nil {
		return nil, p.err
	}
	p.opens.Add(1)
	return &probeReader{p.r(), p, false}, nil
}

type probeReader struct {
	io.Reader
	p      *probe
	closed bool
}

func (r *probeReader) Close() error {
	if !r.closed {
		r.closed = true
		r.p.close.Add(1)
	}
	return nil
}

// check reports readers that were left open.
func (p *probe) check(t *testing.T) {
	t.Helper()
	if o, c := p.opens.Load(), p.close.Load(); o != c {
		t.Errorf("blob was opened %d times and closed %d times", o, c)
	}
}

// funcReader is a reader made of a function.
type funcReader func(p []byte) (int, error)

func (f funcReader) Read(p []byte) (int, error) { return f(p) }

func read(ctx context.Context, s oci.Source, d oci.Descriptor) ([]byte, error) {
	r, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func content(t *testing.T, b oci.Blob) []byte {
	t.Helper()
	r, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// wantSame checks that the store has exactly these bytes.
func wantSame(t *testing.T, s oci.Source, b oci.Blob) {
	t.Helper()
	got, err := read(t.Context(), s, b.Descriptor())
	if err != nil {
		t.Errorf("read %s: %v", b.Descriptor().Digest, err)
		return
	}
	if !bytes.Equal(got, content(t, b)) {
		t.Errorf("read %s: got %d other bytes", b.Descriptor().Digest, len(got))
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// wantAbsent checks that nothing of d is there.
func wantAbsent(t *testing.T, s oci.Store, d oci.Descriptor) {
	t.Helper()
	_, err := s.Stat(t.Context(), d)
	wantErr(t, "stat of what is not there", err, oci.ErrNotFound)
	_, err = read(t.Context(), s, d)
	wantErr(t, "read of what is not there", err, oci.ErrNotFound)
}

func wantResolve(t *testing.T, s oci.Source, name string, want oci.Descriptor) {
	t.Helper()
	got, err := s.Resolve(t.Context(), name)
	if err != nil {
		t.Errorf("resolve %s: %v", name, err)
		return
	}
	if got.MediaType != want.MediaType || got.Digest != want.Digest || got.Size != want.Size {
		t.Errorf("resolve %s: got %s %s with %d bytes, want %s %s with %d", name,
			got.MediaType, got.Digest, got.Size, want.MediaType, want.Digest, want.Size)
	}
}

func put(t *testing.T, s oci.Sink, blobs ...oci.Blob) {
	t.Helper()
	for _, b := range blobs {
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Fatalf("put %s: %v", b.Descriptor().Digest, err)
		}
	}
}

func push(t *testing.T, s oci.Sink, f Fixture, names ...string) {
	t.Helper()
	if err := f.Push(t.Context(), s, names...); err != nil {
		t.Fatal(err)
	}
}

// collect reads a sequence to its end or first error.
func collect[T any](seq iter.Seq2[T, error]) (out []T, err error) {
	for v, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// ability finds an ability of the store or skips the test.
func ability[T any](t *testing.T, s any, name string) T {
	t.Helper()
	a, ok := oci.As[T](s)
	if !ok {
		t.Skipf("the store is no oci.%s", name)
	}
	return a
}

// supported skips the test if the store says that it cannot do that.
func supported(t *testing.T, what string, err error) {
	t.Helper()
	if errors.Is(err, oci.ErrUnsupported) {
		t.Skipf("%s: %v", what, err)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
