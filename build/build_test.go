// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/mem"
)

// tarOf is a tar of names; NAME -> TARGET is a link, NAME/ a directory, NAME=TEXT a file.
func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		h := &tar.Header{Name: n, Mode: 0o755, Typeflag: tar.TypeDir}
		text := ""
		if from, to, ok := strings.Cut(n, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag = from, to, tar.TypeSymlink
		} else if from, to, ok := strings.Cut(n, "="); ok {
			h.Name, h.Typeflag, text = from, tar.TypeReg, to
		}
		h.Size = int64(len(text))
		if err := errors.Join(w.WriteHeader(h), second(io.WriteString(w, text))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func second[T any](_ T, err error) error { return err }

// A world has bases, and counts the layers that are read.
type world struct {
	t     *testing.T
	store oci.Store
	names map[string]*oci.Manifest
	read  []oci.Digest
}

func newWorld(t *testing.T) *world {
	s, err := mem.New().Repository(t.Context(), "bases")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, store: s, names: map[string]*oci.Manifest{}}
}

func (w *world) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	return w.store.Resolve(ctx, name)
}

func (w *world) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	return w.store.Stat(ctx, d)
}

func (w *world) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if oci.IsLayer(d.MediaType) {
		w.read = append(w.read, d.Digest)
	}
	return w.store.Open(ctx, d)
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

// image puts an image with one layer.
func (w *world) image(platform string, layer []byte) oci.Descriptor {
	w.t.Helper()
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		w.t.Fatal(err)
	}
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	if err := errors.Join(second(g.Write(layer)), g.Close()); err != nil {
		w.t.Fatal(err)
	}
	l := w.put(oci.MediaLayerGzip, z.Bytes())
	at := time.Unix(1e9, 0).UTC()
	c := w.json(oci.MediaConfig, v1.Image{Created: &at, Platform: p, RootFS: v1.RootFS{Type: "layers", DiffIDs: []oci.Digest{oci.FromBytes(layer)}},
		History: []v1.History{{Created: &at, CreatedBy: "a distribution"}}})
	d := w.json(oci.MediaManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Config: c, Layers: []oci.Descriptor{l}})
	d.Platform = &p
	return d
}

func (w *world) index(list ...oci.Descriptor) oci.Descriptor {
	w.t.Helper()
	return w.json(oci.MediaIndex, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: list})
}

func (w *world) name(name string, d oci.Descriptor) {
	w.t.Helper()
	m, err := oci.Fetch(w.t.Context(), w.store, oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	if err != nil {
		w.t.Fatal(err)
	}
	w.names[name] = m
}

func (w *world) engine() *build.Engine {
	m := input.New(input.Options{TempDir: w.t.TempDir()})
	w.t.Cleanup(func() { m.Close() })
	return build.NewEngine(build.Options{Maker: m, Open: func(_ context.Context, name string) (build.Opened, error) {
		if w.names[name] == nil {
			return build.Opened{}, oci.Errorf(oci.ErrNotFound, "no %s", name)
		}
		return build.Opened{Source: w, Manifest: w.names[name], Ref: "registry.example/" + name}, nil
	}})
}

func platforms(t *testing.T, names ...string) (out []oci.Platform) {
	t.Helper()
	for _, n := range names {
		p, err := oci.ParsePlatform(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// Who gives up looking for a base takes nothing from others.
func TestBaseGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("base", w.image("linux/amd64", tarOf(t, "a=b")))
	first, asked := make(chan bool), make(chan bool)
	m := input.New(input.Options{TempDir: t.TempDir()})
	t.Cleanup(func() { m.Close() })
	e := build.NewEngine(build.Options{Maker: m, Open: func(ctx context.Context, name string) (build.Opened, error) {
		select {
		case <-first: // it has been asked before
		default:
			close(first)
			close(asked)
			<-ctx.Done()
			return build.Opened{}, ctx.Err()
		}
		return build.Opened{Source: w, Manifest: w.names[name]}, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := e.Bases(ctx, "base")
		gone <- err
	}()
	<-asked
	other := make(chan error)
	go func() {
		list, err := e.Bases(t.Context(), "base")
		if err == nil && len(list) != 1 {
			err = errors.New("another base")
		}
		other <- err
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-other; err != nil {
		t.Error(err)
	}
}

// Which images are built depends on what the user wants, what the builder would
// choose, and what the bases have.
func TestTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := tarOf(t, "a=b")
	amd, arm := w.image("linux/amd64", l), w.image("linux/arm64", l)
	old, new := w.image("windows/amd64:10.0.17763.1", l), w.image("windows/amd64:10.0.20348.1", l)
	w.name("both", w.index(amd, arm))
	w.name("amd", amd)
	w.name("old", old)
	w.name("new", new)
	w.name("twice", w.index(amd, amd))
	w.name("nested", w.index(w.index(amd)))
	w.name("empty", w.index(oci.Descriptor{MediaType: oci.MediaManifest, Digest: amd.Digest, Size: amd.Size}))
	e := w.engine()
	for name, c := range map[string]struct {
		from, platforms []string
		all             bool
		defaults        []string
		want            string
		err             error
	}{
		"all":               {from: []string{"both"}, want: "linux/amd64 linux/arm64"},
		"default":           {from: []string{"both"}, defaults: []string{"linux/arm64"}, want: "linux/arm64"},
		"all-but-default":   {from: []string{"both"}, defaults: []string{"linux/arm64"}, all: true, want: "linux/amd64 linux/arm64"},
		"base-order":        {from: []string{"both"}, platforms: []string{"linux/arm64", "linux/amd64"}, want: "linux/amd64 linux/arm64"},
		"single-decides":    {from: []string{"amd"}, defaults: []string{"linux/arm64"}, want: "linux/amd64"},
		"single-is-asked":   {from: []string{"amd"}, platforms: []string{"linux/arm64"}, err: oci.ErrNotFound},
		"missing":           {from: []string{"both"}, platforms: []string{"linux/s390x"}, err: oci.ErrNotFound},
		"no-such-base":      {from: []string{"gone"}, err: oci.ErrNotFound},
		"several":           {from: []string{"old", "new", "both"}, want: "windows/amd64:10.0.17763.1 windows/amd64:10.0.20348.1 linux/amd64 linux/arm64"},
		"one-platform-each": {from: []string{"amd", "both"}, err: oci.ErrInvalid},
		"twice":             {from: []string{"twice"}, want: "linux/amd64"},
		"nested":            {from: []string{"nested"}, err: oci.ErrUnsupported},
		"without-platforms": {from: []string{"empty"}, want: "linux/amd64"},
		"scratch":           {from: []string{"scratch"}, platforms: []string{"linux/riscv64"}, want: "linux/riscv64"},
		"scratch-again":     {from: []string{"scratch"}, platforms: []string{"linux/riscv64", "linux/riscv64"}, want: "linux/riscv64"},
		"scratch-default":   {from: []string{"scratch"}, defaults: []string{"linux/amd64"}, want: "linux/amd64"},
		"scratch-of-what":   {from: []string{"scratch"}, err: oci.ErrInvalid},
		"scratch-and-more":  {from: []string{"scratch", "both"}, platforms: []string{"linux/amd64"}, err: oci.ErrInvalid},
		"scratch-twice":     {from: []string{"scratch"}, platforms: []string{"linux/arm64", "linux/arm64/v8"}, want: "linux/arm64"},
		"windows-static":    {from: []string{build.Static}, platforms: []string{"windows/amd64"}, err: oci.ErrInvalid},
	} {
		list, err := e.Targets(t.Context(), build.Want{From: c.from, Platforms: platforms(t, c.platforms...), All: c.all}, build.Default{Platforms: platforms(t, c.defaults...)})
		var got []string
		for _, x := range list {
			got = append(got, oci.FormatPlatform(x.Platform))
		}
		if !errors.Is(err, c.err) || c.err == nil && strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if len(w.read) != 0 {
		t.Errorf("layers were read: %v", w.read)
	}
}

// A base for a version of Windows is found by that version; any will do for a
// platform that says none, or that no base has.
func TestBaseByVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, new := w.image("windows/amd64:10.0.17763.1", nil), w.image("windows/amd64:10.0.20348.1", nil)
	w.name("win", w.index(old, new))
	e := w.engine()
	for platform, want := range map[string]oci.Digest{"windows/amd64:10.0.20348.1": new.Digest, "windows/amd64:10.0.20348": new.Digest, "windows/amd64": old.Digest, "windows/amd64:10.0.99": old.Digest} {
		b, err := e.Base(t.Context(), "win", platforms(t, platform)[0])
		if err != nil || b.Image.Digest != want {
			t.Errorf("%s: %+v, %v", platform, b, err)
		}
	}
	if _, err := e.Base(t.Context(), "win", platforms(t, "linux/amd64")[0]); !errors.Is(err, oci.ErrNotFound) {
		t.Error(err)
	}
}

func names(t *testing.T, b oci.Blob) (out []string) {
	t.Helper()
	r, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h.Name)
	}
}

// Stacks that began as one go their own ways; paths follow links of the base and
// of layers that were put on it, but not with Link.
func TestStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("base", w.image("linux/amd64", tarOf(t, "usr/", "usr/bin/", "bin -> usr/bin")))
	e := w.engine()
	b, err := e.Base(t.Context(), "base", platforms(t, "linux/amd64")[0])
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Stack(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	add := func(s *build.Stack, link bool, want string, files ...string) {
		t.Helper()
		raw := tarOf(t, files...)
		l, err := s.Add(t.Context(), input.Tar("t", input.TarOptions{}, func(_ context.Context, out io.Writer) error { return second(out.Write(raw)) }), build.AddOptions{Link: link})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names(t, l), " "); got != want {
			t.Errorf("%v: %s, want %s", files, got, want)
		}
	}
	add(s, false, "usr/bin/a", "bin/a=1")
	add(s, false, "app", "app -> usr")
	c, err := s.Clone()
	if err != nil {
		t.Fatal(err)
	}
	add(c, false, "usr/b", "app/b=1")
	add(c, true, "bin/c", "bin/c=1")
	if err := c.Apply(edit.SetUser("me")); err != nil {
		t.Fatal(err)
	}
	add(s, false, "usr/d", "app/d=1")
	if n, m := len(s.Layers()), len(c.Layers()); n != 4 || m != 5 {
		t.Errorf("%d and %d layers", n, m)
	}
	if config, _ := s.Config(); config.Config.User != "" || len(config.History) != 4 {
		t.Errorf("the first has changed: %+v", config)
	}
	f, _, err := s.Files().Open(t.Context(), "bin/a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if raw, err := io.ReadAll(f); err != nil || string(raw) != "1" {
		t.Errorf("%q, %v", raw, err)
	}
	tree, err := s.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if at, n, err := tree.Lookup("app/d"); err != nil || at != "usr/d" || n.Layer != 3 {
		t.Errorf("%s, %+v, %v", at, n, err)
	}
	if _, _, err := tree.Lookup("app/b"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("the other's file: %v", err)
	}
}

// one builds an image with one layer.
type one struct{ layer []byte }

func (one) Name() string { return "one" }

func (one) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	return e.Targets(ctx, want, build.Default{})
}

func (o one) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	s, err := e.Stack(ctx, t.Base)
	if err == nil {
		_, err = s.Add(ctx, input.Tar("one", input.TarOptions{}, func(_ context.Context, w io.Writer) error { return second(w.Write(o.layer)) }), build.AddOptions{Link: true})
	}
	return s, err
}

// The base that images and index name is the one whose bytes were read.
func TestRunNamesTheBase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	amd, arm := w.image("linux/amd64", nil), w.image("linux/arm64", nil)
	both := w.index(amd, arm)
	w.name("both", both)
	r, err := build.Run(t.Context(), w.engine(), one{tarOf(t, "a=b")}, build.Want{From: []string{"both"}}, build.RunOptions{Changes: []edit.Edit{edit.SetLabel("k", "v")}})
	if err != nil {
		t.Fatal(err)
	}
	x, ok := r.Node.(*edit.Index)
	if !ok {
		t.Fatalf("%T", r.Node)
	}
	if got := x.Annotation(v1.AnnotationBaseImageDigest); got != string(both.Digest) {
		t.Errorf("index: %s", got)
	}
	var digests []string
	for _, i := range edit.Images(x) {
		digests = append(digests, i.Annotation(v1.AnnotationBaseImageDigest))
		if c, err := i.Config(); err != nil || c.Config.Labels["k"] != "v" {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if !slices.Equal(digests, []string{string(amd.Digest), string(arm.Digest)}) {
		t.Errorf("images: %v", digests)
	}
	if len(w.read) != 0 {
		t.Errorf("layers were read: %v", w.read)
	}
}
