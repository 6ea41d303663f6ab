// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/daemon"
	"github.com/dray-tools/dray/store/mem"
)

var _ interface {
	oci.Store
	oci.Ranger
	oci.Publisher
	oci.Admitter
	oci.Committer
	oci.Sequencer
	oci.Locator
	io.Closer
} = (*daemon.Image)(nil)

// An engine answers as Docker does, as far as dray asks.
type engine struct {
	t       *testing.T
	host    string
	version string
	libpod  bool
	info    string
	answer  string            // to a load
	images  map[string]string // what is said of images, by name and ID
	saved   []byte            // what docker save writes
	hook    func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []string
	members  map[string]string // what was loaded
	loadErr  error             // reading what was loaded
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, version: "1.41", info: `{"DriverStatus":[["Backing Filesystem","extfs"]]}`, answer: `{"stream":"Loaded image: app:1\n"}`, images: map[string]string{}}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	e.host = "tcp://" + s.Listener.Addr().String()
	return e
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.requests = append(e.requests, r.Method+" "+r.URL.Path)
	e.mu.Unlock()
	if e.hook != nil && e.hook(w, r) {
		return
	}
	if r.URL.Path == "/_ping" {
		w.Header().Set("Api-Version", e.version)
		if e.libpod {
			w.Header().Set("Libpod-Api-Version", "4.9.3")
		}
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v"+e.version)
	name, isInspect := strings.CutSuffix(strings.TrimPrefix(path, "/images/"), "/json")
	switch {
	case !ok:
		http.Error(w, `{"message":"page not found"}`, http.StatusNotFound)
	case path == "/info":
		_, _ = io.WriteString(w, e.info)
	case path == "/images/json":
		e.list(w)
	case path == "/images/load":
		e.load(r.Body)
		_, _ = io.WriteString(w, e.answer)
	case path == "/images/get":
		_, _ = w.Write(e.saved)
	case isInspect && e.image(name) != "":
		_, _ = io.WriteString(w, e.image(name))
	default:
		http.Error(w, `{"message":"No such image"}`, http.StatusNotFound)
	}
}

func (e *engine) image(name string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.images[name]
}

func (e *engine) list(w io.Writer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []json.RawMessage{}
	for _, image := range e.images {
		out = append(out, json.RawMessage(image))
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (e *engine) load(r io.Reader) {
	members := map[string]string{}
	t := tar.NewReader(r)
	h, err := t.Next()
	for ; err == nil; h, err = t.Next() {
		var raw []byte
		if raw, err = io.ReadAll(t); err != nil {
			break
		}
		members[h.Name] = string(raw)
	}
	if err == io.EOF {
		_, err = io.Copy(io.Discard, r)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.members, e.loadErr = members, err
}

// has makes the engine have an image of these layers.
func (e *engine) has(id oci.Digest, name string, diffIDs ...oci.Digest) {
	raw, err := json.Marshal(map[string]any{"Id": id, "RootFS": map[string]any{"Type": "layers", "Layers": diffIDs}})
	if err != nil {
		e.t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.images[string(id)], e.images[name] = string(raw), string(raw)
}

func (e *engine) open(ref string, write bool) *daemon.Image {
	e.t.Helper()
	i, err := daemon.Open(ref, daemon.Options{Host: e.host, Write: write, TempDir: e.t.TempDir()})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = i.Close() })
	return i
}

// send writes a fixture as a run does, and returns how many blobs were sent.
func send(ctx context.Context, i *daemon.Image, f ocitest.Fixture, names ...string) (sent int, err error) {
	from := store(f)
	tree, err := oci.Graph{Root: f.Root, Source: from}.Load(ctx, nil)
	if err != nil {
		return 0, err
	}
	for _, m := range tree.Manifests {
		if err := i.Admit(ctx, m, from); err != nil {
			return 0, err
		}
	}
	for _, d := range tree.Blobs {
		if _, err := i.Stat(ctx, d); err == nil {
			continue
		} else if !errors.Is(err, oci.ErrNotFound) {
			return sent, err
		}
		if _, err := i.Put(ctx, oci.From(from, d)); err != nil {
			return sent, err
		}
		sent++
	}
	if err := i.Publish(ctx, tree.Root().Blob(), names...); err != nil {
		return sent, err
	}
	return sent, i.Commit(ctx)
}

func store(f ocitest.Fixture) oci.Store {
	s, err := mem.New().Repository(context.Background(), "fixture")
	if err != nil {
		panic(err)
	}
	if err := f.Push(context.Background(), s); err != nil {
		panic(err)
	}
	return s
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}
