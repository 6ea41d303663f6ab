// SPDX-License-Identifier: Apache-2.0

// Package ocitest proves stores: the suites that every oci.Store and
// oci.Catalog must pass, images to fill them with, and a store that fails on
// demand.
package ocitest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// A Fixture is a graph in memory: its root and all blobs and manifests of it,
// each once, children before their parents.
type Fixture struct {
	Root  oci.Descriptor
	Blobs []oci.Blob
}

// Push puts the whole graph into a sink and tags the root with the names.
func (f Fixture) Push(ctx context.Context, s oci.Sink, names ...string) error {
	for _, b := range f.Blobs {
		if _, err := s.Put(ctx, b); err != nil {
			return fmt.Errorf("push %s %s: %w", b.Descriptor().MediaType, b.Descriptor().Digest, err)
		}
	}
	for _, n := range names {
		if err := s.Tag(ctx, n, f.Root); err != nil {
			return fmt.Errorf("tag %s: %w", n, err)
		}
	}
	return nil
}

// Blob returns the blob or manifest with that digest, or nil.
func (f Fixture) Blob(d oci.Digest) oci.Blob {
	for _, b := range f.Blobs {
		if b.Descriptor().Digest == d {
			return b
		}
	}
	return nil
}

// Layers returns the blobs of the graph that are neither manifests nor
// configs, in order.
func (f Fixture) Layers() []oci.Blob {
	var out []oci.Blob
	for _, b := range f.Blobs {
		if t := b.Descriptor().MediaType; !oci.IsManifest(t) && !oci.IsConfig(t) && t != oci.MediaEmpty {
			out = append(out, b)
		}
	}
	return out
}

// add appends what is not there yet.
func (f *Fixture) add(blobs ...oci.Blob) {
	for _, b := range blobs {
		if f.Blob(b.Descriptor().Digest) == nil {
			f.Blobs = append(f.Blobs, b)
		}
	}
}

// Image makes an image for linux/amd64. Each of its layers is an uncompressed
// tar with one file of size random bytes. Equal arguments give an equal image,
// different seeds share no layer.
func Image(seed uint64, layers, size int) Fixture {
	return image(oci.Platform{OS: "linux", Architecture: "amd64"}, randomLayers(seed, layers, size))
}

// Index makes an index of an image for each platform (linux/amd64, linux/arm64
// and windows/amd64 if none is given). The first of the two layers of each
// image is the same for all. It panics if a platform is not one.
func Index(seed uint64, platforms ...string) Fixture {
	if len(platforms) == 0 {
		platforms = []string{"linux/amd64", "linux/arm64", "windows/amd64:10.0.20348.587"}
	}
	own := randomLayers(seed, len(platforms)+1, 1000)
	var out Fixture
	var children []oci.Descriptor
	for i, name := range platforms {
		p, err := oci.ParsePlatform(name)
		if err != nil {
			panic(err)
		}
		child := image(p, []oci.Blob{own[0], own[i+1]})
		out.add(child.Blobs...)
		child.Root.Platform = &p
		children = append(children, child.Root)
	}
	root := document(oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: children})
	out.add(root)
	out.Root = root.Descriptor()
	return out
}

// Artifact makes an artifact with one small blob. With a subject it is a
// referrer to it.
func Artifact(seed uint64, artifactType string, subject *oci.Descriptor) Fixture {
	text := oci.Bytes("text/plain", fmt.Appendf(nil, "artifact %d", seed))
	empty := oci.Bytes(oci.MediaEmpty, []byte("{}"))
	if subject != nil {
		subject = &oci.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	}
	root := document(oci.MediaManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, ArtifactType: artifactType,
		Config: empty.Descriptor(), Layers: []oci.Descriptor{text.Descriptor()}, Subject: subject,
		Annotations: map[string]string{"org.example.seed": fmt.Sprint(seed)},
	})
	return Fixture{Root: root.Descriptor(), Blobs: []oci.Blob{empty, text, root}}
}

// Random makes n random bytes; equal seeds give equal bytes.
func Random(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func randomLayers(seed uint64, n, size int) []oci.Blob {
	out := make([]oci.Blob, n)
	for i := range out {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		name := fmt.Sprintf("file-%d-%d", seed, i)
		must(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(size), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}))
		_, err := w.Write(Random(seed<<16+uint64(i), size))
		must(err)
		must(w.Close())
		out[i] = oci.Bytes(oci.MediaLayer, buf.Bytes())
	}
	return out
}

func image(p oci.Platform, layers []oci.Blob) Fixture {
	cfg := v1.Image{Platform: p, Created: new(time.Time), RootFS: v1.RootFS{Type: "layers"}}
	*cfg.Created = time.Unix(0, 0).UTC()
	descs := []oci.Descriptor{}
	for _, l := range layers {
		descs = append(descs, l.Descriptor())
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.Descriptor().Digest)
	}
	config := document(oci.MediaConfig, cfg)
	root := document(oci.MediaManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Config: config.Descriptor(), Layers: descs,
	})
	f := Fixture{Root: root.Descriptor()}
	f.add(config)
	f.add(layers...)
	f.add(root)
	return f
}

// document makes a blob of a value in JSON.
func document(mediaType string, v any) oci.Blob {
	raw, err := json.Marshal(v)
	must(err)
	return oci.Bytes(mediaType, raw)
}

// must is for what cannot fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
