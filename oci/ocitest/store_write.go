// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

var errBroken = errors.New("the pipe is broken")

var writeTests = []storeTest{
	{"PutSendsOnce", func(t *testing.T, s oci.Store) {
		b := honest(oci.Bytes(oci.MediaLayer, Random(10, 5000)))
		how, err := s.Put(t.Context(), b)
		if err != nil || how != oci.Sent {
			t.Errorf("first put: %v, %v", how, err)
		}
		how, err = s.Put(t.Context(), b)
		if err != nil || how != oci.Existed {
			t.Errorf("second put: %v, %v", how, err)
		}
		if n := b.opens.Load(); n != 1 {
			t.Errorf("blob was opened %d times, want 1", n)
		}
		b.check(t)
		wantSame(t, s, b)
	}},
	{"PutEmptyBlob", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, nil)
		put(t, s, b, b)
		got, err := s.Stat(t.Context(), b.Descriptor())
		if err != nil || got.Size != 0 {
			t.Errorf("stat: %+v, %v", got, err)
		}
		wantSame(t, s, b)
	}},
	{"PutSHA512", func(t *testing.T, s oci.Store) {
		raw := Random(11, 3000)
		b := oci.Bytes(oci.MediaLayer, raw, digest.SHA512.FromBytes(raw))
		put(t, s, b)
		wantSame(t, s, b)
		wantAbsent(t, s, oci.Bytes(oci.MediaLayer, raw).Descriptor())
	}},
	{"PutWrongBytesKeepsNothing", func(t *testing.T, s oci.Store) {
		raw := Random(12, 4000)
		d := oci.Bytes(oci.MediaLayer, raw).Descriptor()
		flipped := bytes.Clone(raw)
		flipped[2000] ^= 1
		for name, wrong := range map[string][]byte{
			"flipped": flipped, "short": raw[:3999], "long": append(bytes.Clone(raw), 0), "empty": nil,
		} {
			p := lie(d, wrong)
			_, err := s.Put(t.Context(), p)
			wantErr(t, "put "+name, err, oci.ErrCorrupt)
			p.check(t)
			wantAbsent(t, s, d)
		}
		put(t, s, oci.Bytes(oci.MediaLayer, raw)) // and is none the worse for it
		wantSame(t, s, oci.Bytes(oci.MediaLayer, raw))
	}},
	{"PutWrongSizeKeepsNothing", func(t *testing.T, s oci.Store) {
		raw := Random(13, 100)
		d := oci.Bytes(oci.MediaLayer, raw).Descriptor()
		for _, size := range []int64{0, 99, 101} {
			wrong := d
			wrong.Size = size
			_, err := s.Put(t.Context(), lie(wrong, raw))
			wantErr(t, "put with a wrong size", err, oci.ErrCorrupt)
			wantAbsent(t, s, d)
		}
	}},
	{"PutBadDescriptorIsRefused", func(t *testing.T, s oci.Store) {
		for _, d := range []oci.Descriptor{
			{}, {Digest: "sha256:abc"}, {Digest: "sha256:../../x"}, {Digest: "md5:" + "00000000000000000000000000000000"},
			{Digest: oci.FromBytes(nil), Size: -1},
		} {
			if _, err := s.Put(t.Context(), lie(d, nil)); err == nil {
				t.Errorf("put of %+v went well", d)
			}
		}
	}},
	{"PutFailingReaderKeepsNothing", func(t *testing.T, s oci.Store) {
		raw := Random(14, 100_000)
		b := oci.Bytes(oci.MediaLayer, raw)
		p := &probe{d: b.Descriptor(), err: errBroken}
		_, err := s.Put(t.Context(), p)
		wantErr(t, "put of a blob that does not open", err, errBroken)
		p = &probe{d: b.Descriptor(), r: func() io.Reader {
			return io.MultiReader(bytes.NewReader(raw[:60_000]), funcReader(func([]byte) (int, error) { return 0, errBroken }))
		}}
		_, err = s.Put(t.Context(), p)
		wantErr(t, "put of a blob that breaks", err, errBroken)
		p.check(t)
		wantAbsent(t, s, b.Descriptor())
	}},
	{"PutCancelledHalfwayKeepsNothing", func(t *testing.T, s oci.Store) {
		raw := Random(15, 100_000)
		b := oci.Bytes(oci.MediaLayer, raw)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &probe{d: b.Descriptor(), r: func() io.Reader {
			return io.MultiReader(bytes.NewReader(raw[:60_000]), funcReader(func([]byte) (int, error) {
				cancel()
				return 0, ctx.Err()
			}))
		}}
		_, err := s.Put(ctx, p)
		wantErr(t, "put", err, context.Canceled)
		p.check(t)
		wantAbsent(t, s, b.Descriptor())
	}},
	{"PutOneBlobConcurrently", func(t *testing.T, s oci.Store) {
		b := honest(oci.Bytes(oci.MediaLayer, Random(16, 100_000)))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.Put(t.Context(), b); err != nil {
					t.Error(err)
				}
				wantSame(t, s, b) // whole as soon as any Put is over
			})
		}
		wg.Wait()
		b.check(t)
	}},
	{"PutManyBlobsConcurrently", func(t *testing.T, s oci.Store) {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				b := oci.Bytes(oci.MediaLayer, Random(uint64(100+i), 1000*i))
				if how, err := s.Put(t.Context(), b); err != nil || how != oci.Sent {
					t.Errorf("put %d: %v, %v", i, how, err)
				}
				wantSame(t, s, b)
			})
		}
		wg.Wait()
	}},
	{"FailedPutDoesNotSpoilAnother", func(t *testing.T, s oci.Store) {
		raw := Random(17, 50_000)
		b := oci.Bytes(oci.MediaLayer, raw)
		wrong := bytes.Clone(raw)
		wrong[49_999] ^= 1
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if i%2 == 0 {
					if _, err := s.Put(t.Context(), b); err != nil {
						t.Error(err)
					}
				} else if how, err := s.Put(t.Context(), lie(b.Descriptor(), wrong)); err == nil && how != oci.Existed {
					t.Error("wrong bytes were taken")
				}
			})
		}
		wg.Wait()
		wantSame(t, s, b)
	}},
	{"PutFromElsewhereFallsBack", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, Random(18, 500))
		how, err := s.Put(t.Context(), b, "no/such/repository", "nor/this")
		if err != nil || how != oci.Sent {
			t.Errorf("put: %v, %v", how, err)
		}
		wantSame(t, s, b)
	}},
	{"TagsConcurrently", func(t *testing.T, s oci.Store) {
		var roots []oci.Descriptor
		for i := range 4 {
			f := Image(uint64(20+i), 1, 10)
			push(t, s, f)
			roots = append(roots, f.Root)
		}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				if err := s.Tag(t.Context(), fmt.Sprintf("own-%d", i), roots[i%4]); err != nil {
					t.Error(err)
				}
				if err := s.Tag(t.Context(), "shared", roots[i%4]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range 16 {
			wantResolve(t, s, fmt.Sprintf("own-%d", i), roots[i%4])
		}
		if _, err := s.Resolve(t.Context(), "shared"); err != nil {
			t.Error(err)
		}
	}},
}
