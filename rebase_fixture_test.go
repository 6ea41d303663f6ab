// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// rebaseHost is a registry of images that are put on one another.
type rebaseHost struct {
	*mem.Catalog
	t    *testing.T
	addr string

	cache string

	mu       sync.Mutex
	requests []string // METHOD path
}

func newRebaseHost(t *testing.T) *rebaseHost {
	h := &rebaseHost{Catalog: mem.New(), t: t, cache: t.TempDir()}
	handler := serve.New(h.Catalog, serve.Options{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests = append(h.requests, r.Method+" "+r.URL.Path)
		h.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	h.addr = strings.TrimPrefix(srv.URL, "http://")
	return h
}

func (h *rebaseHost) store(repo string) oci.Store {
	st, err := h.Repository(h.t.Context(), repo)
	if err != nil {
		h.t.Fatal(err)
	}
	return st
}

func (h *rebaseHost) put(st oci.Store, mediaType string, v any, tags ...string) oci.Descriptor {
	raw, ok := v.([]byte)
	if !ok {
		raw, _ = json.Marshal(v)
	}
	b := oci.Bytes(mediaType, raw)
	if _, err := st.Put(h.t.Context(), b); err != nil {
		h.t.Fatal(err)
	}
	for _, tag := range tags {
		if err := st.Tag(h.t.Context(), tag, b.Descriptor()); err != nil {
			h.t.Fatal(err)
		}
	}
	return b.Descriptor()
}

// made is an image to be: each layer has a file of its name.
type made struct {
	platform string // "": linux/amd64
	layers   []string
	same     bool // on all platforms
	config   v1.ImageConfig
	notes    map[string]string
}

func (h *rebaseHost) image(repo, tag string, i made) oci.Descriptor {
	h.t.Helper()
	if i.platform == "" {
		i.platform = "linux/amd64"
	}
	p, err := oci.ParsePlatform(i.platform)
	if err != nil {
		h.t.Fatal(err)
	}
	st := h.store(repo)
	c := v1.Image{Platform: p, Config: i.config, RootFS: v1.RootFS{Type: "layers"}}
	var layers []oci.Descriptor
	for _, name := range i.layers {
		content := i.platform
		if i.same {
			content = "x"
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		_, _ = w.Write([]byte(content))
		_ = w.Close()
		d := h.put(st, oci.MediaLayer, b.Bytes())
		layers, c.RootFS.DiffIDs = append(layers, d), append(c.RootFS.DiffIDs, d.Digest)
		c.History = append(c.History, v1.History{CreatedBy: name})
	}
	m := v1.Manifest{MediaType: oci.MediaManifest, Config: h.put(st, oci.MediaConfig, c), Layers: layers, Annotations: i.notes}
	m.SchemaVersion = 2
	d := h.put(st, oci.MediaManifest, m, strings.Fields(tag)...)
	d.Platform = &p
	return d
}

func (h *rebaseHost) index(repo, tag string, notes map[string]string, children ...oci.Descriptor) oci.Descriptor {
	x := v1.Index{MediaType: oci.MediaIndex, Manifests: children, Annotations: notes}
	x.SchemaVersion = 2
	return h.put(h.store(repo), oci.MediaIndex, x, strings.Fields(tag)...)
}

// run rebases and writes; without a result it must fail.
func (h *rebaseHost) run(name string, o dray.RebaseOptions) (*dray.Rebased, error) {
	h.t.Helper()
	c := dray.New(dray.Env{CacheDir: h.cache})
	defer c.Close()
	for _, s := range []*string{&o.OldBase, &o.NewBase} {
		if *s != "" && *s != dray.Scratch {
			*s = h.addr + "/" + *s
		}
	}
	for n := range o.Targets {
		o.Targets[n] = h.addr + "/" + o.Targets[n]
	}
	h.requests = nil
	r, err := c.Rebase(h.t.Context(), h.addr+"/"+name, o)
	if err != nil {
		return nil, err
	}
	return r, r.Run(h.t.Context())
}

// read is the image that a tag or digest means.
func (h *rebaseHost) read(repo, tag string) *image.Image {
	h.t.Helper()
	st := h.store(repo)
	d, err := st.Resolve(h.t.Context(), tag)
	if err != nil {
		h.t.Fatal(err)
	}
	i, err := image.Read(h.t.Context(), st, d)
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

// lines names the layers of an image, by their history.
func lines(i *image.Image) string {
	var all []string
	for _, h := range i.History {
		all = append(all, h.CreatedBy)
	}
	return strings.Join(all, " ")
}
