// SPDX-License-Identifier: Apache-2.0

package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/convert"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// Row 24: what a config says about its layers is not believed.
func TestBad_024_DiffID(t *testing.T) {
	t.Parallel()
	_, packed := gzipped(t, "f")
	for _, to := range []string{"zstd", "none", "estargz"} {
		s := newShelf(ocitest.Fixture{})
		l := s.add(oci.MediaLayerGzip, packed)
		odd(t, s, oci.FromBytes([]byte("something else")), oneLayer, oci.MediaLayerGzip, l.Digest, l.Size)
		o := convert.Options{Packing: packing(t, to), CacheDir: t.TempDir()}
		for range 2 { // the second time it is remembered
			if _, err := converting(t, s, o).Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrCorrupt) {
				t.Errorf("%s of a wrong diff ID: %v", to, err)
			}
		}
		config := s.add(oci.MediaConfig, []byte(`{"rootfs":{"diff_ids":[]}}`))
		s.tags["1"] = s.add(oci.MediaManifest, fmt.Appendf(nil, oneLayer, config.Digest, config.Size, oci.MediaLayerGzip, l.Digest, l.Size))
		if _, err := converting(t, s, o).Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s without diff IDs: %v", to, err)
		}
	}
}

// Row 25: a layer that is packed otherwise than its media type says is read as
// it is, and comes out as what the new media type says.
func TestBad_025_MediaTypeLies(t *testing.T) {
	t.Parallel()
	plain, packed := gzipped(t, "f")
	var z bytes.Buffer
	_, err := layer.Pack(&z, bytes.NewReader(plain), layer.Packing{Compression: layer.Zstd})
	must(t, err)
	for _, raw := range [][]byte{plain, packed, z.Bytes()} {
		s := newShelf(ocitest.Fixture{})
		l := s.add(oci.MediaLayerGzip, raw)
		was := odd(t, s, oci.FromBytes(plain), oneLayer, oci.MediaLayerGzip, l.Digest, l.Size)
		f := copied(t, converting(t, s, convert.Options{Packing: packing(t, "zstd")}))
		d := images(t, f)[0].Manifest.Layers[0]
		checkLayer(t, d, "zstd", "", contents(t, newShelf(f), d))
		c := converting(t, s, convert.Options{Packing: packing(t, "gzip")})
		if d, err := c.Resolve(t.Context(), "1"); err != nil || d.Digest != was.Digest {
			t.Errorf("gzip to gzip: %v", err)
		}
	}
}

// Row 70: a bomb ends at the limit, and leaves nothing.
func TestBad_070_Bomb(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"gzip", "zstd"} {
		var bomb bytes.Buffer
		_, err := layer.Pack(&bomb, io.LimitReader(zeros{}, 64<<20), *packing(t, p))
		must(t, err)
		s := newShelf(ocitest.Fixture{})
		l := s.add(packing(t, p).MediaType(oci.MediaLayer), bomb.Bytes())
		odd(t, s, oci.FromBytes(nil), oneLayer, l.MediaType, l.Digest, l.Size)
		c := converting(t, s, convert.Options{Packing: packing(t, "none"), MaxBytes: 1 << 20})
		if _, err := c.Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestConvertCorrupt(t *testing.T) {
	t.Parallel()
	plain, packed := gzipped(t, "f")
	for name, bad := range map[string][]byte{"flipped": append([]byte{packed[0] ^ 1}, packed[1:]...), "cut": packed[:len(packed)-1], "longer": append(packed[:len(packed):len(packed)], 0)} {
		for _, to := range []string{"none", "zstd", "estargz"} {
			s := newShelf(ocitest.Fixture{})
			l := oci.Bytes(oci.MediaLayerGzip, packed).Descriptor()
			s.blobs[l.Digest] = oci.Bytes(oci.MediaLayerGzip, bad, l.Digest)
			odd(t, s, oci.FromBytes(plain), oneLayer, oci.MediaLayerGzip, l.Digest, l.Size)
			cache := t.TempDir()
			c := converting(t, s, convert.Options{Packing: packing(t, to), CacheDir: cache})
			if _, err := c.Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrCorrupt) && !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%s to %s: %v", name, to, err)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(left) > 0 {
				t.Errorf("%s to %s is remembered", name, to)
			}
		}
	}
}

func TestConvertMemory(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(5, 1, 1000)
	cache := t.TempDir()
	o := convert.Options{Packing: packing(t, "gzip"), CacheDir: cache}
	good := copied(t, converting(t, newShelf(f), o))
	notes, _ := filepath.Glob(filepath.Join(cache, "packing", "*"))
	if len(notes) != 1 {
		t.Fatalf("remembered %v", notes)
	}
	raw, err := os.ReadFile(notes[0])
	must(t, err)
	out := good.Layers()[0].Descriptor()
	other := oci.FromBytes([]byte("other"))
	for _, bad := range []string{"", "{", "null", strings.Repeat(" ", 100<<10), strings.Replace(string(raw), string(out.Digest), "sha256:../../x", 1),
		strings.Replace(string(raw), `"size":`, `"size":-`, 1), strings.Replace(string(raw), `"diffID":"sha256:`, `"diffID":"sha512:`, 1),
		strings.Replace(string(raw), `"input":"sha256:`, `"input":"sha512:`, 1), strings.Replace(string(raw), `"size":`, `"annotations":{"x":"y"},"size":`, 1)} {
		must(t, os.WriteFile(notes[0], []byte(bad), 0o600))
		if got := copied(t, converting(t, newShelf(f), o)); got.Root.Digest != good.Root.Digest {
			t.Errorf("with %q remembered: %s", bad, got.Root.Digest)
		}
	}
	must(t, os.WriteFile(notes[0], []byte(strings.Replace(string(raw), string(out.Digest), string(other), 1)), 0o600))
	c := converting(t, newShelf(f), o)
	d, err := c.Resolve(t.Context(), "1")
	must(t, err)
	m, err := oci.Fetch(t.Context(), c, d)
	must(t, err)
	if _, err := c.Open(t.Context(), m.Layers[0]); !errors.Is(err, oci.ErrBusy) {
		t.Errorf("open of what packs differently: %v", err)
	}
	if got := copied(t, converting(t, newShelf(f), o)); got.Root.Digest != good.Root.Digest {
		t.Error("a wrong memory is not forgotten")
	}
}

func TestConvertRefuses(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, "note = blob words\napp = image\nart = artifact note type=application/x\nall = index app art")
	for _, c := range []struct {
		o    convert.Options
		want error
	}{
		{convert.Options{MediaTypes: "docker"}, oci.ErrUnsupported},
		{convert.Options{MediaTypes: "x"}, oci.ErrInvalid},
		{convert.Options{Packing: &layer.Packing{Level: 99}}, oci.ErrInvalid},
		{convert.Options{Packing: &layer.Packing{Compression: layer.XZ}}, oci.ErrUnsupported},
	} {
		if _, err := converting(t, newShelf(w.Fixture("all")), c.o).Resolve(t.Context(), "1"); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	s := newShelf(ocitest.Fixture{})
	plain, packed := gzipped(t, "f")
	const secret = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
	l := s.add(secret, packed)
	odd(t, s, oci.FromBytes(plain), oneLayer, secret, l.Digest, l.Size)
	if _, err := converting(t, s, convert.Options{Packing: packing(t, "zstd")}).Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("an encrypted layer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := converting(t, newShelf(ocitest.Image(1, 3, 100)), convert.Options{Packing: packing(t, "zstd")}).Resolve(ctx, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
