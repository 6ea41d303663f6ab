// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/attest"
	"github.com/dray-tools/dray/build/static"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A site is a builder of a directory on the base that dray makes.
type site struct{ in *input.Input }

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &site{input.Dir(dir, "/srv", layer.CreateOptions{})}
}

func (*site) Name() string { return "site" }

func (*site) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	return e.Targets(ctx, want, build.Default{From: build.Static})
}

func (b *site) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	s, err := e.Stack(ctx, t.Base)
	if err == nil {
		_, err = s.Add(ctx, b.in, build.AddOptions{})
	}
	return s, err
}

// attached builds a site for two platforms, with bills of materials and
// provenance.
func attached(t *testing.T, cache string, o dray.BuildOptions, b build.Builder, targets ...string) (*dray.Built, error) {
	t.Helper()
	base, err := static.New(static.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Static = base.Put
	if o.Attestors == nil {
		o.Attestors = []build.Attestor{attest.Bill{Format: attest.SPDX, Known: true}, attest.Provenance{}}
	}
	platforms := []oci.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	if len(targets) > 0 && strings.HasPrefix(targets[0], "docker-archive:") {
		platforms = platforms[:1]
	}
	c := newClient(t, dray.Env{CacheDir: cache})
	built, err := c.Build(t.Context(), []dray.BuildJob{{Builder: b, Targets: targets, Want: build.Want{Platforms: platforms}}}, o)
	if err == nil {
		err = built.Run(t.Context())
	}
	return built, err
}

// referrersOf are the artifact types of what refers to an image and to all in it.
func referrersOf(t *testing.T, name string) (types []string) {
	t.Helper()
	_, tree, err := newClient(t, dray.Env{}).Referrers(t.Context(), name, dray.Side{}, "")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(*dray.ReferrerTree)
	walk = func(n *dray.ReferrerTree) {
		if n.ArtifactType != "" {
			types = append(types, n.ArtifactType)
		}
		for _, c := range n.Referrers {
			walk(c)
		}
	}
	walk(tree)
	slices.Sort(types)
	return types
}

var allOfSite = []string{"application/spdx+json", "application/spdx+json", "application/spdx+json", "application/vnd.in-toto+json"}

// The tag comes after all that is attached, and a build that changes nothing asks
// for the tag alone.
func TestAttachedBeforeTag(t *testing.T) {
	t.Parallel()
	h, cache, b := newCounted(t), t.TempDir(), newSite(t)
	if _, err := attached(t, cache, dray.BuildOptions{}, b, h.name+"/site:1"); err != nil {
		t.Fatal(err)
	}
	seen, _ := h.requests()
	counts := map[string]int{}
	for _, s := range seen {
		counts[s]++
	}
	// Layers of the base and the site, two configs, an empty one, four documents;
	// two images, four artifacts, the index.
	if counts["POST /site/blobs/uploads/"]+counts["POST /site/blobs/…"] != 9 || counts["PUT /site/blobs/…"] != 9 || counts["PUT /site/manifests/…"] != 6 ||
		counts["HEAD /site/manifests/1"] != 1 || len(seen) != 1+2*9+6+1 || seen[len(seen)-1] != "PUT /site/manifests/1" {
		t.Errorf("%d requests: %q", len(seen), seen)
	}
	if got := referrersOf(t, h.name+"/site:1"); !slices.Equal(got, allOfSite) {
		t.Errorf("attached: %q", got)
	}
	h.requests()
	if _, err := attached(t, cache, dray.BuildOptions{}, b, h.name+"/site:1"); err != nil {
		t.Fatal(err)
	}
	if seen, _ := h.requests(); !slices.Equal(seen, []string{"HEAD /site/manifests/1"}) {
		t.Errorf("again: %q", seen)
	}
	if _, err := attached(t, t.TempDir(), dray.BuildOptions{}, b, h.name+"/site:1"); err != nil { // another machine
		t.Fatal(err)
	}
	// Nothing is remembered there, so the artifacts are written again, as a
	// registry's list of referrers may lack them; of content nothing moves.
	if seen, _ := h.requests(); seen[0] != "HEAD /site/manifests/1" || slices.Contains(seen, "PUT /site/blobs/…") || slices.Contains(seen, "PUT /site/manifests/1") || len(seen) > 10 {
		t.Errorf("on another machine: %q", seen)
	}
}

// What was deleted is not missed, until somebody asks for it.
func TestAttachAgain(t *testing.T) {
	t.Parallel()
	h, cache, b := newCounted(t), t.TempDir(), newSite(t)
	built, err := attached(t, cache, dray.BuildOptions{}, b, h.name+"/site:1")
	if err != nil {
		t.Fatal(err)
	}
	repo := h.repo("site")
	d, ok := oci.As[oci.Deleter](repo)
	if !ok {
		t.Fatal("the store deletes nothing")
	}
	r, _ := oci.As[oci.Referrer](repo)
	for a, err := range r.Referrers(t.Context(), built.Builds[0].Root, "") {
		if err == nil {
			err = d.Delete(t.Context(), a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		again bool
		want  int
	}{{false, 2}, {true, 4}} {
		if _, err := attached(t, cache, dray.BuildOptions{AttachAgain: c.again}, b, h.name+"/site:1"); err != nil {
			t.Fatal(err)
		}
		if got := referrersOf(t, h.name+"/site:1"); len(got) != c.want {
			t.Errorf("again %v: %q", c.again, got)
		}
	}
}

type failing struct{ error }

func (f failing) Attest(context.Context, build.Subject) ([]build.Document, error) {
	return nil, f.error
}

// Where a document cannot be made, nothing is written.
func TestAttestorFails(t *testing.T) {
	t.Parallel()
	h, fail := newCounted(t), errors.New("no ink")
	o := dray.BuildOptions{Attestors: []build.Attestor{attest.Provenance{}, failing{fail}}}
	if _, err := attached(t, "", o, newSite(t), h.name+"/site:1"); !errors.Is(err, fail) {
		t.Errorf("got %v", err)
	}
	if seen, _ := h.requests(); slices.ContainsFunc(seen, func(s string) bool { return !strings.HasPrefix(s, "HEAD ") && !strings.HasPrefix(s, "GET ") }) {
		t.Errorf("requests: %q", seen)
	}
}

// Layouts hold what is attached. What cannot is named.
func TestAttachedElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	layout, archive := "oci:"+filepath.Join(dir, "layout")+":1", "docker-archive:"+filepath.Join(dir, "x.tar")+":site:1"
	built, err := attached(t, "", dray.BuildOptions{}, newSite(t), layout)
	if err != nil || len(built.Bare) != 0 {
		t.Fatalf("%v, bare %q", err, built.Bare)
	}
	if got := referrersOf(t, layout); !slices.Equal(got, allOfSite) {
		t.Errorf("attached: %q", got)
	}
	built, err = attached(t, "", dray.BuildOptions{}, newSite(t), archive)
	if err != nil || len(built.Bare) != 1 || built.Bare[0] != archive {
		t.Fatalf("%v, bare %q", err, built.Bare)
	}
	if n := len(built.Builds[0].Documents); n != 2 {
		t.Errorf("%d documents", n)
	}
}
