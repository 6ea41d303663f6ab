// SPDX-License-Identifier: Apache-2.0

package rebase_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
)

// shelf is a source of manifests and configs.
type shelf map[oci.Digest]oci.Blob

func (s shelf) add(mediaType string, v any) oci.Descriptor {
	raw, ok := v.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			panic(err)
		}
	}
	b := oci.Bytes(mediaType, raw)
	s[b.Descriptor().Digest] = b
	return b.Descriptor()
}

func (s shelf) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	return s.Stat(ctx, oci.Descriptor{Digest: oci.Digest(name)})
}

func (s shelf) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := s[d.Digest]; b != nil {
		return b.Descriptor(), nil
	}
	return d, oci.ErrNotFound
}

func (s shelf) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if b := s[d.Digest]; b != nil {
		return b.Open(ctx)
	}
	return nil, oci.ErrNotFound
}

// part is a part of a made-up image: some layers, lines of history, and what
// the config has after it.
type part struct {
	docker bool
	pretty bool     // with white space
	layers []string // names
	zstd   bool     // packed in another way
	lines  []string // of history: a layer for each, but "-..." is of an empty one
	config map[string]any
	outer  map[string]any // of the config's outer object
	notes  map[string]string
}

func id(kind, name string) oci.Digest { return oci.FromBytes([]byte(kind + name)) }

// put makes the image; the config's text is made by write.
func (p part) put(s shelf) oci.Descriptor {
	kind, layerKind, configKind := oci.MediaManifest, oci.MediaLayerGzip, oci.MediaConfig
	if p.docker {
		kind, layerKind, configKind = oci.MediaDockerManifest, oci.MediaDockerLayer, oci.MediaDockerConfig
	}
	var layers []oci.Descriptor
	ids := []oci.Digest{}
	for _, name := range p.layers {
		d := oci.Descriptor{MediaType: layerKind, Digest: id("packed", name), Size: 1000}
		if p.zstd {
			d.Digest = id("zstd", name)
		}
		layers, ids = append(layers, d), append(ids, id("plain", name))
	}
	order := buildkitOrder
	if p.docker {
		order = dockerOrder
	}
	outer := map[string]any{"os": "linux", "architecture": "amd64", "config": ordered(p.config, order), "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}
	var lines []any
	for _, l := range p.lines {
		if name, empty := bytes.CutPrefix([]byte(l), []byte("-")); empty {
			lines = append(lines, json.RawMessage(fmt.Sprintf(`{"created":"2026-01-01T00:00:00Z","created_by":"a \u0026 %s","empty_layer":true}`, name)))
		} else {
			lines = append(lines, json.RawMessage(fmt.Sprintf(`{"created":"2026-01-01T00:00:00Z","created_by":%q}`, l)))
		}
	}
	if lines != nil {
		outer["history"] = lines
	}
	for k, v := range p.outer {
		outer[k] = v
	}
	c := s.add(configKind, p.written(outer))
	m := map[string]any{"schemaVersion": 2, "mediaType": kind, "config": c, "layers": layers}
	if p.notes != nil {
		m["annotations"] = p.notes
	}
	return s.add(kind, p.written(m))
}

func (p part) written(v any) []byte {
	raw, _ := json.Marshal(v)
	if !p.pretty {
		return raw
	}
	var b bytes.Buffer
	_ = json.Indent(&b, raw, "", "   ")
	return b.Bytes()
}

// BuildKit and Docker have an order each.
var (
	buildkitOrder = []string{"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck", "OnBuild", "Shell"}
	dockerOrder   = []string{"Hostname", "User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels", "StopSignal", "Shell"}
)

// ordered writes an object as a program does that has a struct for it.
func ordered(m map[string]any, order []string) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	rest := map[string]any{}
	for k, v := range m {
		rest[k] = v
	}
	for _, k := range order {
		if v, ok := rest[k]; ok {
			raw, _ := json.Marshal(v)
			fmt.Fprintf(&b, "%q:%s,", k, raw)
			delete(rest, k)
		}
	}
	for k, v := range rest { // one at most, or their order is any
		raw, _ := json.Marshal(v)
		fmt.Fprintf(&b, "%q:%s,", k, raw)
	}
	return append(bytes.TrimSuffix(b.Bytes(), []byte(",")), '}')
}

func load(t *testing.T, s oci.Source, d oci.Descriptor) *edit.Image {
	t.Helper()
	n, err := edit.Load(t.Context(), s, d, edit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n.(*edit.Image)
}

func read(t *testing.T, s oci.Source, d oci.Descriptor) *image.Image {
	t.Helper()
	i, err := image.Read(t.Context(), s, d)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// move rebases an image and puts the result on the shelf.
func move(t *testing.T, s shelf, app, old, onto oci.Descriptor) (oci.Descriptor, *rebase.Report) {
	t.Helper()
	i := load(t, s, app)
	r, err := rebase.Image(i, read(t, s, old), read(t, s, onto), rebase.Options{From: s})
	if err != nil {
		t.Fatal(err)
	}
	return seal(t, s, i), r
}

func seal(t *testing.T, s shelf, i *edit.Image) oci.Descriptor {
	t.Helper()
	sealed, err := edit.Seal(i)
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.Fetch(t.Context(), sealed, sealed.Root)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := oci.ReadAll(t.Context(), sealed, *m.Config, oci.MaxConfig)
	if err != nil {
		t.Fatal(err)
	}
	s.add(m.Config.MediaType, raw)
	return s.add(m.Descriptor.MediaType, m.Raw)
}

func text(s shelf, d oci.Descriptor) string {
	show := func(b oci.Blob) string {
		rc, _ := b.Open(context.Background())
		raw, _ := io.ReadAll(rc)
		return string(raw)
	}
	m := show(s[d.Digest])
	var doc struct{ Config oci.Descriptor }
	_ = json.Unmarshal([]byte(m), &doc)
	return m + "\n" + show(s[doc.Config.Digest])
}
