// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// A counted host is a registry that counts requests.
type counted struct {
	t    *testing.T
	name string
	mem  *mem.Catalog

	mu   sync.Mutex
	seen []string // METHOD /v2/…, digests and sessions left out
	sent int64    // bytes of bodies
}

var changing = regexp.MustCompile(`sha256:[0-9a-f]{64}|uploads/.*`)

func newCounted(t *testing.T) *counted {
	h := &counted{t: t, mem: mem.New()}
	inner := serve.New(h.mem, serve.Options{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, r.Method+" "+strings.TrimPrefix(changing.ReplaceAllString(r.URL.Path, "…"), "/v2"))
		h.sent += max(0, r.ContentLength)
		h.mu.Unlock()
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	h.name = strings.TrimPrefix(srv.URL, "http://")
	return h
}

func (h *counted) requests() (all []string, sent int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all, sent = h.seen, h.sent
	h.seen, h.sent = nil, 0
	return all, sent
}

func (h *counted) repo(name string) oci.Store {
	s, err := h.mem.Repository(h.t.Context(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// A tarFile is an entry of a layer; a name that ends with a slash is a directory, a link has a
// target.
type tarFile struct{ name, text, link string }

func tarOf(t *testing.T, files ...tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), ModTime: time.Unix(1e9, 0)}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An imageOf is an image to be put somewhere.
type imageOf struct {
	platform string
	docker   bool
	foreign  bool // the layers are at URLs only
	layers   [][]byte
	claims   []oci.Digest // diff IDs that are not its own
	lines    []string     // of history, one for each layer; nil: some
	config   v1.ImageConfig
}

func (h *counted) put(name string, o imageOf) oci.Descriptor {
	h.t.Helper()
	p, err := oci.ParsePlatform(o.platform)
	if err != nil {
		h.t.Fatal(err)
	}
	kinds := []string{oci.MediaManifest, oci.MediaConfig, oci.MediaLayerGzip}
	if o.docker {
		kinds = []string{oci.MediaDockerManifest, oci.MediaDockerConfig, oci.MediaDockerLayer}
	}
	made := time.Unix(1.5e9, 0).UTC()
	config := v1.Image{Created: &made, Platform: p, RootFS: v1.RootFS{Type: "layers"}, Config: o.config}
	var blobs []oci.Blob
	var layers []oci.Descriptor
	for n, plain := range o.layers {
		b := oci.Bytes(kinds[2], gzipped(h.t, plain))
		d := b.Descriptor()
		if o.foreign {
			d.MediaType, d.URLs = oci.MediaDockerForeign, []string{"https://base-layers.invalid/" + string(d.Digest)}
		} else {
			blobs = append(blobs, b)
		}
		layers = append(layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, oci.FromBytes(plain))
		by := fmt.Sprint("layer ", n)
		if o.lines != nil {
			by = o.lines[n]
		}
		config.History = append(config.History, v1.History{Created: &made, CreatedBy: by})
	}
	if o.claims != nil {
		config.RootFS.DiffIDs = o.claims
	}
	document := func(kind string, v any) oci.Blob {
		raw, err := json.Marshal(v)
		if err != nil {
			h.t.Fatal(err)
		}
		return oci.Bytes(kind, raw)
	}
	c := document(kinds[1], config)
	root := document(kinds[0], v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: kinds[0], Config: c.Descriptor(), Layers: layers})
	repo, tag, _ := strings.Cut(name, ":")
	f := ocitest.Fixture{Root: root.Descriptor(), Blobs: append(blobs, c, root)}
	if err := f.Push(h.t.Context(), h.repo(repo), tag); err != nil {
		h.t.Fatal(err)
	}
	return root.Descriptor()
}

func saved(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// appended appends and writes the result.
func appended(t *testing.T, env dray.Env, o dray.AppendOptions) (*dray.Edited, error) {
	t.Helper()
	c := dray.New(env)
	defer c.Close()
	e, err := c.Append(t.Context(), o)
	if err == nil {
		err = e.Run(t.Context())
	}
	return e, err
}

// validated reads all that a name means, with the layers.
func (h *counted) validated(name string) {
	h.t.Helper()
	c := dray.New(dray.Env{})
	defer c.Close()
	r, err := c.Validate(h.t.Context(), h.name+"/"+name, dray.Side{}, nil, check.Options{})
	bad := err != nil
	for _, f := range r.Findings {
		bad = bad || f.Severity == check.Error
	}
	if bad {
		h.t.Errorf("%s: %v, %+v", name, err, r)
	}
	h.requests()
}

// read is an image of a repository, by a tag or digest.
func (h *counted) read(repo, name string) *image.Image {
	h.t.Helper()
	s := h.repo(repo)
	d, err := s.Resolve(h.t.Context(), name)
	var i *image.Image
	if err == nil {
		i, err = image.Read(h.t.Context(), s, d)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

func (h *counted) index(repo, name string) *oci.Manifest {
	h.t.Helper()
	s := h.repo(repo)
	d, err := s.Resolve(h.t.Context(), name)
	var m *oci.Manifest
	if err == nil {
		m, err = oci.Fetch(h.t.Context(), s, d)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// entriesOf lists the entries of a layer, links with their targets.
func entriesOf(t *testing.T, b oci.Blob) (all []string) {
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
			return all
		}
		name := h.Name
		if h.Linkname != "" {
			name += " -> " + h.Linkname
		}
		all = append(all, name)
	}
}
