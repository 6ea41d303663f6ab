// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

var debian = []tarFile{{name: "usr/"}, {name: "usr/lib/"}, {name: "usr/lib/libc.so"}, {name: "lib", link: "usr/lib"}, {name: "run/"}, {name: "var/"}, {name: "var/run", link: "/run"}}

// An index keeps all its images, what is about the old ones is left out with a
// word, and what is no image stays as it is.
func TestAppendKeepsIndex(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	var entries []oci.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64/v8"} {
		d := h.put("base:"+strings.ReplaceAll(p, "/", "-"), imageOf{platform: p, layers: [][]byte{tarOf(t, debian...)}})
		platform, _ := oci.ParsePlatform(p)
		d.Platform = &platform
		entries = append(entries, d)
	}
	about := h.put("base:about", imageOf{platform: "unknown/unknown", layers: [][]byte{tarOf(t)}})
	about.Platform, about.Annotations = &oci.Platform{OS: "unknown", Architecture: "unknown"}, map[string]string{oci.AnnotationAbout: string(entries[0].Digest)}
	sbom := ocitest.Artifact(1, "application/spdx+json", nil)
	if err := sbom.Push(t.Context(), h.repo("base")); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaIndex, Manifests: append(entries, about, sbom.Root)})
	if err == nil {
		err = oci.Publish(t.Context(), h.repo("base"), oci.Bytes(oci.MediaIndex, raw), "1")
	}
	if err != nil {
		t.Fatal(err)
	}
	o := dray.AppendOptions{Bases: []string{h.name + "/base:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "app/x"}))}}}
	o.Targets = []string{h.name + "/app:1"}
	e, err := appended(t, dray.Env{}, o)
	if err != nil {
		t.Fatal(err)
	}
	m := h.index("app", "1")
	if len(m.Manifests) != 3 || m.Manifests[2].Digest != sbom.Root.Digest || len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "attestation") {
		t.Errorf("%s, %q", m.Raw, e.Notes)
	}
	o.Platforms = []oci.Platform{*entries[1].Platform}
	h.requests()
	if _, err := appended(t, dray.Env{}, o); err != nil {
		t.Fatal(err)
	}
	seen, _ := h.requests()
	if n := len(slices.DeleteFunc(seen, func(s string) bool { return s != "GET /base/manifests/…" })); n != 1 {
		t.Errorf("%d manifests of one platform were read", n)
	}
	if m := h.index("app", "1"); !m.IsIndex() || len(m.Manifests) != 1 || m.Manifests[0].Platform.Architecture != "arm64" {
		t.Errorf("%s", m.Raw)
	}
}

// Links of the base survive, and those of layers that were appended before.
func TestAppendKeepsLinks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		layers [][]tarFile
		want   []string // of the last layer
		opts   dray.AppendOptions
	}{
		{"base link", [][]tarFile{{{name: "lib/"}, {name: "lib/libapp.so"}}}, []string{"usr/lib/libapp.so"}, dray.AppendOptions{}},
		{"absolute link", [][]tarFile{{{name: "var/run/app/pid"}}}, []string{"run/app/", "run/app/pid"}, dray.AppendOptions{}},
		{"no link", [][]tarFile{{{name: "app/x"}}}, []string{"app/x"}, dray.AppendOptions{}},
		{"blind", [][]tarFile{{{name: "lib/libapp.so"}}}, []string{"lib/libapp.so"}, dray.AppendOptions{Blind: true}},
		{"exact", [][]tarFile{{{name: "lib/.wh.x"}}}, []string{"lib/.wh.x"}, dray.AppendOptions{Exact: true}},
		{"link of a layer", [][]tarFile{{{name: "srv/"}, {name: "srv/app/"}, {name: "app", link: "srv/app"}}, {{name: "app/x"}}}, []string{"srv/app/x"}, dray.AppendOptions{}},
		{"link of a layer into the base", [][]tarFile{{{name: "app", link: "lib"}}, {{name: "app/x"}}}, []string{"usr/lib/x"}, dray.AppendOptions{}},
		{"directory of a layer", [][]tarFile{{{name: "app/"}, {name: "app/a"}}, {{name: "app/"}, {name: "app/x"}}}, []string{"app/x"}, dray.AppendOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newCounted(t)
			h.put("debian:12", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
			o := c.opts
			for _, l := range c.layers {
				o.Layers = append(o.Layers, dray.LayerInput{File: saved(t, "app.tar", tarOf(t, l...))})
			}
			o.Bases, o.Targets = []string{h.name + "/debian:12"}, []string{h.name + "/app:1"}
			if _, err := appended(t, dray.Env{}, o); err != nil {
				t.Fatal(err)
			}
			all := h.read("app", "1").Layers()
			if got := entriesOf(t, all[len(all)-1]); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			h.validated("app:1")
		})
	}
}

// A name that no distribution has at its top costs no layer, nor does a blind
// append; else each layer of the base is read once and then never again.
func TestAppendReadsLayersOnce(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("debian:12", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...), tarOf(t, tarFile{name: "etc/x"})}, lines: []string{"ADD file:1 in /", "COPY x /etc/"}})
	cache := t.TempDir()
	try := func(path string, blind bool, want int) {
		t.Helper()
		o := dray.AppendOptions{Bases: []string{h.name + "/debian:12"}, Blind: blind, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: path}))}}}
		o.Targets = []string{h.name + "/app:1"}
		h.requests()
		e, err := appended(t, dray.Env{CacheDir: cache}, o)
		if err != nil {
			t.Fatal(err)
		}
		seen, _ := h.requests()
		got := -1 // the config
		for _, r := range seen {
			if r == "GET /debian/blobs/…" {
				got++
			}
		}
		if got != want || (len(e.Notes) > 0) != (want > 0) {
			t.Errorf("%s: %d layers read, want %d: %q", path, got, want, e.Notes)
		}
	}
	try("application/x", false, 0)
	try("lib/x", true, 0)
	try("lib/x", false, 2)
	try("usr/lib/y", false, 0)
}

// What is at stdin packed stays as it is; a zstd layer gets the type of the
// family that the image has.
func TestAppendPacked(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:docker", imageOf{platform: "linux/amd64", docker: true, layers: [][]byte{tarOf(t, debian...)}})
	var zstd, plain bytes.Buffer
	plain.Write(tarOf(t, tarFile{name: "app/x", text: "x"}))
	z, err := layer.Packing{Compression: layer.Zstd}.NewWriter(&zstd)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(plain.Bytes())
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	for kind, in := range map[string][]byte{oci.MediaDockerZstd: zstd.Bytes(), oci.MediaDockerLayer: gzipped(t, plain.Bytes())} {
		o := dray.AppendOptions{Bases: []string{h.name + "/base:docker"}, Layers: []dray.LayerInput{{File: "-"}}}
		o.Targets = []string{h.name + "/app:1"}
		if _, err := appended(t, dray.Env{In: bytes.NewReader(in)}, o); err != nil {
			t.Fatal(err)
		}
		i := h.read("app", "1")
		if d := i.Manifest.Layers[1]; d.MediaType != kind || d.Digest != oci.FromBytes(in) || i.DiffIDs[1] != oci.FromBytes(plain.Bytes()) {
			t.Errorf("%s: %+v, diff ID %s", kind, d, i.DiffIDs[1])
		}
		h.validated("app:1")
	}
}

// A large layer is sent while it is packed, and then not again; a dry run sends
// nothing.
func TestAppendSendsEarly(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	o := dray.AppendOptions{Bases: []string{h.name + "/base:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "app/x", text: string(ocitest.Random(1, 20<<20))}))}}}
	o.Targets, o.NoUpload = []string{h.name + "/app:1"}, true
	c := dray.New(dray.Env{})
	defer c.Close()
	e, err := c.Append(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	seen, sent := h.requests()
	if sent > 0 || slices.ContainsFunc(seen, func(s string) bool { return !strings.HasPrefix(s, "GET ") && !strings.HasPrefix(s, "HEAD ") }) {
		t.Errorf("a dry run sent %d bytes: %q", sent, seen)
	}
	if got := e.Totals().Bytes; got < 20<<20 {
		t.Errorf("the plan moves %d bytes", got)
	}
	o.NoUpload = false
	if _, err := appended(t, dray.Env{}, o); err != nil {
		t.Fatal(err)
	}
	seen, _ = h.requests()
	patches, posts := 0, 0
	for _, s := range seen {
		if strings.HasPrefix(s, "PATCH ") {
			patches++
		}
		if strings.HasPrefix(s, "POST ") {
			posts++
		}
	}
	if patches != 1 || posts != 3 { // the layer, the config, and a mount
		t.Errorf("%d PATCH, %d POST: %q", patches, posts, seen)
	}
	h.validated("app:1")
}

// Nothing depends on the clock or the directory, and what comes of an image
// that was appended to and whose layer is taken out again is what it was.
func TestAppendIsRepeatable(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	var first oci.Digest
	for n := range 2 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "app"), []byte("app"), 0o644); err != nil {
			t.Fatal(err)
		}
		o := dray.AppendOptions{Bases: []string{h.name + "/base:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "lib/x"}))}, {Dir: filepath.Join(dir, "app"), At: "/srv/app"}}}
		o.Targets = []string{fmt.Sprint(h.name, "/app:", n)}
		e, err := appended(t, dray.Env{}, o)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = e.Root.Digest
		}
		if e.Root.Digest != first {
			t.Errorf("%s, then %s", first, e.Root.Digest)
		}
	}
	i := h.read("app", "0")
	for n, line := range i.History {
		if line.Created == nil || !line.Created.Equal(time.Unix(1.5e9, 0)) {
			t.Errorf("line %d of history was made at %v", n, line.Created)
		}
	}
}

// What is wrong is found out before anything is written.
func TestAppendWritesNothingIfWrong(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	h.put("base:same", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian[:1]...)}})
	h.put("win:1", imageOf{platform: "windows/amd64:10.0.1.1", layers: [][]byte{tarOf(t, tarFile{name: "Files/"})}})
	ok := dray.LayerInput{File: saved(t, "ok.tar", tarOf(t, tarFile{name: "app/x"}))}
	whole := gzipped(t, tarOf(t, tarFile{name: "app/x", text: string(ocitest.Random(1, 100_000))}))
	for _, c := range []struct {
		name  string
		kind  error
		text  string
		bases []string
		in    dray.LayerInput
		o     dray.AppendOptions
	}{
		{"truncated gzip", oci.ErrInvalid, "cut.tar.gz", []string{"base:1"}, dray.LayerInput{File: saved(t, "cut.tar.gz", whole[:len(whole)/2])}, dray.AppendOptions{}},
		{"no tar", oci.ErrInvalid, "text", []string{"base:1"}, dray.LayerInput{File: saved(t, "text", []byte("text"))}, dray.AppendOptions{}},
		{"empty", oci.ErrInvalid, "it is empty", []string{"base:1"}, dray.LayerInput{File: saved(t, "empty", nil)}, dray.AppendOptions{}},
		{"climbs out", oci.ErrInvalid, "../../etc/passwd", []string{"base:1"}, dray.LayerInput{File: saved(t, "up.tar", tarOf(t, tarFile{name: "a/../../etc/passwd"}))}, dray.AppendOptions{}},
		{"whiteout", oci.ErrInvalid, "etc/.wh.passwd", []string{"base:1"}, dray.LayerInput{File: saved(t, "wh.tar", tarOf(t, tarFile{name: "etc/.wh.passwd"}))}, dray.AppendOptions{}},
		{"name on Windows", oci.ErrInvalid, "NUL.txt", []string{"win:1"}, dray.LayerInput{File: saved(t, "nul.tar", tarOf(t, tarFile{name: "a/NUL.txt"}))}, dray.AppendOptions{}},
		{"missing", os.ErrNotExist, "missing.tar", []string{"base:1"}, dray.LayerInput{File: "missing.tar"}, dray.AppendOptions{}},
		{"layer by tag", oci.ErrInvalid, "REPOSITORY@DIGEST", []string{"base:1"}, dray.LayerInput{Blob: h.name + "/base:1"}, dray.AppendOptions{}},
		{"no such base", oci.ErrNotFound, "base " + h.name + "/none:1", []string{"none:1"}, ok, dray.AppendOptions{}},
		{"same platform twice", oci.ErrInvalid, "linux/amd64 (", []string{"base:1", "base:same"}, ok, dray.AppendOptions{}},
		{"same base twice", oci.ErrInvalid, "linux/amd64 (", []string{"base:1", "base:1"}, ok, dray.AppendOptions{}},
		{"unknown word", oci.ErrInvalid, "want reference, copy or foreign", []string{"base:1"}, ok, dray.AppendOptions{BaseLayers: "all"}},
		{"no stdin", oci.ErrInvalid, "stdin", []string{"base:1"}, dray.LayerInput{File: "-"}, dray.AppendOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.o
			for _, b := range c.bases {
				o.Bases = append(o.Bases, h.name+"/"+b)
			}
			o.Layers, o.Targets = []dray.LayerInput{c.in}, []string{h.name + "/app:1"}
			h.requests()
			_, err := appended(t, dray.Env{}, o)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v; want %v about %q", err, c.kind, c.text)
			}
			if seen, sent := h.requests(); sent > 0 || slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "P") }) {
				t.Errorf("%d bytes: %q", sent, seen)
			}
		})
	}
}

// With foreign base layers not one byte of a base of another registry moves.
func TestAppendForeignBase(t *testing.T) {
	t.Parallel()
	from, to := newCounted(t), newCounted(t)
	from.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	o := dray.AppendOptions{Bases: []string{from.name + "/base:1"}, BaseLayers: dray.ForeignBase, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "app/x"}))}}}
	o.Targets = []string{to.name + "/app:1"}
	if _, err := appended(t, dray.Env{}, o); err != nil {
		t.Fatal(err)
	}
	if seen, _ := from.requests(); len(seen) != 2 { // manifest and config
		t.Errorf("%q", seen)
	}
	was, now := from.read("base", "1"), to.read("app", "1")
	l := now.Manifest.Layers[0]
	if want := "http://" + from.name + "/v2/base/blobs/" + string(was.Manifest.Layers[0].Digest); !oci.IsForeign(l) || !slices.Equal(l.URLs, []string{want}) || l.Digest != was.Manifest.Layers[0].Digest {
		t.Errorf("%+v", l)
	}
	to.validated("app:1")
	resp, err := http.Get(l.URLs[0])
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	resp.Body.Close()
}

// An append that is cancelled ends, and leaves no file.
func TestAppendCancelled(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	o := dray.AppendOptions{Bases: []string{h.name + "/base:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "app/x", text: string(ocitest.Random(1, 4<<20))}))}}}
	o.Targets = []string{h.name + "/app:1"}
	ctx, cancel := context.WithCancel(t.Context())
	o.Packs = func(int, int) { cancel() }
	temp := t.TempDir()
	c := dray.New(dray.Env{TempDir: temp})
	if _, err := c.Append(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	c.Close()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
