// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/tools/txtar"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/mem"
)

// quiet is the environment of the go command that depends on no user.
var quiet = []string{"GOFLAGS=", "GOPROXY=off", "GOWORK=", "GOTOOLCHAIN=local", "GOOS=", "GOARCH=", "GOENV=off", "CGO_ENABLED=0"}

// module writes files to a directory of the test.
func module(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for _, f := range txtar.Parse([]byte(text)).Files {
		write(t, filepath.Join(dir, filepath.FromSlash(f.Name)), string(f.Data))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// app is a module with a program.
const app = `
-- go.mod --
module example.com/m

go 1.26
-- cmd/app/main.go --
package main

import "example.com/m/lib"

var version = "none"

func main() { println(lib.Name, version) }
-- lib/lib.go --
package lib

const Name = "lib"
`

// A world has bases, by their names.
type world struct {
	ctx   context.Context // of builds
	t     *testing.T
	store oci.Store
	names map[string]oci.Descriptor
	cache string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := mem.New().Repository(t.Context(), "bases")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, ctx: t.Context(), store: s, names: map[string]oci.Descriptor{}, cache: t.TempDir()}
}

func (w *world) put(mediaType string, raw []byte) oci.Descriptor {
	w.t.Helper()
	b := oci.Bytes(mediaType, raw)
	if _, err := w.store.Put(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
	return b.Descriptor()
}

func (w *world) json(mediaType string, v any) oci.Descriptor {
	w.t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.put(mediaType, raw)
}

// image puts an image whose layer has links and directories: NAME/ and NAME -> TARGET.
func (w *world) image(platform string, env []string, names ...string) oci.Descriptor {
	w.t.Helper()
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, n := range names {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: n, Mode: 0o755}
		if from, to, ok := strings.Cut(n, " -> "); ok {
			h = &tar.Header{Typeflag: tar.TypeSymlink, Name: from, Linkname: to, Mode: 0o777}
		}
		if err := tw.WriteHeader(h); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		w.t.Fatal(err)
	}
	config := v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers", DiffIDs: []oci.Digest{oci.FromBytes(b.Bytes())}}}
	config.Config.Env, config.Config.Cmd = env, []string{"of the base"}
	d := w.json(oci.MediaManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest,
		Config: w.json(oci.MediaConfig, config), Layers: []oci.Descriptor{w.put(oci.MediaLayer, b.Bytes())}})
	d.Platform = &p
	return d
}

// index puts an index, or a single image, under a name.
func (w *world) name(name string, list ...oci.Descriptor) {
	w.t.Helper()
	w.names[name] = list[0]
	if len(list) > 1 {
		w.names[name] = w.json(oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: list})
	}
}

func (w *world) engine() *build.Engine {
	m := input.New(input.Options{TempDir: w.t.TempDir()})
	w.t.Cleanup(func() { m.Close() })
	return build.NewEngine(build.Options{Maker: m, Outlines: &layer.Outlines{}, Deep: true, CacheDir: w.cache, TempDir: w.t.TempDir(),
		Static: func(context.Context, *build.Stack) error { return nil },
		Open: func(ctx context.Context, name string) (build.Opened, error) {
			d, ok := w.names[name]
			if !ok {
				return build.Opened{}, oci.Errorf(oci.ErrNotFound, "no %s", name)
			}
			got, err := oci.Fetch(ctx, w.store, oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
			return build.Opened{Source: w.store, Manifest: got, Ref: "bases.example/" + name}, err
		}})
}

// build builds programs of a directory.
func (w *world) build(dir string, patterns []string, o golang.Options, want build.Want) (*build.Result, build.Builder, error) {
	w.t.Helper()
	o.Dir, o.Env = dir, append(slices.Clone(quiet), o.Env...)
	p := oci.Platform{OS: "linux", Architecture: "amd64"}
	if len(want.Platforms) > 0 {
		p = want.Platforms[0]
	}
	programs, err := golang.Find(w.ctx, patterns, p, o)
	if err != nil {
		return nil, nil, err
	}
	b, err := golang.New(programs, o)
	if err != nil {
		return nil, nil, err
	}
	r, err := build.Run(w.ctx, w.engine(), b, want, build.RunOptions{})
	return r, b, err
}

func (w *world) must(dir string, patterns []string, o golang.Options, want build.Want) (*build.Result, build.Builder) {
	w.t.Helper()
	r, b, err := w.build(dir, patterns, o, want)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, b
}

func platforms(t *testing.T, list ...string) (out []oci.Platform) {
	t.Helper()
	for _, s := range list {
		p, err := oci.ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// entries are those of a layer that was made, with the content of small files.
func entries(t *testing.T, b oci.Blob) (out []string) {
	t.Helper()
	rc, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	plain, _, err := layer.Decompress(rc)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s %04o %d:%d", h.Name, h.Mode, h.Uid, h.Gid)
		if at := h.ModTime.Unix(); at != 0 {
			line += fmt.Sprintf(" at %d", at)
		}
		if caps := h.PAXRecords["SCHILY.xattr.security.capability"]; caps != "" {
			line += fmt.Sprintf(" caps %x", caps)
		}
		if h.Typeflag == tar.TypeReg && len(text) < 100 {
			line += " " + string(text)
		}
		out = append(out, line)
	}
}

// layers are those that were put on the base of a stack.
func layers(s *build.Stack) []oci.Blob {
	all := s.Blobs()
	if s.Base.Source != nil {
		all = all[1:]
	}
	return all
}

// content is that of a file in a layer.
func content(t *testing.T, b oci.Blob, name string) []byte {
	t.Helper()
	rc, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	plain, _, err := layer.Decompress(rc)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Name == name {
			raw, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}
