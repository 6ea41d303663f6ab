// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/store/registry"
	"github.com/dray-tools/dray/transfer"
)

// host is a registry in this process that counts.
type host struct {
	*mem.Catalog
	addr             string
	requests         atomic.Int64
	blobsOut, blobIn atomic.Int64 // bytes of blobs

	mu    sync.Mutex
	kinds map[string]int // requests of a tally
}

func newHost(t *testing.T) *host {
	h := &host{Catalog: mem.New()}
	handler := serve.New(h.Catalog, serve.Options{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		h.mu.Lock()
		if h.kinds != nil {
			h.kinds[kind(r)]++
		}
		h.mu.Unlock()
		if strings.Contains(r.URL.Path, "/blobs/") {
			w = counted{w, &h.blobsOut}
			r.Body = body{r.Body, &h.blobIn}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	h.addr = strings.TrimPrefix(s.URL, "http://")
	return h
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

type body struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// fleet is the two registries of a run, opened anew for each run so that
// nothing is remembered from the one before.
type fleet struct{ from, to *host }

func (f fleet) run(t *testing.T, pairs ...[2]string) *transfer.Plan {
	t.Helper()
	c := transport.New(transport.Options{})
	defer c.Close()
	regs := map[*host]*registry.Registry{}
	for _, h := range []*host{f.from, f.to} {
		h.requests.Store(0)
		h.blobsOut.Store(0)
		h.blobIn.Store(0)
		regs[h] = registry.New(transport.Endpoint{Host: h.addr, PlainHTTP: true}, registry.Options{Client: c})
	}
	var jobs []transfer.Job
	for _, p := range pairs {
		src, err := regs[f.from].Repo(p[0])
		if err != nil {
			t.Fatal(err)
		}
		dst, err := regs[f.to].Repo(p[1])
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job(src.ForReading(), "v1", dst.ForWriting(), "v1"))
	}
	var e events
	p := must(t, transfer.Options{Progress: e.watch}, jobs...)
	e.check(t, p)
	return p
}

// requests are those of both registries.
func (f fleet) requests() int64 {
	if f.from == f.to {
		return f.from.requests.Load()
	}
	return f.from.requests.Load() + f.to.requests.Load()
}

func (f fleet) want(t *testing.T, what string, requests, in, out int64) {
	t.Helper()
	if n := f.requests(); n != requests {
		t.Errorf("%s: %d requests, want %d", what, n, requests)
	}
	if n := f.to.blobIn.Load(); n != in {
		t.Errorf("%s: %d bytes were sent, want %d", what, n, in)
	}
	if n := f.from.blobsOut.Load(); n != out {
		t.Errorf("%s: %d bytes were fetched, want %d", what, n, out)
	}
}

func TestRequestsMany(t *testing.T) {
	t.Parallel()
	f := fleet{newHost(t), newHost(t)}
	img := ocitest.Image(1, 41, 1000)
	push(t, repo(t, f.from, "apps/many"), img, "v1")
	n := layerBytes(img)
	f.run(t, [2]string{"apps/many", "apps/many"})
	f.want(t, "cold", 131, n, n) // 2 heads, 1 manifest, 1 list of tags, 42 blobs of 3 requests, 1 manifest
	wantSame(t, repo(t, f.to, "apps/many"), img)
	f.run(t, [2]string{"apps/many", "apps/many"})
	f.want(t, "warm", 2, 0, 0)
	same := fleet{f.from, f.from}
	p := same.run(t, [2]string{"apps/many", "copy/many"})
	same.want(t, "same registry", 47, 0, 0) // 2 heads, 1 manifest, 1 list of tags, 42 mounts, 1 manifest
	if ops(p) != "0 skip 42 mount 0 put 1 tag" {
		t.Error(ops(p))
	}
	wantSame(t, repo(t, f.from, "copy/many"), img)
}

func TestRequestsIndex(t *testing.T) {
	t.Parallel()
	f := fleet{newHost(t), newHost(t)}
	var text, children strings.Builder
	for i := range 8 {
		fmt.Fprintf(&text, "l%d = layer 1000\ni%d = image l%d note=n=%d\n", i, i, i, i)
		fmt.Fprintf(&children, " i%d", i)
	}
	idx := ocitest.Symbols(t, text.String()+"all = index"+children.String()).Fixture("all")
	push(t, repo(t, f.from, "apps/index"), idx, "v1")
	n := layerBytes(idx)
	f.run(t, [2]string{"apps/index", "apps/index"})
	f.want(t, "cold", 69, n, n) // 2 heads, 9 manifests, 1 list of tags, 16 blobs of 3 requests, 9 manifests
	wantSame(t, repo(t, f.to, "apps/index"), idx)
	f.run(t, [2]string{"apps/index", "apps/index"})
	f.want(t, "warm", 2, 0, 0)
}

func TestRequestsFleet(t *testing.T) {
	t.Parallel()
	const images = 200
	f := fleet{newHost(t), newHost(t)}
	base := "base = layer 100000\n"
	var text strings.Builder
	for i := range images {
		fmt.Fprintf(&text, "own%d = layer 1000\napp%d = image base own%d\n", i, i, i)
	}
	world := ocitest.Symbols(t, base+text.String())
	var pairs [][2]string
	var all []ocitest.Fixture
	for i := range images {
		name := fmt.Sprintf("fleet/app%d", i)
		all = append(all, world.Fixture(fmt.Sprintf("app%d", i)))
		push(t, repo(t, f.from, name), all[i], "v1")
		pairs = append(pairs, [2]string{name, name})
	}
	n := layerBytes(all...)
	p := f.run(t, pairs...)
	// Of each: 2 heads, 1 manifest, 1 list of tags, config and own layer of 3
	// requests, 1 mount, 1 manifest; the first sends the base with 2 more.
	f.want(t, "cold", images*12+2, n, n)
	if got := fmt.Sprint(p.Totals().Mounted, p.Totals().Put); got != fmt.Sprint(images-1, 1+images*3) {
		t.Errorf("mounted and put: %s", got)
	}
	for i := range images {
		wantTag(t, repo(t, f.to, pairs[i][1]), "v1", all[i].Root.Digest)
		wantSame(t, repo(t, f.to, pairs[i][1]), all[i])
	}
	f.run(t, pairs...)
	f.want(t, "warm", 2*images, 0, 0)
}

// A blob that went away after it was asked about is put again.
func TestRegistryForgetsABlob(t *testing.T) {
	t.Parallel()
	from, to := newHost(t), newHost(t)
	img := ocitest.Image(1, 2, 1000)
	push(t, repo(t, from, "a"), img, "v1")
	dst := repo(t, to, "b")
	layer := img.Layers()[0]
	put(t, dst, layer)
	push(t, dst, ocitest.Image(2, 1, 10), "old") // so that the repository is not empty
	c := transport.New(transport.Options{})
	defer c.Close()
	open := func(h *host, name string) oci.Store {
		r, err := registry.New(transport.Endpoint{Host: h.addr, PlainHTTP: true}, registry.Options{Client: c}).Repo(name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	p, err := transfer.Make(t.Context(), []transfer.Job{job(open(from, "a"), "v1", open(to, "b"), "v1")}, transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dst.(oci.Deleter).Delete(t.Context(), layer.Descriptor()); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Error(err)
	}
	wantSame(t, dst, img)
}

// The store must not take a manifest for the blob of the same digest, nor a
// blob of another size for the right one.
func TestRegistryTellsBlobsFromManifests(t *testing.T) {
	t.Parallel()
	f := fleet{newHost(t), newHost(t)}
	img := ocitest.Image(1, 1, 10)
	raw, err := read(t.Context(), img.Blob(img.Root.Digest).Open)
	if err != nil {
		t.Fatal(err)
	}
	saved := holding(oci.Bytes("text/plain", raw), int64(len(raw)))
	push(t, repo(t, f.from, "a"), img, "v1")
	push(t, repo(t, f.from, "b"), saved, "v1")
	f.run(t, [2]string{"a", "x"})
	f.run(t, [2]string{"b", "x"})
	wantSame(t, repo(t, f.to, "x"), saved)
}

func TestBad_015_SizeIsWrongAtARegistry(t *testing.T) {
	t.Parallel()
	layer := oci.Bytes(oci.MediaLayer, ocitest.Random(1, 100))
	for _, size := range []int64{99, 101} {
		for _, there := range []bool{false, true} {
			f := fleet{newHost(t), newHost(t)}
			f.from.Sparse = true
			push(t, repo(t, f.from, "a"), holding(layer, size), "v1")
			dst := repo(t, f.to, "b")
			push(t, dst, ocitest.Image(2, 1, 10), "old") // so that the repository is not empty
			if there {
				put(t, dst, layer)
			}
			c := transport.New(transport.Options{})
			open := func(h *host, name string) oci.Store {
				r, err := registry.New(transport.Endpoint{Host: h.addr, PlainHTTP: true}, registry.Options{Client: c}).Repo(name)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			_, err := run(t.Context(), transfer.Options{}, job(open(f.from, "a"), "v1", open(f.to, "b"), "v1"))
			c.Close()
			wantErr(t, fmt.Sprintf("size %d, the blob is there: %v", size, there), err, oci.ErrCorrupt)
			wantTag(t, dst, "v1", "")
		}
	}
}
