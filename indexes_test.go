// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/indexspec"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// A dock is a registry that counts its requests by kind, in which digests are
// called DIGEST.
type dock struct {
	*mem.Catalog
	t    *testing.T
	addr string

	mu   sync.Mutex
	seen map[string]int
	hook func(w http.ResponseWriter, r *http.Request) bool // true: answered
}

var (
	inPath  = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	session = regexp.MustCompile(`uploads/\w+$`)
)

func newDock(t *testing.T) *dock {
	d := &dock{Catalog: mem.New(), t: t, seen: map[string]int{}}
	h := serve.New(d.Catalog, serve.Options{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := session.ReplaceAllString(inPath.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/v2/"), "DIGEST"), "upload")
		if from := r.URL.Query().Get("from"); from != "" {
			path += " from " + from
		}
		d.mu.Lock()
		d.seen[r.Method+" "+path]++
		hook := d.hook
		d.mu.Unlock()
		if hook == nil || !hook(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	d.addr = strings.TrimPrefix(s.URL, "http://")
	return d
}

func (d *dock) push(repository string, f ocitest.Fixture, tags ...string) string {
	d.t.Helper()
	st, err := d.Repository(d.t.Context(), repository)
	if err == nil {
		err = f.Push(d.t.Context(), st, tags...)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return d.addr + "/" + repository + ":" + tags[0]
}

// want compares the requests since the last call.
func (d *dock) want(want map[string]int) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(d.seen)) {
		if d.seen[k] != want[k] {
			d.t.Errorf("%s: %d times, want %d", k, d.seen[k], want[k])
		}
	}
	for k, n := range want {
		if d.seen[k] == 0 {
			d.t.Errorf("%s: never, want %d", k, n)
		}
	}
	d.seen = map[string]int{}
}

// list is what an index says of platforms, "att" for attestations.
func (d *dock) list(repository, tag string) string {
	d.t.Helper()
	st, err := d.Repository(d.t.Context(), repository)
	if err != nil {
		d.t.Fatal(err)
	}
	m, err := oci.Get(d.t.Context(), st, tag)
	if err != nil {
		d.t.Fatal(err)
	}
	tree, err := oci.Graph{Root: m.Descriptor, Source: st}.Load(d.t.Context(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, b := range tree.Blobs {
		if _, err := st.Stat(d.t.Context(), b); err != nil {
			d.t.Error(err)
		}
	}
	var out []string
	for _, x := range m.Manifests {
		switch {
		case x.Annotations[oci.AnnotationAbout] != "":
			out = append(out, "att")
		case x.Platform != nil:
			out = append(out, oci.FormatPlatform(*x.Platform))
		default:
			out = append(out, "-")
		}
	}
	return strings.Join(out, " ")
}

// done runs an edit.
func done(t *testing.T, work func(context.Context, *dray.Client) (*dray.Edited, error)) *dray.Edited {
	t.Helper()
	c := dray.New(dray.Env{})
	defer c.Close()
	e, err := work(t.Context(), c)
	if err == nil {
		err = e.Run(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func to(names ...string) (o dray.IndexOptions) {
	o.Targets = names
	return o
}

func only(t *testing.T, list ...string) (c edit.Choice) {
	for _, s := range list {
		p, err := edit.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Platforms = append(c.Platforms, p)
	}
	return c
}

// Three images for platforms, the names of all of them, and an index with an
// attestation.
const images = `
	base = layer 1000
	amd  = image base
	arm  = image base platform=linux/arm64
	win  = image base platform=windows/amd64
	all  = index amd arm win
`

// An image that is in the repository costs a GET of its manifest and one of its
// config, and nothing else.
func TestRequestsIndexCreate(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, images)
	d := newDock(t)
	a, b := d.push("app", w.Fixture("amd"), "amd"), d.push("app", w.Fixture("arm"), "arm")
	x := d.addr + "/app:all"
	done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		return c.CreateIndex(ctx, []dray.Child{{Name: a}, {Name: b}}, to(x))
	})
	d.want(map[string]int{"GET app/manifests/amd": 1, "GET app/manifests/arm": 1, "GET app/blobs/DIGEST": 2,
		"HEAD app/manifests/all": 1, "PUT app/manifests/all": 1})
	if got := d.list("app", "all"); got != "linux/amd64 linux/arm64" {
		t.Error(got)
	}

	// From another repository of the host it is mounted, and what is in the index
	// already is read once, without configs.
	e := d.push("win", w.Fixture("win"), "1")
	done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		return c.AddToIndex(ctx, x, []dray.Child{{Name: e}}, dray.IndexOptions{})
	})
	d.want(map[string]int{"GET app/manifests/all": 1, "GET app/manifests/DIGEST": 2, "GET win/manifests/1": 1, "GET win/blobs/DIGEST": 1,
		"HEAD app/manifests/all": 1, "HEAD app/manifests/DIGEST": 1, "POST app/blobs/uploads/ from win": 1, "PUT app/manifests/DIGEST": 1, "PUT app/manifests/all": 1})
	if got := d.list("app", "all"); got != "linux/amd64 linux/arm64 windows/amd64" {
		t.Error(got)
	}
}

// What a filter takes out is not read.
func TestRequestsIndexFilter(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, images)
	d := newDock(t)
	x := d.push("app", w.Fixture("all"), "1")
	done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		return c.FilterIndex(ctx, x, only(t, "linux/arm64"), dray.EditOptions{})
	})
	d.want(map[string]int{"GET app/manifests/1": 1, "GET app/manifests/DIGEST": 1, "HEAD app/manifests/1": 1, "PUT app/manifests/1": 1})
	if got := d.list("app", "1"); got != "linux/arm64" {
		t.Error(got)
	}
	c := dray.New(dray.Env{})
	defer c.Close()
	d.want(map[string]int{})
	if _, err := c.FilterIndex(t.Context(), x, only(t, "plan9"), dray.EditOptions{}); !errors.Is(err, oci.ErrNotFound) {
		t.Error(err)
	}
	if _, err := c.RemoveFromIndex(t.Context(), x, only(t, "linux"), nil, dray.EditOptions{}); !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
	d.want(map[string]int{"GET app/manifests/1": 2})
}

// Peers want all components at the registry of the index.
func TestIndexOfManyRegistries(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, images)
	near, far := newDock(t), newDock(t)
	children := []dray.Child{{Name: near.push("a", w.Fixture("amd"), "1")}, {Name: far.push("b", w.Fixture("arm"), "1")}, {Name: far.push("c", w.Fixture("win"), "1"),
		Platform: &oci.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1.2"}, Annotations: map[string]string{"k": "v"}}}
	o := to(near.addr+"/app:1", near.addr+"/app:latest")
	o.Annotations = map[string]string{"vendor": "Acme"}
	e := done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		return c.CreateIndex(ctx, children, o)
	})
	for _, tag := range []string{"1", "latest"} {
		if got := near.list("app", tag); got != "linux/amd64 linux/arm64 windows/amd64:10.0.1.2" {
			t.Error(got)
		}
	}
	c := dray.New(dray.Env{})
	defer c.Close()
	l, err := c.ListIndex(t.Context(), near.addr+"/app:1", dray.Side{})
	if err != nil || l.Digest != e.Root.Digest || l.Annotations["vendor"] != "Acme" || l.Manifests[2].Annotations["k"] != "v" {
		t.Errorf("%+v, %v", l, err)
	}
}

// Entries without a platform are asked for theirs.
func TestIndexWithoutPlatforms(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, images)
	d := newDock(t)
	all := w.Fixture("all")
	m, err := oci.ParseManifest("", read(t, all, all.Root.Digest))
	if err != nil {
		t.Fatal(err)
	}
	bare := regexp.MustCompile(`,"platform":\{[^}]*\}`).ReplaceAll(m.Raw, nil)
	root := oci.Bytes(oci.MediaIndex, bare)
	all.Root, all.Blobs = root.Descriptor(), append(all.Blobs, root)
	x := d.push("app", all, "1")
	done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		o := dray.EditOptions{Targets: []string{d.addr + "/app:2"}}
		return c.FilterIndex(ctx, x, only(t, "linux"), o)
	})
	if got := d.list("app", "2"); got != "- -" { // what stays keeps its bytes
		t.Error(got)
	}
	done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		return c.CreateIndex(ctx, []dray.Child{{Name: x}}, to(d.addr+"/app:3"))
	})
	if got := d.list("app", "3"); got != "linux/amd64 linux/arm64 windows/amd64" {
		t.Error(got)
	}
}

func read(t *testing.T, f ocitest.Fixture, d oci.Digest) []byte {
	t.Helper()
	st, err := mem.New().Repository(t.Context(), "x")
	if err == nil {
		err = f.Push(t.Context(), st)
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := oci.ReadAll(t.Context(), st, oci.Descriptor{MediaType: f.Blob(d).Descriptor().MediaType, Digest: d, Size: f.Blob(d).Descriptor().Size}, oci.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A peer leaves out what it may not read as if it were not there.
func TestIgnoreMissingIsNotIgnoreRefused(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, images)
	d := newDock(t)
	here := d.push("app", w.Fixture("amd"), "amd")
	d.push("secret", w.Fixture("arm"), "1")
	broken := ocitest.Fixture{Root: w.Fixture("arm").Root, Blobs: []oci.Blob{w.Fixture("arm").Blob(w.Fixture("arm").Root.Digest)}}
	d.Sparse = true
	d.push("broken", broken, "1")
	for code, want := range map[int]error{http.StatusUnauthorized: oci.ErrUnauthorized, http.StatusForbidden: oci.ErrDenied, http.StatusNotFound: nil} {
		d.mu.Lock()
		d.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if refused := strings.HasPrefix(r.URL.Path, "/v2/secret/"); !refused {
				return false
			}
			w.WriteHeader(code)
			return true
		}
		d.mu.Unlock()
		o := to(d.addr + "/app:1")
		o.IgnoreMissing = true
		c := dray.New(dray.Env{})
		e, err := c.CreateIndex(t.Context(), []dray.Child{{Name: here}, {Name: d.addr + "/secret:1"}}, o)
		if !errors.Is(err, want) {
			t.Errorf("%d: %v", code, err)
		}
		if want == nil && (len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "secret:1 is not there")) {
			t.Errorf("%q", e.Notes)
		}
		for _, list := range [][]dray.Child{{{Name: d.addr + "/none:1"}}, {{Name: here}, {Name: d.addr + "/broken:1"}}} { // nothing is left; an image without its config is there
			if _, err := c.CreateIndex(t.Context(), list, o); !errors.Is(err, oci.ErrNotFound) {
				t.Errorf("%v: %v", list, err)
			}
		}
		o.IgnoreMissing = false
		if _, err := c.CreateIndex(t.Context(), []dray.Child{{Name: here}, {Name: d.addr + "/none:1"}}, o); !errors.Is(err, oci.ErrNotFound) {
			t.Error(err)
		}
		c.Close()
	}
}

func TestIndexOfSpec(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, images)
	d := newDock(t)
	d.push("app", w.Fixture("all"), "src")
	d.push("app", w.Fixture("amd"), "amd64")
	text := fmt.Sprintf(`
image: %[1]s/app:1
tags: [1.10]
annotations: {a: b}
manifests:
- {image: "%[1]s/app:amd64", platform: {os: linux, architecture: amd64, variant: v3}}
- {image: "%[1]s/app:src", platform: {os: linux, architecture: arm64}}
- {image: "%[1]s/app:src", platform: {os: linux, architecture: amd64}}
`, d.addr)
	s, err := indexspec.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	done(t, func(ctx context.Context, c *dray.Client) (*dray.Edited, error) {
		return c.CreateIndexOf(ctx, s, dray.IndexOptions{})
	})
	for _, tag := range []string{"1", "1.10"} { // of the index, the platforms that were asked for
		if got := d.list("app", tag); got != "linux/amd64/v3 linux/arm64 linux/amd64" {
			t.Error(got)
		}
	}
	s.Tags = []string{"../x"}
	c := dray.New(dray.Env{})
	defer c.Close()
	if _, err := c.CreateIndexOf(t.Context(), s, dray.IndexOptions{}); !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
}
