// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/dray-tools/dray/oci"
)

var readTests = []storeTest{
	{"EmptyRepositoryHasNothing", func(t *testing.T, s oci.Store) {
		f := Image(1, 1, 10)
		for _, b := range f.Blobs {
			wantAbsent(t, s, b.Descriptor())
		}
		for _, name := range []string{"latest", string(f.Root.Digest)} {
			_, err := s.Resolve(t.Context(), name)
			wantErr(t, "resolve "+name, err, oci.ErrNotFound)
		}
	}},
	{"ResolveTagAndDigest", func(t *testing.T, s oci.Store) {
		f := Image(1, 1, 10)
		push(t, s, f, "v1", "V.1_x-y")
		for _, name := range []string{"v1", "V.1_x-y", string(f.Root.Digest)} {
			wantResolve(t, s, name, f.Root)
		}
		for _, name := range []string{"v2", "v", "V1", string(oci.FromBytes([]byte("other")))} {
			_, err := s.Resolve(t.Context(), name)
			wantErr(t, "resolve "+name, err, oci.ErrNotFound)
		}
	}},
	{"StatFillsInTheSize", func(t *testing.T, s oci.Store) {
		f := Image(1, 1, 10)
		push(t, s, f)
		for _, b := range f.Blobs {
			want := b.Descriptor()
			got, err := s.Stat(t.Context(), oci.Descriptor{MediaType: want.MediaType, Digest: want.Digest})
			if err != nil || got.Size != want.Size || got.Digest != want.Digest || got.MediaType != want.MediaType {
				t.Errorf("stat %s: got %+v, %v", want.Digest, got, err)
			}
		}
	}},
	{"OpenGivesTheExactBytes", func(t *testing.T, s oci.Store) {
		f := Index(2)
		push(t, s, f, "v1")
		for _, b := range f.Blobs {
			wantSame(t, s, b)
		}
	}},
	{"OpenReadsFromTheStartEveryTime", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, Random(3, 100_000))
		put(t, s, b)
		first, err := s.Open(t.Context(), b.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		head := make([]byte, 10)
		if _, err := io.ReadFull(first, head); err != nil {
			t.Fatal(err)
		}
		wantSame(t, s, b) // a second reader while the first is open
		rest, err := io.ReadAll(first)
		if err != nil || !bytes.Equal(append(head, rest...), content(t, b)) {
			t.Errorf("reading on: %v, %d bytes", err, len(rest))
		}
	}},
	{"ReadersTakeAnyBuffer", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, Random(4, 1000))
		put(t, s, b)
		r, err := s.Open(t.Context(), b.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := r.Read(nil); n != 0 || err != nil {
			t.Errorf("read into nothing: %d, %v", n, err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(r))
		if err != nil || !bytes.Equal(got, content(t, b)) {
			t.Errorf("byte by byte: %v, %d bytes", err, len(got))
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read after the end: %d, %v", n, err)
		}
	}},
	{"CloseBeforeTheEnd", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, Random(5, 1<<20))
		put(t, s, b)
		r, err := s.Open(t.Context(), b.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		wantSame(t, s, b)
	}},
	{"WrongSizeIsCorrupt", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, Random(6, 1000))
		put(t, s, b)
		for _, size := range []int64{1, 999, 1001, 2000} {
			d := b.Descriptor()
			d.Size = size
			got, err := read(t.Context(), s, d)
			wantErr(t, "read with a wrong size", err, oci.ErrCorrupt)
			if int64(len(got)) >= size {
				t.Errorf("size %d: got %d bytes before the error", size, len(got))
			}
		}
	}},
	{"ConcurrentReaders", func(t *testing.T, s oci.Store) {
		b := oci.Bytes(oci.MediaLayer, Random(7, 200_000))
		put(t, s, b)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { wantSame(t, s, b) })
		}
		wg.Wait()
	}},
	{"EveryCallEndsWithItsContext", func(t *testing.T, s oci.Store) {
		f := Image(8, 1, 10)
		push(t, s, f, "v1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Resolve(ctx, "v1")
		wantErr(t, "resolve", err, context.Canceled)
		_, err = s.Stat(ctx, f.Root)
		wantErr(t, "stat", err, context.Canceled)
		_, err = read(ctx, s, f.Root)
		wantErr(t, "open", err, context.Canceled)
		fresh := oci.Bytes(oci.MediaLayer, []byte("fresh"))
		_, err = s.Put(ctx, fresh)
		wantErr(t, "put", err, context.Canceled)
		wantErr(t, "tag", s.Tag(ctx, "v2", f.Root), context.Canceled)
		wantAbsent(t, s, fresh.Descriptor())
		if _, err := s.Resolve(t.Context(), "v2"); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("tag was written: %v", err)
		}
	}},
}
