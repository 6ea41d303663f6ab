// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// openBlob counts how many like it are beyond their beginning and not at their
// end.
type openBlob struct {
	oci.Blob
	now, most *atomic.Int32
}

func (b openBlob) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := b.Blob.Open(ctx)
	return &openReader{ReadCloser: rc, b: b}, err
}

type openReader struct {
	io.ReadCloser
	b    openBlob
	read int
	in   bool
}

func (r *openReader) Read(p []byte) (int, error) {
	if r.read > 128<<10 && !r.in { // more than is looked at before the wait
		r.in = true
		if n := r.b.now.Add(1); n > r.b.most.Load() {
			r.b.most.Store(n)
		}
	}
	n, err := r.ReadCloser.Read(p)
	r.read += n
	if err == io.EOF && r.in {
		r.in = false
		r.b.now.Add(-1)
	}
	return n, err
}

// Layers that need much memory are read one after the other, however many
// there are, and none waits for ever.
func TestBad_070_LargeWindows(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	for window, parallel := range map[int]bool{1 << 20: true, 32 << 20: false} {
		var now, most atomic.Int32
		var layers []oci.Blob
		for i := range 6 {
			var out bytes.Buffer
			w, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithSingleSegment(false))
			try(t, err)
			_, err = w.Write(tarOf(t, file(fmt.Sprint(i), string(noise))))
			try(t, err)
			try(t, w.Close())
			layers = append(layers, openBlob{oci.Bytes(oci.MediaLayerZstd, out.Bytes()), &now, &most})
		}
		tree, err := layer.Merge(ctx(t), layers, layer.Limits{})
		try(t, err)
		for i := range layers {
			if _, _, err := tree.Lookup(fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		}
		if !parallel && most.Load() > 1 {
			t.Errorf("%d of large windows at the same time", most.Load())
		}
	}
}
