// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A million entries take tens of megabytes, and no more while they are read.
func TestBad_064_OutlineOfManyEntries(t *testing.T) {
	const n = 30_000
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		for i := range n {
			h := tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/share/some/directory%d/file-of-the-usual-length-%d", i/100, i), Mode: 0o644, ModTime: epoch}
			if err := w.WriteHeader(&h); err != nil {
				pw.CloseWithError(err)
				return
			}
		}
		pw.CloseWithError(w.Close())
	}()
	raw, err := io.ReadAll(pr)
	if err != nil {
		t.Fatal(err)
	}
	o := outline(t, oci.Bytes(oci.MediaLayer, raw))
	if o.Len != n || o.Packed() > 60*n {
		t.Errorf("%d entries in %d bytes", o.Len, o.Packed())
	}
	before := heap()
	most := int64(0)
	i := 0
	for _, err := range o.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if i++; i%10_000 == 0 {
			most = max(most, heap()-before)
		}
	}
	if most > 8<<20 {
		t.Errorf("%d MiB while they are read", most>>20)
	}
}

// Holes that a few bytes of a layer claim are not hashed.
func TestBad_069_OutlineOfHoles(t *testing.T) {
	t.Parallel()
	h := raw("x", tar.TypeGNUSparse, octal(0), func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[483:], "\x80\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00") // 256 GiB
	})
	o := outline(t, oci.Bytes(oci.MediaLayer, cat(h, end)))
	for c, err := range o.Changes() {
		if err != nil || c.Size != 1<<38 || c.Content != "" {
			t.Errorf("got %d bytes, %q, %v", c.Size, c.Content, err)
		}
	}
}

// What follows the end of a tar is part of the layer.
func TestBad_072_OutlineReadsToTheEnd(t *testing.T) {
	t.Parallel()
	raw := append(tarOf(t, file("a", "a")), make([]byte, 100_000)...)
	o := outline(t, packedBlob(t, raw, layer.Gzip))
	if o.DiffID != oci.FromBytes(raw) || o.PlainSize != int64(len(raw)) {
		t.Errorf("got %+v", o)
	}
	wrong := &changingBlob{oci.Bytes(oci.MediaLayer, raw), [][]byte{append(bytes.Clone(raw[:len(raw)-1]), 1)}}
	if _, err := layer.ReadOutline(ctx(t), wrong, layer.Limits{}); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// Half a layer gives no outline, and nothing is kept of it.
func TestBad_075_OutlineOfHalfALayer(t *testing.T) {
	t.Parallel()
	raw := tarOf(t, strange()...)
	half := oci.Bytes(oci.MediaLayer, raw[:len(raw)/2])
	cache := &layer.Outlines{Dir: t.TempDir()}
	if _, err := cache.Of(ctx(t), half); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	short := &changingBlob{oci.Bytes(oci.MediaLayer, raw), [][]byte{raw[:len(raw)-512]}}
	if _, err := cache.Of(ctx(t), short); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if left := keptFiles(t, cache.Dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	ended, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := cache.Of(ended, half); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
