// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/store/registry"
)

// A rig is a registry on loopback that records what it is asked.
type rig struct {
	t       *testing.T
	catalog *mem.Catalog
	handler http.Handler // the registry itself
	server  *httptest.Server

	mu    sync.Mutex
	names map[oci.Digest]string
	seen  []string
	hook  func(w http.ResponseWriter, r *http.Request) bool // true: answered
}

func newRig(t *testing.T, o serve.Options) *rig {
	t.Helper()
	g := &rig{t: t, catalog: mem.New(), names: map[oci.Digest]string{}}
	g.handler = serve.New(g.catalog, o)
	g.server = httptest.NewServer(g)
	t.Cleanup(g.server.Close)
	return g
}

// answering is a rig whose answers are made by a function alone.
func answering(t *testing.T, f http.HandlerFunc) *rig {
	g := newRig(t, serve.Options{})
	g.handler = f
	return g
}

func (g *rig) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.seen = append(g.seen, g.show(r))
	hook := g.hook
	g.mu.Unlock()
	if hook == nil || !hook(w, r) {
		g.handler.ServeHTTP(w, r)
	}
}

// on sets what sees requests before the registry does.
func (g *rig) on(hook func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hook = hook
}

// once answers the first request that matches with f.
func (g *rig) once(match func(*http.Request) bool, f http.HandlerFunc) {
	var done atomic.Bool
	g.on(func(w http.ResponseWriter, r *http.Request) bool {
		if !match(r) || !done.CompareAndSwap(false, true) {
			return false
		}
		f(w, r)
		return true
	})
}

// is matches a method and a part of the path.
func is(method, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
}

// show writes a request short, with names for digests and ids.
func (g *rig) show(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if i := strings.Index(path, "/blobs/uploads/"); i >= 0 && !strings.HasSuffix(path, "/") {
		path = path[:i] + "/upload"
	}
	q := r.URL.Query()
	q.Del("digest")
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	for d, name := range g.names {
		path = strings.NewReplacer(string(d), name, url.QueryEscape(string(d)), name, strings.Replace(string(d), ":", "-", 1), name+"-tag").Replace(path)
	}
	if v := r.Header.Get("Range"); v != "" {
		path += " " + v
	}
	if v := r.Header.Get("Content-Range"); v != "" {
		path += " " + v
	}
	return r.Method + " " + path
}

func (g *rig) name(name string, d oci.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.names[d] = name
}

// nameImage names what an image of one layer consists of.
func (g *rig) nameImage(f ocitest.Fixture) {
	g.name("image", f.Root.Digest)
	g.name("config", f.Blobs[0].Descriptor().Digest)
	g.name("layer", f.Layers()[0].Descriptor().Digest)
}

// forget drops the record.
func (g *rig) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = nil
}

func (g *rig) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

// want checks what was asked since the last time.
func (g *rig) want(list ...string) {
	g.t.Helper()
	if got := g.requests(); !slices.Equal(got, list) {
		g.t.Errorf("requests:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(list, "\n\t"))
	}
	g.forget()
}

// count is how many requests have the prefix.
func (g *rig) count(prefix string) (n int) {
	for _, s := range g.requests() {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func (g *rig) host() string { return strings.TrimPrefix(g.server.URL, "http://") }

func (g *rig) endpoint() transport.Endpoint { return transport.Endpoint{Host: g.host()} }

// client is a new client, as another process would have it.
func (g *rig) client(options ...registry.Options) *registry.Registry {
	g.t.Helper()
	return g.clientOver(transport.Options{Attempts: 2}, options...)
}

func (g *rig) clientOver(to transport.Options, options ...registry.Options) *registry.Registry {
	var o registry.Options
	for _, o = range options {
	}
	o.Client = transport.New(to)
	g.t.Cleanup(o.Client.Close)
	c := registry.New(g.endpoint(), o)
	c.SetBackoff(100 * time.Microsecond)
	return c
}

func (g *rig) repo(name string, options ...registry.Options) *registry.Repo {
	g.t.Helper()
	return repo(g.t, g.client(options...), name)
}

func repo(t testing.TB, c *registry.Registry, name string) *registry.Repo {
	t.Helper()
	r, err := c.Repo(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stored is the repository behind the registry.
func (g *rig) stored(name string) oci.Store {
	g.t.Helper()
	s, err := g.catalog.Repository(g.t.Context(), name)
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// push puts a fixture behind the registry.
func (g *rig) push(name string, f ocitest.Fixture, tags ...string) {
	g.t.Helper()
	if err := f.Push(g.t.Context(), g.stored(name), tags...); err != nil {
		g.t.Fatal(err)
	}
}

func read(ctx context.Context, s oci.Source, d oci.Descriptor) ([]byte, error) {
	r, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantBytes(t *testing.T, s oci.Source, b oci.Blob) {
	t.Helper()
	got, err := read(t.Context(), s, b.Descriptor())
	if err != nil || !bytes.Equal(got, contents(t, b)) {
		t.Errorf("read %s: %d bytes, %v", b.Descriptor().Digest, len(got), err)
	}
}

func contents(t *testing.T, b oci.Blob) []byte {
	t.Helper()
	rc, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// wantErr checks the kind of an error, and that it is one line that says each
// place once.
func wantErr(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b") || len(text) > 2000 {
		t.Errorf("not one clean line: %q", text)
	}
}

func wantPut(t *testing.T, s oci.Sink, b oci.Blob, want oci.How, from ...string) {
	t.Helper()
	if how, err := s.Put(t.Context(), b, from...); err != nil || how != want {
		t.Errorf("put: %v, %v; want %v", how, err, want)
	}
}

func wantAbsent(t *testing.T, s oci.Store, d oci.Descriptor) {
	t.Helper()
	if _, err := s.Stat(t.Context(), d); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("%s is there: %v", d.Digest, err)
	}
}

func collect[T any](seq iter.Seq2[T, error]) (out []T, err error) {
	for v, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// layer is a random blob.
func layer(seed uint64, n int) oci.Blob { return oci.Bytes(oci.MediaLayer, ocitest.Random(seed, n)) }

// cut ends the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// fails answers with a status and an error code.
func fails(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"as the test wants it"}]}`)
	}
}

// counting counts what is read of a blob, and how often it is opened.
type counting struct {
	oci.RangeBlob
	bytes, opens, ranges atomic.Int64
}

func counted(b oci.Blob) *counting { return &counting{RangeBlob: b.(oci.RangeBlob)} }

func (c *counting) Open(ctx context.Context) (io.ReadCloser, error) {
	c.opens.Add(1)
	return c.track(c.RangeBlob.Open(ctx))
}

func (c *counting) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	c.ranges.Add(1)
	return c.track(c.RangeBlob.OpenRange(ctx, offset, length))
}

func (c *counting) track(rc io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{readerFunc(func(p []byte) (int, error) {
		n, err := rc.Read(p)
		c.bytes.Add(int64(n))
		return n, err
	}), rc}, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
