// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// A tallied registry counts requests by what they are about.
type tallied struct {
	*mem.Catalog
	addr string

	mu    sync.Mutex
	kinds map[string]int
	blobs []string // digests of the blobs that were asked for
}

func newTallied(t *testing.T) *tallied {
	r := &tallied{Catalog: mem.New(), kinds: map[string]int{}}
	h := serve.New(r.Catalog, serve.Options{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		what := "other"
		switch path := req.URL.Path; {
		case strings.Contains(path, "/manifests/"):
			what = "manifest"
		case strings.Contains(path, "/blobs/uploads/"):
			what = "upload"
		case strings.Contains(path, "/blobs/"):
			what = "blob"
			r.blobs = append(r.blobs, path[strings.LastIndex(path, "/")+1:])
		}
		r.kinds[req.Method+" "+what]++
		r.mu.Unlock()
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	r.addr = strings.TrimPrefix(s.URL, "http://")
	return r
}

func (r *tallied) store(t *testing.T, name string) oci.Store {
	t.Helper()
	s, err := r.Repository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// take returns the counts and begins anew.
func (r *tallied) take() (kinds map[string]int, blobs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds, blobs = maps.Clone(r.kinds), r.blobs
	r.kinds, r.blobs = map[string]int{}, nil
	return kinds, blobs
}

func mutate(t *testing.T, name string, o dray.MutateOptions) *dray.Edited {
	t.Helper()
	c := dray.New(dray.Env{TempDir: t.TempDir()})
	defer c.Close()
	e, err := c.Mutate(t.Context(), name, o)
	if err == nil {
		err = e.Run(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var eight = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64", "windows/amd64:10.0.20348.587"}

// One label on an index of eight images, in the same repository: an index, eight
// manifests and eight configs are read, eight configs, eight manifests and the
// index are written. No request is about a layer.
func TestRequestsOneLabel(t *testing.T) {
	t.Parallel()
	r := newTallied(t)
	f := ocitest.Index(1, eight...)
	if err := f.Push(t.Context(), r.store(t, "app"), "1"); err != nil {
		t.Fatal(err)
	}
	layers := map[string]bool{}
	for _, b := range f.Layers() {
		layers[string(b.Descriptor().Digest)] = true
	}
	o := dray.MutateOptions{Images: []edit.Edit{edit.SetLabel("a", "b")}}
	for _, to := range []string{"", "2"} {
		r.take()
		if o.Targets = nil; to != "" {
			o.Targets = []string{r.addr + "/app:" + to}
		}
		e := mutate(t, r.addr+"/app:1", o)
		if e.Root.Digest == e.Was.Digest && to == "" {
			t.Error("nothing changed")
		}
		kinds, blobs := r.take()
		for _, d := range blobs {
			if layers[d] {
				t.Errorf("to %q: a request about the layer %s", to, d)
			}
		}
		if kinds["HEAD manifest"] > 1 { // of the tag
			t.Errorf("to %q: %v", to, kinds)
		}
		delete(kinds, "HEAD manifest")
		want := map[string]int{"GET manifest": 9, "GET blob": 8, "POST upload": 8, "PUT upload": 8, "PUT manifest": 9}
		if to != "" { // with the label that is there now
			want = map[string]int{"GET manifest": 9, "GET blob": 8, "PUT manifest": 1}
		}
		if !maps.Equal(kinds, want) {
			t.Errorf("to %q: %v, want %v", to, kinds, want)
		}
	}
}

// dated puts an image on a registry whose first layer has late times and whose
// second has early ones; the third is a foreign one, which is nowhere.
func dated(t *testing.T, s oci.Store) {
	t.Helper()
	var layers []oci.Descriptor
	config := v1.Image{Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}}
	for _, at := range []int64{2_000_000_000, 1_000_000_000} {
		var plain, packed bytes.Buffer
		w := tar.NewWriter(&plain)
		for _, h := range []*tar.Header{{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "d/.wh.gone", Mode: 0o644}, {Name: "./x", Mode: 0o4755, Size: 3}} {
			h.ModTime = time.Unix(at, 0)
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, "abc"[:h.Size]); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(plain.Bytes())
		z.Close()
		b := oci.Bytes(oci.MediaLayerGzip, packed.Bytes())
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		d := b.Descriptor()
		d.Annotations = map[string]string{"containerd.io/uncompressed": "x", "own": "y"}
		layers = append(layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, oci.FromBytes(plain.Bytes()))
	}
	away := oci.Bytes("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", []byte("away")).Descriptor()
	away.URLs = []string{"https://example.invalid/layer"}
	layers, config.RootFS.DiffIDs = append(layers, away), append(config.RootFS.DiffIDs, away.Digest)
	raw, _ := json.Marshal(config)
	c := oci.Bytes(oci.MediaConfig, raw)
	manifest, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaManifest, "config": c.Descriptor(), "layers": layers})
	for _, b := range []oci.Blob{c, oci.Bytes(oci.MediaManifest, manifest)} {
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(t.Context(), "1", oci.Bytes(oci.MediaManifest, manifest).Descriptor()); err != nil {
		t.Fatal(err)
	}
}

func TestMutateTimesInLayers(t *testing.T) {
	t.Parallel()
	r := newTallied(t)
	s := r.store(t, "app")
	dated(t, s)
	limit := time.Unix(1_500_000_000, 0)
	e := mutate(t, r.addr+"/app:1", dray.MutateOptions{LayerTime: limit, EditOptions: dray.EditOptions{Targets: []string{r.addr + "/app:2"}}})
	was, err := oci.Fetch(t.Context(), s, e.Was)
	if err != nil {
		t.Fatal(err)
	}
	now, err := oci.Fetch(t.Context(), s, e.Root)
	if err != nil {
		t.Fatal(err)
	}
	if now.Layers[0].Digest == was.Layers[0].Digest || fmt.Sprint(now.Layers[1:]) != fmt.Sprint(was.Layers[1:]) || now.Layers[0].MediaType != oci.MediaLayerGzip || fmt.Sprint(now.Layers[0].Annotations) != "map[own:y]" {
		t.Errorf("%s\nfrom %s", now.Raw, was.Raw)
	}
	rc, err := layer.Open(t.Context(), oci.From(s, now.Layers[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var names []string
	for tr := tar.NewReader(rc); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if names = append(names, fmt.Sprintf("%s %o", h.Name, h.Mode)); !h.ModTime.Equal(limit) {
			t.Errorf("%s: %v", h.Name, h.ModTime)
		}
	}
	if got := strings.Join(names, ", "); got != "d/ 755, d/.wh.gone 644, ./x 4755" {
		t.Error(got)
	}
	again := mutate(t, r.addr+"/app:2", dray.MutateOptions{LayerTime: limit})
	if again.Root.Digest != e.Root.Digest {
		t.Error("twice is not once")
	}
}

// A layer that is not what its config says is not made anew.
func TestBad_024_DiffIDOfAClampedLayer(t *testing.T) {
	t.Parallel()
	r := newTallied(t)
	s := r.store(t, "app")
	dated(t, s)
	d, err := s.Resolve(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.Fetch(t.Context(), s, d)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := oci.ReadAll(t.Context(), s, *m.Config, oci.MaxConfig)
	if err != nil {
		t.Fatal(err)
	}
	var c v1.Image
	_ = json.Unmarshal(raw, &c)
	bad := oci.Bytes(oci.MediaConfig, bytes.Replace(raw, []byte(c.RootFS.DiffIDs[0]), []byte(c.RootFS.DiffIDs[2]), 1))
	manifest := oci.Bytes(oci.MediaManifest, bytes.Replace(m.Raw, []byte(m.Config.Digest), []byte(bad.Descriptor().Digest), 1))
	for _, b := range []oci.Blob{bad, manifest} {
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(t.Context(), "bad", manifest.Descriptor()); err != nil {
		t.Fatal(err)
	}
	client := dray.New(dray.Env{TempDir: t.TempDir()})
	defer client.Close()
	if _, err := client.Mutate(t.Context(), r.addr+"/app:bad", dray.MutateOptions{LayerTime: time.Unix(0, 0)}); !errors.Is(err, oci.ErrCorrupt) {
		t.Error(err)
	}
}

// Images are chosen by what the index says of them, which may be more than their
// configs say.
func TestMutateChoosesByTheIndex(t *testing.T) {
	t.Parallel()
	r := newTallied(t)
	s := r.store(t, "app")
	f := ocitest.Index(1, "linux/amd64", "linux/arm64")
	if err := f.Push(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	raw, err := oci.ReadAll(t.Context(), s, f.Root, oci.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	x := oci.Bytes(oci.MediaIndex, bytes.Replace(raw, []byte(`"architecture":"arm64"`), []byte(`"variant":"v9","architecture":"arm64"`), 1))
	if _, err := s.Put(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(t.Context(), "1", x.Descriptor()); err != nil {
		t.Fatal(err)
	}
	o := dray.MutateOptions{Images: []edit.Edit{edit.SetUser("1")}}
	o.Platforms = []oci.Platform{{OS: "linux", Architecture: "arm64", Variant: "v9"}}
	e := mutate(t, r.addr+"/app:1", o)
	was, _ := oci.ParseManifest("", append([]byte{}, raw...))
	now, err := oci.Fetch(t.Context(), s, e.Root)
	if err != nil || now.Manifests[0].Digest != was.Manifests[0].Digest || now.Manifests[1].Digest == was.Manifests[1].Digest || now.Manifests[1].Platform.Variant != "v9" {
		t.Errorf("%v %s", err, now.Raw)
	}
	client := dray.New(dray.Env{})
	defer client.Close()
	o.Platforms = []oci.Platform{{OS: "linux", Architecture: "arm64"}}
	if _, err := client.Mutate(t.Context(), r.addr+"/app:1", o); !errors.Is(err, oci.ErrNotFound) {
		t.Error(err)
	}
}
