// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// someTar is a tar of n files of size bytes each, half of them random, and of
// a directory, a link and a hard link.
func someTar(t testing.TB, n, size int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, body []byte) {
		h.ModTime, h.Size = time.Unix(1, 0), int64(len(body))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	for i := range n {
		body := ocitest.Random(uint64(i), size)
		if i%2 == 0 {
			body = bytes.Repeat([]byte("some text. "), size/11+1)[:size]
		}
		add(tar.Header{Name: fmt.Sprintf("dir/file-%d", i), Typeflag: tar.TypeReg, Mode: 0o644}, body)
	}
	add(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "dir/file-0"}, nil)
	add(tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "dir/file-0"}, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func pack(t testing.TB, raw []byte, p layer.Packing) ([]byte, layer.Packed) {
	t.Helper()
	var buf bytes.Buffer
	done, err := layer.Pack(&buf, bytes.NewReader(raw), p)
	if err != nil {
		t.Fatalf("pack %s: %v", p, err)
	}
	if done.Digest != oci.FromBytes(buf.Bytes()) || done.Size != int64(buf.Len()) {
		t.Errorf("pack %s: says %s with %d bytes of %d bytes", p, done.Digest, done.Size, buf.Len())
	}
	return buf.Bytes(), done
}

func unpacked(t testing.TB, b []byte) []byte {
	t.Helper()
	rc, err := layer.Open(context.Background(), oci.Bytes(oci.MediaLayer, b))
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParsePacking(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"gzip", "gzip:1", "gzip:9", "zstd", "zstd:22", "none", "estargz", "estargz:9"} {
		p, err := layer.ParsePacking(s)
		if err != nil || p.String() != s {
			t.Errorf("ParsePacking(%q) = %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "xz", "gzip:", "gzip:0", "gzip:10", "gzip:-1", "zstd:23", "none:1", "none:", "estargz:x", "GZIP", "gzip:1:2"} {
		if _, err := layer.ParsePacking(s); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("ParsePacking(%q): %v", s, err)
		}
	}
	if s := (layer.Packing{}).String(); s != "gzip" {
		t.Errorf("the zero value is %s", s)
	}
}

var packings = []string{"gzip", "gzip:1", "gzip:9", "zstd", "zstd:1", "zstd:7", "zstd:19", "none"}

func TestPackRoundTrip(t *testing.T) {
	t.Parallel()
	for _, raw := range [][]byte{someTar(t, 3, 1000), someTar(t, 10, 1<<20), nil} { // more than zstd packs at a time
		for _, s := range packings {
			if len(raw) > 1<<20 && strings.Contains(s, ":") {
				continue
			}
			p, err := layer.ParsePacking(s)
			if err != nil {
				t.Fatal(err)
			}
			packed, done := pack(t, raw, p)
			if !bytes.Equal(unpacked(t, packed), raw) || done.DiffID != oci.FromBytes(raw) || done.Plain != int64(len(raw)) {
				t.Errorf("%s of %d bytes comes back as something else", s, len(raw))
			}
			if again, _ := pack(t, raw, p); !bytes.Equal(again, packed) {
				t.Errorf("%s gives other bytes the second time", s)
			}
		}
	}
}

// The digests of a layer that must be the same on any machine, with any number
// of cores. Where a new version of a library changes them, say so in the
// changelog: what is remembered is forgotten then.
func TestPackBytes(t *testing.T) {
	t.Parallel()
	raw := someTar(t, 10, 1<<20)
	for s, want := range map[string]string{
		"gzip":    "sha256:4dd130ef7c497f0bbdaed4c6e5b89c1165fdb864844839e8ba93e9e49ab42a6c",
		"zstd":    "sha256:d7c6014a589c17d0250f83181cc9d0043c849870a5da7f2add875373bf776fe8",
		"estargz": "sha256:aceefbb8a99beac075e7e60c9fb6fa0d2e652ec0367b2cd9cca505a103a124b6",
	} {
		p, _ := layer.ParsePacking(s)
		if _, done := pack(t, raw, p); string(done.Digest) != want {
			t.Errorf("%s gives %s, not %s", s, done.Digest, want)
		}
	}
}

func TestGzipHeader(t *testing.T) {
	t.Parallel()
	b, _ := pack(t, someTar(t, 1, 10), layer.Packing{})
	if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}; !bytes.Equal(b[:8], want) || b[9] != 255 {
		t.Errorf("header % x, want no name, no time, unknown system", b[:10])
	}
}

func TestEstargz(t *testing.T) {
	t.Parallel()
	raw := someTar(t, 2, 5<<20)
	p := layer.Packing{Estargz: true}
	b, done := pack(t, raw, p)
	plain := unpacked(t, b)
	if done.DiffID != oci.FromBytes(plain) || done.Annotations[layer.AnnotationPlainSize] != fmt.Sprint(len(plain)) {
		t.Errorf("diff ID %s, annotations %v, of %d bytes", done.DiffID, done.Annotations, len(plain))
	}
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.VerifyTOC(oci.Digest(done.Annotations[layer.AnnotationTOC])); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"dir/file-0", "dir/file-1", "hard", estargz.NoPrefetchLandmark} {
		if f, err := r.OpenFile(name); err != nil || f.Size() == 0 {
			t.Errorf("open %s: %v", name, err)
		}
	}
	if f, err := r.OpenFile("dir/file-1"); err == nil {
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, ocitest.Random(1, 5<<20)) {
			t.Errorf("dir/file-1 has other content: %v", err)
		}
	}
	again, twice := pack(t, plain, p) // what it added is taken out before it is added again
	if !bytes.Equal(again, b) || twice.DiffID != done.DiffID {
		t.Error("eStargz of eStargz is something else")
	}
}

type full struct{ left int }

var errFull = errors.New("disk full")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestPackFails(t *testing.T) {
	t.Parallel()
	raw := someTar(t, 6, 1<<20)
	for _, s := range []string{"gzip", "zstd", "none", "estargz"} {
		p, _ := layer.ParsePacking(s)
		for _, left := range []int{0, 100, 1 << 20} {
			if _, err := layer.Pack(&full{left}, bytes.NewReader(raw), p); !errors.Is(err, errFull) || errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%s to a disk with %d bytes: %v", s, left, err)
			}
		}
		bad := errors.New("source broke")
		r := io.MultiReader(bytes.NewReader(raw[:3<<20]), errReader{bad})
		if _, err := layer.Pack(io.Discard, r, p); !errors.Is(err, bad) {
			t.Errorf("%s of a broken source: %v", s, err)
		}
	}
	p := layer.Packing{Estargz: true}
	for name, raw := range map[string][]byte{"text": []byte(strings.Repeat("no tar ", 1000)), "cut": raw[:5000], "cut in a file": raw[:1<<20]} {
		if _, err := layer.Pack(io.Discard, bytes.NewReader(raw), p); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("estargz of %s: %v", name, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestPackImpossible(t *testing.T) {
	t.Parallel()
	for _, p := range []layer.Packing{{Level: 10}, {Level: -1}, {Compression: layer.XZ}, {Compression: "lz4"}, {Compression: layer.None, Level: 1},
		{Compression: layer.Zstd, Estargz: true}} {
		if _, err := p.NewWriter(io.Discard); !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
