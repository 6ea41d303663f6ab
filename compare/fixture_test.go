// SPDX-License-Identifier: Apache-2.0

package compare_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// A place has blobs and counts how often each is opened.
type place struct {
	mu     sync.Mutex
	blobs  map[oci.Digest][]byte
	opened map[oci.Digest]int
}

func newPlace() *place { return &place{blobs: map[oci.Digest][]byte{}, opened: map[oci.Digest]int{}} }

func (p *place) Resolve(context.Context, string) (oci.Descriptor, error) {
	return oci.Descriptor{}, oci.ErrNotFound
}

func (p *place) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	b, ok := p.blobs[d.Digest]
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

func (p *place) graph(d oci.Descriptor) oci.Graph { return oci.Graph{Root: d, Source: p} }

// An entry is one of a layer; Typeflag is that of a file if it says nothing.
type entry struct {
	name, content string
	h             tar.Header
}

func dir(name string) entry {
	return entry{name: name, h: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
}

func file(name, content string) entry { return entry{name: name, content: content} }

func link(name, target string) entry {
	return entry{name: name, h: tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func tarOf(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.h
		h.Name, h.Size, h.ModTime = e.name, int64(len(e.content)), time.Unix(0, 0)
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image puts an image of layers; change, if given, edits what it says.
func (p *place) image(t testing.TB, change func(*v1.Manifest, *v1.Image), layers ...[]entry) oci.Descriptor {
	t.Helper()
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Layers: []oci.Descriptor{}}
	c := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		plain := tarOf(t, l)
		m.Layers = append(m.Layers, p.put(oci.MediaLayer, plain))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, oci.FromBytes(plain))
	}
	if change != nil {
		change(&m, &c)
	}
	m.Config = p.putJSON(t, oci.MediaConfig, c)
	d := p.putJSON(t, oci.MediaManifest, m)
	d.Platform = &c.Platform
	return d
}

func (p *place) index(t testing.TB, children ...oci.Descriptor) oci.Descriptor {
	t.Helper()
	return p.putJSON(t, oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: children})
}
