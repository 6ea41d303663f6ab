// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ulikunitz/xz"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// An error of what is decompressed is not one of the compression.
func TestDecompressPassesErrorsOn(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"gzip", "zstd", "none"} {
		packing, err := layer.ParsePacking(p)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := layer.Pack(&b, bytes.NewReader(bytes.Repeat([]byte("some words "), 100_000)), packing); err != nil {
			t.Fatal(err)
		}
		lost := oci.Errorf(oci.ErrBusy, "connection lost")
		r, _, err := layer.Decompress(io.MultiReader(bytes.NewReader(b.Bytes()[:b.Len()/2]), iotest.ErrReader(lost)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.Copy(io.Discard, r); !errors.Is(err, oci.ErrBusy) || errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", p, err)
		}
		r.Close()
		r, _, err = layer.Decompress(bytes.NewReader(b.Bytes()[:b.Len()/2]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.Copy(io.Discard, r); p != "none" && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s, cut: %v", p, err)
		}
		r.Close()
	}
}

func TestBad_070_DictionaryOfXZ(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dict int
		ok   bool
	}{{1 << 20, true}, {128 << 20, true}, {256 << 20, false}} {
		var b bytes.Buffer
		w, err := xz.WriterConfig{DictCap: c.dict}.NewWriter(&b)
		if err == nil {
			_, err = io.WriteString(w, "some words")
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := layer.Decompress(&b)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("dictionary of %d MiB: %v", c.dict>>20, err)
		}
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "some words" {
			t.Errorf("dictionary of %d MiB: %q, %v", c.dict>>20, got, err)
		}
	}
}
