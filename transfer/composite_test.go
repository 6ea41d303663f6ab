// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/store/registry"
	"github.com/dray-tools/dray/transfer"
)

// composite is an edited graph: what its parts do not have it has made.
type composite struct {
	ocitest.Fixture
	parts map[oci.Digest]oci.Source
}

// compose puts a graph together of parts, each of which has what its fixture
// has; of several the first.
func compose(f ocitest.Fixture, parts ...part) *composite {
	c := &composite{f, map[oci.Digest]oci.Source{}}
	for _, p := range parts {
		for _, b := range p.has.Blobs {
			if d := b.Descriptor().Digest; c.parts[d] == nil {
				c.parts[d] = p.at
			}
		}
	}
	return c
}

type part struct {
	has ocitest.Fixture
	at  oci.Source
}

func (c *composite) Part(d oci.Digest) oci.Source { return c.parts[d] }

func (c *composite) Resolve(context.Context, string) (oci.Descriptor, error) { return c.Root, nil }

func (c *composite) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) { return d, nil }

func (c *composite) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return c.Blob(d.Digest).Open(ctx) // also what parts have: the requests of reading are not counted here
}

// watched is an observing wrapper.
type watched struct{ oci.Source }

func (w watched) Unwrap() any { return w.Source }

var (
	digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	uploads = regexp.MustCompile(`uploads/\w+$`)
)

// kind is a request without digests and ids.
func kind(r *http.Request) string {
	path := uploads.ReplaceAllString(digests.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/v2/"), "DIGEST"), "upload")
	if from := r.URL.Query().Get("from"); from != "" {
		path += "?from=" + from
	}
	return r.Method + " " + path
}

// tally is a registry with a client that remembers nothing yet; want compares
// the requests since then.
type tally struct {
	*host
	t *testing.T
	g *registry.Registry
}

func (h *host) tally(t *testing.T) *tally {
	c := transport.New(transport.Options{})
	t.Cleanup(c.Close)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kinds = map[string]int{}
	return &tally{h, t, registry.New(transport.Endpoint{Host: h.addr, PlainHTTP: true}, registry.Options{Client: c})}
}

func (y *tally) repo(name string) *registry.Repo {
	y.t.Helper()
	r, err := y.g.Repo(name)
	if err != nil {
		y.t.Fatal(err)
	}
	return r
}

func (y *tally) want(want map[string]int) {
	y.t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if maps.Equal(y.kinds, want) {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(y.kinds)) {
		if y.kinds[k] != want[k] {
			y.t.Errorf("%s: %d times, want %d", k, y.kinds[k], want[k])
		}
	}
	for k, n := range want {
		if y.kinds[k] == 0 {
			y.t.Errorf("%s: never, want %d", k, n)
		}
	}
}

// eight is an index of that many platforms, with configs that differ by name.
func eight(t *testing.T, name string) ocitest.Fixture {
	var text, children strings.Builder
	text.WriteString("base = layer 100000\n")
	for i := range 8 {
		fmt.Fprintf(&text, "l%d = layer 1000\ni%d = image base l%d platform=linux/%s%d\n", i, i, i, name, i)
		fmt.Fprintf(&children, " i%d", i)
	}
	return ocitest.Symbols(t, text.String()+"all = index"+children.String()).Fixture("all")
}

// A change of all configs of an index, in its own repository.
func TestRequestsEditIndex(t *testing.T) {
	t.Parallel()
	old, edited := eight(t, "a"), eight(t, "b")
	for name, c := range map[string]struct {
		tag   string
		knows bool
		heads int
	}{
		"other tag":    {"v2", false, 1},
		"same tag":     {"v1", false, 1},
		"tag is known": {"v1", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			push(t, repo(t, h.Catalog, "app"), old, "v1")
			y := h.tally(t)
			j := job(watched{compose(edited, part{old, y.repo("app").ForReading()})}, "", y.repo("app").ForWriting(), c.tag)
			if c.knows {
				j.Expect = old.Root.Digest
			}
			p := must(t, transfer.Options{}, j)
			want := map[string]int{"POST app/blobs/uploads/?from=app": 8, "PUT app/blobs/upload": 8, "PUT app/manifests/DIGEST": 8, "PUT app/manifests/" + c.tag: 1}
			if c.heads > 0 {
				want["HEAD app/manifests/"+c.tag] = c.heads
			}
			y.want(want)
			if ops(p) != "9 skip 0 mount 16 put 1 tag" {
				t.Error(ops(p))
			}
			wantTag(t, repo(t, h.Catalog, "app"), c.tag, edited.Root.Digest)
			wantSame(t, repo(t, h.Catalog, "app"), edited)
			y = h.tally(t)
			j = job(compose(edited, part{old, y.repo("app")}), "", y.repo("app"), c.tag)
			must(t, transfer.Options{}, j)
			y.want(map[string]int{"HEAD app/manifests/" + c.tag: 1}) // there is nothing to do
		})
	}
}

// One platform of an index is edited, the others stay as they are.
func TestRequestsEditOneChild(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		a = layer 1000
		b = layer 1000
		x = image a b
		y = image a b platform=linux/arm64
		z = image a b platform=linux/arm64/v9
		old = index x y
		new = index x z
	`)
	h := newHost(t)
	push(t, repo(t, h.Catalog, "app"), w.Fixture("old"), "v1")
	y := h.tally(t)
	p := must(t, transfer.Options{}, job(compose(w.Fixture("new"), part{w.Fixture("old"), y.repo("app")}), "", y.repo("app"), "v1"))
	y.want(map[string]int{"HEAD app/manifests/v1": 1, "POST app/blobs/uploads/?from=app": 1, "PUT app/blobs/upload": 1,
		"PUT app/manifests/DIGEST": 1, "PUT app/manifests/v1": 1})
	if ops(p) != "3 skip 0 mount 2 put 1 tag" { // two layers and the child that stays
		t.Error(ops(p))
	}
	// Into another repository the child that stays goes with all it has.
	y = h.tally(t)
	p = must(t, transfer.Options{}, job(compose(w.Fixture("new"), part{w.Fixture("old"), y.repo("app")}), "", y.repo("copy"), "v1"))
	if ops(p) != "0 skip 3 mount 3 put 1 tag" {
		t.Error(ops(p))
	}
	y.want(map[string]int{"HEAD copy/manifests/v1": 1, "GET copy/tags/list": 1, "POST copy/blobs/uploads/?from=app": 3, "POST copy/blobs/uploads/?from=copy": 1,
		"PUT copy/blobs/upload": 1, "PUT copy/manifests/DIGEST": 2, "PUT copy/manifests/v1": 1})
	wantSame(t, repo(t, h.Catalog, "copy"), w.Fixture("new"))
}

// rebased is an application moved from one base to another.
func rebased(t *testing.T) (app, base, out ocitest.Fixture) {
	w := ocitest.Symbols(t, `
		shared = layer 2000000
		old    = layer 2000000
		new1   = layer 2000000
		new2   = layer 300
		own    = layer 5000
		app    = image shared old own
		base   = image shared new1 new2
		out    = image shared new1 new2 own
	`)
	return w.Fixture("app"), w.Fixture("base"), w.Fixture("out")
}

func TestRequestsRebase(t *testing.T) {
	t.Parallel()
	app, base, out := rebased(t)
	h := newHost(t)
	push(t, repo(t, h.Catalog, "app"), app, "v1")
	push(t, repo(t, h.Catalog, "base"), base, "v1")
	y := h.tally(t)
	j := job(compose(out, part{app, y.repo("app")}, part{base, y.repo("base")}), "", y.repo("app"), "v1")
	j.Expect = app.Root.Digest
	p := must(t, transfer.Options{}, j)
	y.want(map[string]int{"HEAD app/manifests/v1": 1, "POST app/blobs/uploads/?from=base": 2, "POST app/blobs/uploads/?from=app": 1,
		"PUT app/blobs/upload": 1, "PUT app/manifests/v1": 1})
	if ops(p) != "2 skip 2 mount 1 put 1 tag" {
		t.Error(ops(p))
	}
	wantSame(t, repo(t, h.Catalog, "app"), out)

	// Into a third repository, each layer comes from its own.
	y = h.tally(t)
	must(t, transfer.Options{}, job(compose(out, part{app, y.repo("app")}, part{base, y.repo("base")}), "", y.repo("other"), "v1"))
	y.want(map[string]int{"HEAD other/manifests/v1": 1, "POST other/blobs/uploads/?from=base": 2, "POST other/blobs/uploads/?from=app": 2,
		"POST other/blobs/uploads/?from=other": 1, "PUT other/blobs/upload": 1, "PUT other/manifests/v1": 1})
	wantSame(t, repo(t, h.Catalog, "other"), out)

	// Onto a base at another host: what that has moves, the rest is there.
	far, near := newHost(t), newHost(t)
	push(t, repo(t, near.Catalog, "app"), app, "v1")
	push(t, repo(t, far.Catalog, "app"), base, "v1") // of the same name
	y, z := near.tally(t), far.tally(t)
	p = must(t, transfer.Options{}, job(compose(out, part{app, y.repo("app")}, part{base, z.repo("app")}), "", y.repo("app"), "v1"))
	z.want(map[string]int{})
	y.want(map[string]int{"HEAD app/manifests/v1": 1, "HEAD app/blobs/DIGEST": 2, "POST app/blobs/uploads/": 2,
		"POST app/blobs/uploads/?from=app": 1, "PUT app/blobs/upload": 3, "PUT app/manifests/v1": 1})
	if ops(p) != "2 skip 0 mount 3 put 1 tag" {
		t.Error(ops(p))
	}
}

// A large layer that was made is asked for: an earlier run may have sent it.
func TestRequestsMadeLayer(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, "base = layer 1000\nbig = layer 2000000\nold = image base\nnew = image base big")
	old, out := w.Fixture("old"), w.Fixture("new")
	for _, there := range []bool{false, true} {
		h := newHost(t)
		push(t, repo(t, h.Catalog, "app"), old, "v1")
		want := map[string]int{"HEAD app/manifests/v2": 1, "HEAD app/blobs/DIGEST": 1, "POST app/blobs/uploads/?from=app": 1, "POST app/blobs/uploads/": 1,
			"PUT app/blobs/upload": 2, "PUT app/manifests/v2": 1}
		steps := "1 skip 0 mount 2 put 1 tag"
		if there {
			put(t, repo(t, h.Catalog, "app"), out.Layers()[1])
			delete(want, "POST app/blobs/uploads/")
			want["PUT app/blobs/upload"]--
			steps = "2 skip 0 mount 1 put 1 tag"
		}
		y := h.tally(t)
		app := y.repo("app")
		if _, err := app.Resolve(t.Context(), "v1"); err != nil { // as an edit does
			t.Fatal(err)
		}
		want["HEAD app/manifests/v1"] = 1
		p := must(t, transfer.Options{}, job(compose(out, part{old, app}), "", app, "v2"))
		y.want(want)
		if ops(p) != steps {
			t.Error(ops(p))
		}
		wantSame(t, repo(t, h.Catalog, "app"), out)
	}
}

// What was made once is sent once a host, however many repositories want it.
func TestRequestsMadeForMany(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, "small = layer 1000\nbig = layer 2000000\nnew = image small big")
	out := w.Fixture("new")
	h := newHost(t)
	y := h.tally(t)
	c := compose(out)
	p := must(t, transfer.Options{}, job(c, "", y.repo("a"), "v1"), job(c, "", y.repo("b"), "v1"))
	if ops(p) != "0 skip 3 mount 3 put 2 tag" {
		t.Error(ops(p))
	}
	y.want(map[string]int{"HEAD a/manifests/v1": 1, "HEAD b/manifests/v1": 1, "GET a/tags/list": 1,
		"POST a/blobs/uploads/?from=a": 3, "PUT a/blobs/upload": 3, "POST b/blobs/uploads/?from=a": 3,
		"PUT a/manifests/v1": 1, "PUT b/manifests/v1": 1})
	wantSame(t, repo(t, h.Catalog, "b"), out)
}

// A tag is given within a repository: nothing is asked about what it means.
func TestRequestsRetag(t *testing.T) {
	t.Parallel()
	f := fleet{newHost(t), nil}
	f.to = f.from
	idx := eight(t, "a")
	push(t, repo(t, f.from, "app"), idx, "v1")
	y := f.from.tally(t)
	j := job(y.repo("app").ForReading(), "v1", y.repo("app").ForWriting(), "v2")
	must(t, transfer.Options{}, j)
	y.want(map[string]int{"HEAD app/manifests/v1": 1, "HEAD app/manifests/v2": 1, "GET app/manifests/DIGEST": 9, "PUT app/manifests/v2": 1})
	wantTag(t, repo(t, f.from, "app"), "v2", idx.Root.Digest)
}

// A platform of an index, in the same repository: the smaller index is not there.
func TestNarrowedInPlace(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, "a = layer 1000\nx = image a\ny = image a platform=linux/arm64\nz = image a platform=linux/s390x\nall = index x y z")
	for _, tag := range []string{"v2", ""} {
		c := mem.New()
		s := repo(t, c, "app")
		push(t, s, w.Fixture("all"), "v1")
		p := must(t, transfer.Options{Platforms: platforms(t, "linux/amd64", "linux/arm64")}, job(s, "v1", s, tag))
		if _, err := s.Stat(t.Context(), oci.Descriptor{MediaType: oci.MediaIndex, Digest: p.Images[0].Digest}); err != nil {
			t.Error(err)
		}
	}
}

// Parts that are composite themselves are asked in turn.
func TestCompositeOfComposites(t *testing.T) {
	t.Parallel()
	app, base, out := rebased(t)
	c := mem.New()
	a, b := repo(t, c, "app"), repo(t, c, "base")
	push(t, a, app, "v1")
	push(t, b, base, "v1")
	inner := compose(out, part{app, a}, part{base, b})
	outer := &composite{out, map[oci.Digest]oci.Source{}}
	for _, x := range out.Blobs {
		outer.parts[x.Descriptor().Digest] = inner
	}
	p := must(t, transfer.Options{}, job(outer, "", a, "v2"))
	if ops(p) != "2 skip 2 mount 1 put 1 tag" {
		t.Error(ops(p))
	}
	wantSame(t, a, out)
}

// A foreign layer of the destination's own image is in no repository.
func TestCompositeForeign(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, "win = layer 1000 foreign\nown = layer 1000\nold = image win\nnew = image win own")
	old, out := w.Fixture("old"), w.Fixture("new")
	for _, copyThem := range []bool{false, true} {
		s := repo(t, mem.New(), "app")
		for _, b := range old.Blobs {
			if b.Descriptor().MediaType != oci.MediaDockerForeign {
				put(t, s, b)
			}
		}
		p := must(t, transfer.Options{Foreign: copyThem}, job(compose(out, part{old, s}), "", s, "v1"))
		want := "1 skip 0 mount 2 put 1 tag"
		if copyThem {
			want = "0 skip 0 mount 3 put 1 tag"
		}
		if ops(p) != want {
			t.Errorf("copied %v: %s", copyThem, ops(p))
		}
		_, err := s.Stat(t.Context(), out.Layers()[0].Descriptor())
		if (err == nil) != copyThem {
			t.Error(err)
		}
	}
}

// The part that is the destination has lost a layer, which the source still
// has. The registry says so, and it is put.
func TestBad_052_PartLostALayer(t *testing.T) {
	t.Parallel()
	app, base, out := rebased(t)
	h := newHost(t)
	push(t, repo(t, h.Catalog, "app"), app, "v1")
	push(t, repo(t, h.Catalog, "base"), base, "v1")
	if err := repo(t, h.Catalog, "app").(oci.Deleter).Delete(t.Context(), out.Layers()[0].Descriptor()); err != nil {
		t.Fatal(err)
	}
	y := h.tally(t)
	must(t, transfer.Options{}, job(compose(out, part{app, y.repo("app")}, part{base, y.repo("base")}), "", y.repo("app"), "v1"))
	wantSame(t, repo(t, h.Catalog, "app"), out)
}
