// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// A World is graphs by name, as Symbols reads them.
type World struct {
	t      testing.TB
	graphs map[string]Fixture
}

// Symbols makes graphs from a text with one definition a line; names must be
// defined before they are used, # begins a comment.
//
//	base = layer 1000                       # that many random bytes; "foreign" makes it one
//	note = blob some words                  # these bytes, text/plain
//	app  = image base platform=linux/arm64  # linux/amd64 if nothing is said
//	all  = index app note=key=value         # note: an annotation
//	sig  = artifact note type=application/x subject=all
//
// "docker" makes an image or index one of Docker's media types; type and
// subject may stand at images, indexes and artifacts. Equal lines give equal
// bytes. The test fails if the text has a mistake.
func Symbols(t testing.TB, text string) *World {
	t.Helper()
	w := &World{t, map[string]Fixture{}}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		name, rest, ok := strings.Cut(strings.TrimSpace(line), "=")
		if strings.TrimSpace(line) == "" {
			continue
		}
		words := strings.Fields(rest)
		if !ok || len(words) == 0 {
			t.Fatalf("symbols: %q: want name = kind ...", line)
		}
		name = strings.TrimSpace(name)
		w.graphs[name] = w.define(name, words[0], words[1:])
	}
	return w
}

// Fixture returns the graph of that name; the test fails if there is none.
func (w *World) Fixture(name string) Fixture {
	w.t.Helper()
	f, ok := w.graphs[name]
	if !ok {
		w.t.Fatalf("symbols: nothing is called %s", name)
	}
	return f
}

// symbol is one definition being read.
type symbol struct {
	fixture  Fixture
	children []oci.Descriptor
	options  map[string]string
	notes    map[string]string
	subject  *oci.Descriptor
}

func (w *World) define(name, kind string, words []string) Fixture {
	w.t.Helper()
	switch kind {
	case "blob":
		return single(oci.Bytes("text/plain", []byte(strings.Join(words, " "))))
	case "layer":
		return w.layer(name, words)
	}
	s := w.symbol(words)
	switch kind {
	case "image":
		return w.image(s)
	case "index":
		mediaType := s.mediaType(oci.MediaIndex, oci.MediaDockerList)
		return s.seal(document(mediaType, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType,
			ArtifactType: s.options["type"], Manifests: s.children, Subject: s.subject, Annotations: s.notes}))
	case "artifact":
		empty := oci.Bytes(oci.MediaEmpty, []byte("{}"))
		s.fixture.add(empty)
		return s.seal(s.manifest(oci.MediaManifest, empty.Descriptor(), s.options["type"]))
	}
	w.t.Fatalf("symbols: %s = %s: no such kind", name, kind)
	return Fixture{}
}

func single(b oci.Blob) Fixture { return Fixture{Root: b.Descriptor(), Blobs: []oci.Blob{b}} }

// layer makes random bytes that depend on the name.
func (w *World) layer(name string, words []string) Fixture {
	w.t.Helper()
	size, mediaType := 0, oci.MediaLayer
	for _, word := range words {
		if word == "foreign" {
			mediaType = oci.MediaDockerForeign
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			w.t.Fatalf("symbols: layer %s: %q is no size", name, word)
		}
		size = n
	}
	h := fnv.New64a()
	fmt.Fprint(h, name)
	return single(oci.Bytes(mediaType, Random(h.Sum64(), size)))
}

func (w *World) symbol(words []string) *symbol {
	w.t.Helper()
	s := &symbol{options: map[string]string{}, notes: map[string]string{}, children: []oci.Descriptor{}}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		switch {
		case ok && key == "note":
			k, v, _ := strings.Cut(value, "=")
			s.notes[k] = v
		case ok && key == "subject":
			d := w.Fixture(value).Root
			s.subject = &oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
		case ok || key == "docker":
			s.options[key] = value
		default:
			child := w.Fixture(word)
			s.fixture.add(child.Blobs...)
			s.children = append(s.children, child.Root)
		}
	}
	return s
}

func (w *World) image(s *symbol) Fixture {
	w.t.Helper()
	p, err := oci.ParsePlatform(cmp.Or(s.options["platform"], "linux/amd64"))
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers"}}
	for _, d := range s.children {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, d.Digest)
	}
	config := document(s.mediaType(oci.MediaConfig, oci.MediaDockerConfig), cfg)
	s.fixture.add(config)
	f := s.seal(s.manifest(s.mediaType(oci.MediaManifest, oci.MediaDockerManifest), config.Descriptor(), s.options["type"]))
	f.Root.Platform = &p
	return f
}

func (s *symbol) manifest(mediaType string, config oci.Descriptor, artifactType string) oci.Blob {
	return document(mediaType, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType,
		ArtifactType: artifactType, Config: config, Layers: s.children, Subject: s.subject, Annotations: s.notes})
}

func (s *symbol) mediaType(own, docker string) string {
	if _, ok := s.options["docker"]; ok {
		return docker
	}
	return own
}

func (s *symbol) seal(root oci.Blob) Fixture {
	f := s.fixture
	f.add(root)
	f.Root = root.Descriptor()
	return f
}
