// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

func platformsOf(t *testing.T, names ...string) (out []oci.Platform) {
	t.Helper()
	for _, s := range names {
		p, err := oci.ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// What is wrong is found out before anything is written.
func TestBuildWritesNothingIfWrong(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	one := h.put("base:one", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	one.Platform = &oci.Platform{OS: "linux", Architecture: "amd64"}
	other := h.put("base:other", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian[:1]...)}})
	other.Platform = one.Platform
	h.put("base:docker", imageOf{platform: "linux/amd64", docker: true, layers: [][]byte{tarOf(t, debian...)}})
	h.putIndex("base:twice", one, other)
	h.putIndex("base:nested", h.index("base", "1").Descriptor)
	h.putIndex("base:nothing")
	art := ocitest.Artifact(1, "application/x", nil)
	if err := art.Push(t.Context(), h.repo("base"), "artifact"); err != nil {
		t.Fatal(err)
	}
	unnamed := art.Root
	unnamed.ArtifactType = ""
	h.putIndex("base:artifacts", unnamed)
	for _, c := range []struct {
		name string
		kind error
		text string
		from []string
		do   func(j *dray.BuildJob, o *dray.BuildOptions)
	}{
		{"no such base", oci.ErrNotFound, "base " + h.name + "/none:1", []string{"none:1"}, nil},
		{"artifact", oci.ErrUnsupported, "artifact", []string{"base:artifact"}, nil},
		{"index of artifacts", oci.ErrInvalid, "an index without images", []string{"base:artifacts"}, nil},
		{"empty index", oci.ErrInvalid, "an index without images", []string{"base:nothing"}, nil},
		{"index of indexes", oci.ErrUnsupported, "another index", []string{"base:nested"}, nil},
		{"a platform twice", oci.ErrInvalid, "two images would be for linux/amd64", []string{"base:twice"}, nil},
		{"a base twice", oci.ErrInvalid, "two images would be for linux/amd64", []string{"base:one", "base:one"}, nil},
		{"a platform that is not there", oci.ErrNotFound, "no image for linux/s390x; there is linux/amd64, linux/arm64", []string{"base:1"},
			func(j *dray.BuildJob, _ *dray.BuildOptions) { j.Want.Platforms = platformsOf(t, "linux/s390x") }},
		{"scratch without platform", oci.ErrInvalid, "say which are to be built", nil, nil},
		{"scratch and more", oci.ErrInvalid, "goes with no other base", []string{"base:1"}, func(j *dray.BuildJob, _ *dray.BuildOptions) { j.Want.From = append(j.Want.From, build.Scratch) }},
		{"no static base", oci.ErrUnsupported, build.Static, nil, func(j *dray.BuildJob, _ *dray.BuildOptions) {
			j.Want = build.Want{From: []string{build.Static}, Platforms: platformsOf(t, "linux/amd64")}
		}},
		{"target", oci.ErrInvalid, "Upper", []string{"base:1"}, func(j *dray.BuildJob, _ *dray.BuildOptions) { j.Targets = append(j.Targets, h.name+"/Upper:1") }},
		{"media types", oci.ErrInvalid, "want oci or docker", []string{"base:1"}, func(_ *dray.BuildJob, o *dray.BuildOptions) { o.MediaTypes = "schema1" }},
		{"annotation of Docker's", edit.ErrNoAnnotations, "", []string{"base:docker"}, func(j *dray.BuildJob, _ *dray.BuildOptions) { j.Changes = []edit.Edit{edit.SetAnnotation("a", "b")} }},
		{"index of one", oci.ErrInvalid, "a single image, not an index", []string{"base:one"}, func(j *dray.BuildJob, _ *dray.BuildOptions) { j.Index = []edit.IndexEdit{edit.AnnotateIndex("a", "b")} }},
		{"two platforms in a docker-archive", oci.ErrUnsupported, "choose one --platform", []string{"base:1"}, func(j *dray.BuildJob, _ *dray.BuildOptions) {
			j.Targets = append(j.Targets, "docker-archive:"+t.TempDir()+"/x.tar")
		}},
		{"documents", nil, "no ink", []string{"base:1"}, func(_ *dray.BuildJob, o *dray.BuildOptions) { o.Attestors = []build.Attestor{notary{}} }},
		{"documents of a job", nil, "no ink", []string{"base:1"}, func(j *dray.BuildJob, _ *dray.BuildOptions) { j.Attestors = []build.Attestor{notary{}} }},
		{"one platform fails", nil, "linux/arm64: it hurts", []string{"base:1"}, func(j *dray.BuildJob, _ *dray.BuildOptions) {
			j.Builder.(*plain).before = func(p build.Target) error {
				if p.Platform.Architecture == "arm64" {
					return errors.New("it hurts")
				}
				return nil
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, o := h.job("x", "app:1", c.from...), dray.BuildOptions{}
			if c.do != nil {
				c.do(&j, &o)
			}
			h.requests()
			_, err := built(t, dray.Env{}, o, j)
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v; want %v about %q", err, c.kind, c.text)
			}
			if seen, sent := h.requests(); sent > 0 || slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "P") }) {
				t.Errorf("%d bytes: %q", sent, seen)
			}
		})
	}
	if _, err := built(t, dray.Env{}, dray.BuildOptions{}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("no jobs: %v", err)
	}
	jobs := []dray.BuildJob{h.job("x", "app:1", "base:1"), h.job("y", "app:1", "base:1")}
	h.requests()
	if _, err := built(t, dray.Env{}, dray.BuildOptions{}, jobs...); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "at once") {
		t.Errorf("two builds of one name: %v", err)
	}
	if seen, sent := h.requests(); sent > 0 {
		t.Errorf("%d bytes: %q", sent, seen)
	}
}

// The media types that are wanted are there before the changes that need them, and
// the base is named.
func TestBuildMediaTypes(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	base := h.put("base:docker", imageOf{platform: "linux/amd64", docker: true, layers: [][]byte{tarOf(t, debian...)}})
	j := h.job("x", "app:oci", "base:docker")
	j.Changes = []edit.Edit{edit.SetAnnotation("a", "b")}
	o := dray.BuildOptions{}
	o.MediaTypes = "oci"
	mustBuild(t, dray.Env{}, o, j)
	m := h.read("app", "oci").Manifest
	if m.Descriptor.MediaType != oci.MediaManifest || m.Annotations["a"] != "b" || m.Annotations["org.opencontainers.image.base.digest"] != string(base.Digest) {
		t.Errorf("%+v", m)
	}
	h.validated("app:oci")
	mustBuild(t, dray.Env{}, dray.BuildOptions{}, h.job("x", "app:docker", "base:docker"))
	if m := h.read("app", "docker").Manifest; m.Descriptor.MediaType != oci.MediaDockerManifest || len(m.Annotations) > 0 || m.Layers[1].MediaType != oci.MediaDockerLayer {
		t.Errorf("%+v", m)
	}
	h.validated("app:docker")
	o.MediaTypes = "docker"
	j = h.job("x", "app:scratch")
	j.Want.Platforms = platformsOf(t, "linux/amd64", "linux/arm64")
	mustBuild(t, dray.Env{}, o, j)
	if x := h.index("app", "scratch"); x.Descriptor.MediaType != oci.MediaDockerList || x.Manifests[0].MediaType != oci.MediaDockerManifest {
		t.Errorf("%+v", x)
	}
	h.validated("app:scratch")
}

// An index says of its images what that of the base said: also what the configs do
// not, unless the user has changed them.
func TestBuildPlatforms(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	var list []oci.Descriptor
	for n, p := range []oci.Platform{
		{OS: "linux", Architecture: "arm64", Variant: "v8"},
		{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.1", OSFeatures: []string{"win32k"}},
		{OS: "linux", Architecture: "arm", Variant: "v6"},
	} {
		layer := tarFile{name: "etc/n", text: string(rune('a' + n))}
		if p.OS == "windows" {
			layer.name = "Files/n"
		}
		d := h.put("base:part", imageOf{platform: p.OS + "/" + p.Architecture, layers: [][]byte{tarOf(t, layer)}})
		d.Platform = &p
		list = append(list, d)
	}
	h.putIndex("base:1", append(list, list[0])...) // an entry twice says nothing more
	said := func(tag string) (all []string) {
		for _, d := range h.index("app", tag).Manifests {
			all = append(all, oci.FormatPlatform(*d.Platform)+" "+strings.Join(d.Platform.OSFeatures, ","))
		}
		return all
	}
	mustBuild(t, dray.Env{}, dray.BuildOptions{}, h.job("x", "app:1", "base:1"))
	if got, want := said("1"), []string{"linux/arm64/v8 ", "windows/amd64:10.0.20348.1 win32k", "linux/arm/v6 "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	j := h.job("x", "app:2", "base:1")
	v7 := oci.Platform{OS: "linux", Architecture: "arm", Variant: "v5"}
	j.Changes = []edit.Edit{edit.On(oci.Platform{OS: "linux", Architecture: "arm"}, edit.SetPlatform(v7))}
	mustBuild(t, dray.Env{}, dray.BuildOptions{}, j)
	if got, want := said("2"), []string{"linux/arm64/v8 ", "windows/amd64:10.0.20348.1 win32k", "linux/arm/v5 "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	// Of an entry without a platform the config knows it.
	for n := range list {
		list[n].Platform = nil
	}
	h.putIndex("base:bare", list...)
	j = h.job("x", "app:bare", "base:bare")
	j.Want.Platforms = platformsOf(t, "linux/arm64", "windows/amd64")
	mustBuild(t, dray.Env{}, dray.BuildOptions{}, j)
	if got, want := said("bare"), []string{"linux/arm64 ", "windows/amd64 "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What is made of nothing does not say when, unless it is told.
func TestBuildFromScratch(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	at := time.Unix(1.7e9, 0)
	for _, c := range []struct {
		o    dray.BuildOptions
		want string
	}{{dray.BuildOptions{}, ""}, {dray.BuildOptions{Created: at}, `"2023-11-14T22:13:20Z"`}} {
		j := h.job("x", "app:1")
		j.Want.Platforms = platformsOf(t, "linux/amd64")
		mustBuild(t, dray.Env{}, c.o, j)
		i := h.read("app", "1")
		if i.Manifest.Annotations != nil || len(i.History) != 1 || len(i.Layers()) != 1 {
			t.Errorf("%+v", i)
		}
		raw, err := oci.ReadAll(t.Context(), h.repo("app"), *i.Manifest.Config, oci.MaxConfig)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(raw), `"created":`+c.want); c.want == "" && strings.Contains(string(raw), `"created":`) || c.want != "" && n != 2 {
			t.Errorf("%s", raw)
		}
		h.validated("app:1")
	}
}

// A name that is given twice is one, several names are written each, and the image
// is made once.
func TestBuildTargets(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	j := h.job("x", "app:1", "base:1")
	made := make(chan string, 10)
	j.Builder.(*plain).before = func(p build.Target) error { made <- oci.FormatPlatform(p.Platform); return nil }
	j.Name = "web"
	j.Targets = append(j.Targets, j.Targets[0], h.name+"/app:2", h.name+"/mirror/app:1", "oci:"+t.TempDir()+":x")
	was := slices.Clone(j.Targets)
	b := mustBuild(t, dray.Env{}, dray.BuildOptions{}, j)
	if got := b.Builds[0]; len(made) != 2 || got.Name != "web" || len(got.Targets) != 4 || len(b.Images) != 4 || !slices.Equal(j.Targets, was) {
		t.Errorf("%d made, %+v, %+v", len(made), got, b.Images)
	}
	for _, name := range []string{"app:1", "app:2", "mirror/app:1"} {
		h.validated(name)
	}
	if err := b.Run(t.Context()); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a second time: %v", err)
	}
}

// What builders fetch from elsewhere comes without credentials, as it is sent, and
// from nobody who would leave https.
func TestBuildPlainHTTP(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	j := h.job("x", "")
	j.Want.Platforms = platformsOf(t, "linux/amd64")
	var engine *build.Engine
	j.Builder = &probing{plain: j.Builder.(*plain), engine: &engine}
	if b := mustBuild(t, dray.Env{}, dray.BuildOptions{}, j); len(b.Images) != 0 || b.Builds[0].Root.Digest == "" {
		t.Errorf("%+v", b)
	}
	c := engine.Options().HTTP
	secure, open := httptest.NewRequest("GET", "https://a.example/x", nil), httptest.NewRequest("GET", "http://a.example/x", nil)
	for _, x := range []struct {
		to   string
		via  int
		from string
		bad  bool
	}{{"https", 1, "https", false}, {"http", 1, "http", false}, {"https", 1, "http", false}, {"http", 1, "https", true}, {"https", 10, "https", true}} {
		to, from := secure, secure
		if x.to == "http" {
			to = open
		}
		if x.from == "http" {
			from = open
		}
		if err := c.CheckRedirect(to, slices.Repeat([]*http.Request{from}, x.via)); (err != nil) != x.bad {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

// probing shows the engine of a build.
type probing struct {
	*plain
	engine **build.Engine
}

func (p *probing) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	*p.engine = e
	return p.plain.Build(ctx, e, t)
}
