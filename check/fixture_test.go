// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// A place has any bytes under any digest, which a real store would refuse.
type place struct {
	blobs map[oci.Digest][]byte
	fail  map[oci.Digest]error

	mu     sync.Mutex
	opened map[oci.Digest]int
}

func newPlace() *place {
	return &place{blobs: map[oci.Digest][]byte{}, fail: map[oci.Digest]error{}, opened: map[oci.Digest]int{}}
}

func (p *place) Resolve(context.Context, string) (oci.Descriptor, error) {
	return oci.Descriptor{}, oci.ErrNotFound
}

func (p *place) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	b, ok := p.blobs[d.Digest]
	if err := p.fail[d.Digest]; err != nil {
		return d, err
	}
	if !ok {
		return d, oci.Errorf(oci.ErrNotFound, "no %s", d.Digest)
	}
	d.Size = int64(len(b))
	return d, nil
}

func (p *place) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if _, err := p.Stat(ctx, d); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened[d.Digest]++
	return oci.Verify(io.NopCloser(bytes.NewReader(p.blobs[d.Digest])), d), nil
}

func (p *place) put(mediaType string, b []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.FromBytes(b), Size: int64(len(b))}
	p.blobs[d.Digest] = b
	return d
}

func (p *place) putJSON(t testing.TB, mediaType string, v any) oci.Descriptor {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return p.put(mediaType, raw)
}

// An img is an image that is about to be put.
type img struct {
	t        testing.TB
	p        *place
	manifest v1.Manifest
	config   v1.Image
}

func newImage(t testing.TB, p *place) *img {
	i := &img{t: t, p: p}
	i.manifest = v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Layers: []oci.Descriptor{}}
	i.config = v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}}
	return i
}

// layer adds a layer of a plain tar, packed as the media type says.
func (i *img) layer(mediaType string, plain []byte) *img {
	i.t.Helper()
	i.manifest.Layers = append(i.manifest.Layers, i.p.put(mediaType, pack(i.t, mediaType, plain)))
	i.config.RootFS.DiffIDs = append(i.config.RootFS.DiffIDs, oci.FromBytes(plain))
	return i
}

// tar adds a gzip layer with entries of a text, see tarOf.
func (i *img) tar(text string) *img {
	i.t.Helper()
	return i.layer(oci.MediaLayerGzip, tarOf(i.t, text))
}

func (i *img) put() oci.Descriptor {
	i.t.Helper()
	if i.manifest.Config.Digest == "" {
		mediaType := i.manifest.Config.MediaType
		if mediaType == "" {
			mediaType = oci.MediaConfig
		}
		i.manifest.Config = i.p.putJSON(i.t, mediaType, i.config)
	}
	return i.p.putJSON(i.t, i.manifest.MediaType, i.manifest)
}

func (p *place) index(t testing.TB, children ...oci.Descriptor) oci.Descriptor {
	t.Helper()
	return p.putJSON(t, oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: children})
}

func on(d oci.Descriptor, platform string) oci.Descriptor {
	x, err := oci.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	d.Platform = &x
	return d
}

func pack(t testing.TB, mediaType string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		w = gzip.NewWriter(&b)
	case strings.HasSuffix(mediaType, "zstd"):
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return plain
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarOf makes a tar of words: "dir/", "name=content", "name->target" (a
// symlink), "name=>target" (a hard link).
func tarOf(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, word := range strings.Fields(text) {
		h := &tar.Header{Name: word, Mode: 0o755, Typeflag: tar.TypeDir, ModTime: time.Unix(0, 0)}
		content := ""
		if name, target, ok := strings.Cut(word, "=>"); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeLink
		} else if name, target, ok := strings.Cut(word, "->"); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if name, text, ok := strings.Cut(word, "="); ok {
			h.Name, content, h.Typeflag, h.Mode = name, text, tar.TypeReg, 0o644
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
