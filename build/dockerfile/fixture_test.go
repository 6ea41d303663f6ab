// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A world has images that Dockerfiles can name, and notes what is read of them.
type world struct {
	blobs  map[oci.Digest]oci.Blob
	roots  map[string]oci.Descriptor
	layers map[oci.Digest]bool

	mu   sync.Mutex
	asks []string     // names of images
	read []oci.Digest // of layers
}

func newWorld() *world {
	return &world{blobs: map[oci.Digest]oci.Blob{}, roots: map[string]oci.Descriptor{}, layers: map[oci.Digest]bool{}}
}

func (w *world) put(b oci.Blob) oci.Descriptor {
	d := b.Descriptor()
	w.blobs[d.Digest] = b
	return d
}

func (w *world) json(mediaType string, v any) oci.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return w.put(oci.Bytes(mediaType, raw))
}

// image makes an image of a platform, whose config object is JSON, with layers of
// files.
func (w *world) image(platform, config string, layers ...map[string]string) oci.Descriptor {
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	all := map[string]any{"os": p.OS, "architecture": p.Architecture, "created": "2026-01-01T00:00:00Z", "config": json.RawMessage(config)}
	if p.Variant != "" {
		all["variant"] = p.Variant
	}
	if p.OSVersion != "" {
		all["os.version"] = p.OSVersion
	}
	ids := []oci.Digest{}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Layers: []oci.Descriptor{}}
	for _, files := range layers {
		raw := tarOf(files)
		d := w.put(oci.Bytes(oci.MediaLayer, raw))
		w.layers[d.Digest] = true
		m.Layers, ids = append(m.Layers, d), append(ids, d.Digest)
	}
	all["rootfs"] = map[string]any{"type": "layers", "diff_ids": ids}
	m.Config = w.json(oci.MediaConfig, all)
	d := w.json(oci.MediaManifest, m)
	d.Platform = &p
	return d
}

func (w *world) index(images ...oci.Descriptor) oci.Descriptor {
	return w.json(oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: images})
}

func tarOf(files map[string]string) []byte {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Mode, h.Typeflag, h.Size = 0o755, tar.TypeDir, 0
		} else if to, ok := strings.CutPrefix(files[name], "-> "); ok {
			h.Linkname, h.Typeflag, h.Size = to, tar.TypeSymlink, 0
		}
		if err := t.WriteHeader(h); err != nil {
			panic(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(t, files[name]); err != nil {
				panic(err)
			}
		}
	}
	if err := t.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Open is that of build.Options.
func (w *world) open(_ context.Context, name string) (build.Opened, error) {
	w.mu.Lock()
	w.asks = append(w.asks, name)
	w.mu.Unlock()
	d, ok := w.roots[name]
	if !ok {
		return build.Opened{}, oci.Wrap("", name, oci.ErrNotFound)
	}
	m, err := oci.Fetch(context.Background(), w, d)
	return build.Opened{Source: w, Manifest: m, Ref: name}, err
}

// Resolve implements oci.Source.
func (w *world) Resolve(_ context.Context, name string) (oci.Descriptor, error) {
	return oci.Descriptor{}, oci.ErrNotFound
}

// Stat implements oci.Source.
func (w *world) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := w.blobs[d.Digest]; b != nil {
		return b.Descriptor(), nil
	}
	return d, oci.ErrNotFound
}

// Open implements oci.Source.
func (w *world) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	b := w.blobs[d.Digest]
	if b == nil {
		return nil, oci.ErrNotFound
	}
	if w.layers[d.Digest] {
		w.mu.Lock()
		w.read = append(w.read, d.Digest)
		w.mu.Unlock()
	}
	return b.Open(ctx)
}

// base are the images that most tests need.
func base() *world {
	w := newWorld()
	files := map[string]string{"etc/": "", "etc/passwd": "root:x:0:0::/:/\napp:x:1000:1001::/:/\n", "etc/group": "root:x:0:\nstaff:x:50:app\n", "srv/": "", "data": "-> srv"}
	config := `{"Env":["PATH=/bin","FROM=base"],"Cmd":["/bin/sh"],"Labels":{"a":"base"}}`
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		one := w.image(p, config, files)
		w.roots["one/"+p] = one
	}
	w.roots["base"] = w.index(w.roots["one/linux/amd64"], w.roots["one/linux/arm64"])
	w.roots["single"] = w.roots["one/linux/arm64"]
	w.roots["bare"] = w.image("linux/amd64", `{}`, map[string]string{"x": "x"})
	w.roots["onbuild"] = w.image("linux/amd64", `{"OnBuild":["ENV BUILT=on","WORKDIR /on"]}`, files)
	w.roots["onrun"] = w.image("linux/amd64", `{"OnBuild":["ENV BUILT=on","RUN make all"]}`, files)
	for n, v := range []string{"10.0.17763.1", "10.0.20348.2"} {
		w.roots["win"+string(rune('1'+n))] = w.image("windows/amd64:"+v, `{"Env":["Path=C:\\Windows"],"User":"ContainerUser"}`, map[string]string{"Files/": "", "Files/Windows/": "", "Hives/": "", "Files/v": v})
	}
	w.roots["win"] = w.index(w.roots["win1"], w.roots["win2"])
	return w
}

func platform(s string) oci.Platform {
	p, err := oci.ParsePlatform(s)
	if err != nil {
		panic(err)
	}
	return p
}

// engine is one that opens the world's images.
func engine(t testing.TB, w *world) *build.Engine {
	m := input.New(input.Options{TempDir: t.TempDir()})
	t.Cleanup(func() { m.Close() })
	return build.NewEngine(build.Options{Open: w.open, Maker: m, Outlines: &layer.Outlines{}, TempDir: t.TempDir()})
}

// A built image, and what was said about it.
type built struct {
	*build.Result
	notes []string
	w     *world
}

// make builds a Dockerfile in a directory with a few files.
func (w *world) build(t testing.TB, o dockerfile.Options, want build.Want) (*built, error) {
	t.Helper()
	if o.Context == "" && o.Text != nil {
		o.Context = t.TempDir()
		write(t, o.Context, map[string]string{"a": "a", "dir/b": "b"})
	}
	if o.Host.OS == "" {
		o.Host = platform("linux/amd64")
	}
	e := engine(t, w)
	r, err := build.Run(t.Context(), e, dockerfile.New(o), want, build.RunOptions{})
	return &built{r, e.Notes(), w}, err
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// config is the config object of the only image, as it is written.
func (b *built) config(t testing.TB) map[string]json.RawMessage {
	t.Helper()
	out := map[string]json.RawMessage{}
	if raw := b.Stacks[0].Get("config"); raw != nil {
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
