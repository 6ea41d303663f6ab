// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// small puts an image for a platform on the shelf; n makes it one of its own.
func (s shelf) small(platform string, n int) oci.Descriptor {
	p, err := edit.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	raw, _ := json.Marshal(p)
	config := strings.TrimSuffix(string(raw), "}") + fmt.Sprintf(`,"n":%d,"rootfs":{"type":"layers","diff_ids":[LAYERS]}}`, n)
	d := s.image(config, 1, false, "")
	d.Platform = &p
	return d
}

// multi puts an index on the shelf whose entries say the platforms of the
// children, with an attestation about each if asked for.
func (s shelf) multi(attest bool, children ...oci.Descriptor) oci.Descriptor {
	var more []string
	for _, d := range slices.Clone(children) {
		raw, _ := json.Marshal(d.Platform)
		more = append(more, fmt.Sprintf(`"platform": %s, "x-entry": 1`, raw))
	}
	for _, d := range slices.Clone(children) {
		if !attest {
			break
		}
		children = append(children, s.image(fmt.Sprintf(`{"architecture":"unknown","os":"unknown","about":%q,"rootfs":{"type":"layers","diff_ids":[LAYERS]}}`, d.Digest), 1, false, ""))
		more = append(more, fmt.Sprintf(`"platform": {"architecture":"unknown","os":"unknown"}, "annotations": {"vnd.docker.reference.digest":%q,"vnd.docker.reference.type":"attestation-manifest"}`, d.Digest))
	}
	return s.index(false, children, more...)
}

func loadIndex(t testing.TB, s oci.Source, d oci.Descriptor) *edit.Index {
	t.Helper()
	return load(t, s, d).(*edit.Index)
}

func newIndex(t testing.TB, docker bool) *edit.Index {
	t.Helper()
	x, err := edit.NewIndex(docker)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// entries shows what a sealed index lists: platforms, or what an attestation is
// about.
func entries(t testing.TB, n edit.Node) string {
	t.Helper()
	s := seal(t, n)
	m, err := oci.Fetch(t.Context(), s, s.Root)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range m.Manifests {
		switch {
		case d.Annotations[oci.AnnotationAbout] != "":
			out = append(out, "att")
		case d.Platform == nil:
			out = append(out, "-")
		default:
			out = append(out, oci.FormatPlatform(*d.Platform))
		}
	}
	return strings.Join(out, " ")
}

func take(t testing.TB, x *edit.Index, n edit.Node, o edit.TakeOptions) {
	t.Helper()
	if err := x.Take(n, o); err != nil {
		t.Fatal(err)
	}
}

func platform(t testing.TB, s string) *oci.Platform {
	t.Helper()
	p, err := edit.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// Peers take an index apart, and what its entries say of platforms with it, or
// drop the attestations, or put them at the wrong place.
func TestTakeSplices(t *testing.T) {
	t.Parallel()
	s := shelf{}
	src := s.multi(true, s.small("linux/amd64/v3", 1), s.small("windows/amd64:10.0.17763.1+win32k", 2))
	x := newIndex(t, false)
	take(t, x, load(t, s, src), edit.TakeOptions{})
	take(t, x, load(t, s, s.small("linux/arm64", 3)), edit.TakeOptions{})
	if got := entries(t, x); got != "linux/amd64/v3 windows/amd64:10.0.17763.1 att att linux/arm64" {
		t.Error(got)
	}
	sealed := seal(t, x)
	m, err := oci.Fetch(t.Context(), sealed, sealed.Root)
	if err != nil || strings.Count(string(m.Raw), `"x-entry": 1`) != 2 || m.Manifests[1].Platform.OSFeatures[0] != "win32k" {
		t.Errorf("%s, %v", m.Raw, err)
	}
}

func TestTakeNested(t *testing.T) {
	t.Parallel()
	s := shelf{}
	inner := s.multi(true, s.small("linux/amd64", 1))
	x := newIndex(t, false)
	take(t, x, load(t, s, inner), edit.TakeOptions{Nested: true, Annotations: map[string]string{"a": "b"}})
	if e := x.Entries()[0].Descriptor(); len(x.Entries()) != 1 || e.Digest != inner.Digest || e.MediaType != oci.MediaIndex || e.Platform != nil {
		t.Errorf("%+v", e)
	}
	seal(t, x)
}

// The platform of the config counts, and what is given fills in what that leaves
// open; it may not deny it.
func TestTakePlatform(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		have, give string
		want       string // "": refused
		force      bool
	}{
		{"linux/amd64", "", "linux/amd64", false},
		{"linux/amd64", "linux/amd64/v3", "linux/amd64/v3", false}, // which a peer refuses
		{"linux/arm64/v8", "linux/arm64", "linux/arm64/v8", false},
		{"linux/arm", "linux/arm/v6", "linux/arm/v6", false},
		{"linux/arm/v7", "linux/arm/v6", "", false},
		{"windows/amd64:10.0.1.2+win32k", "windows/amd64", "windows/amd64:10.0.1.2+win32k", false},
		{"windows/amd64", "windows/amd64:10.0.1.3", "windows/amd64:10.0.1.3", false},
		{"windows/amd64:10.0.1.2", "windows/amd64:10.0.1.3", "", false},
		{"linux/amd64", "linux/arm64", "", false},
		{"linux/amd64", "windows/amd64", "", false},
		{"linux/amd64", "linux/arm64/v8", "linux/arm64/v8", true},
	} {
		s := shelf{}
		x := newIndex(t, false)
		o := edit.TakeOptions{Force: c.force}
		if c.give != "" {
			o.Platform = platform(t, c.give)
		}
		err := x.Take(load(t, s, s.small(c.have, 1)), o)
		if c.want == "" {
			if !errors.Is(err, edit.ErrPlatform) || !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%s as %s: %v", c.have, c.give, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(x.Entries()[0].Descriptor().Platform)
		want, _ := json.Marshal(platform(t, c.want))
		if string(got) != string(want) {
			t.Errorf("%s as %s: %s, want %s", c.have, c.give, got, want)
		}
		seal(t, x)
	}
}

// Of an index, a platform chooses, with the attestations.
func TestTakeChooses(t *testing.T) {
	t.Parallel()
	s := shelf{}
	src := load(t, s, s.multi(true, s.small("linux/amd64", 1), s.small("linux/arm/v6", 2), s.small("linux/arm/v7", 3)))
	x := newIndex(t, false)
	take(t, x, src, edit.TakeOptions{Platform: platform(t, "linux/amd64")})
	if got := entries(t, x); got != "linux/amd64 att" {
		t.Error(got)
	}
	x = newIndex(t, false)
	only, err := edit.ParsePattern("linux/arm/*")
	if err != nil {
		t.Fatal(err)
	}
	take(t, x, src, edit.TakeOptions{Only: []edit.Pattern{only}})
	if got := entries(t, x); got != "linux/arm/v6 linux/arm/v7 att att" {
		t.Error(got)
	}
	if err := x.Take(src, edit.TakeOptions{Platform: platform(t, "linux/s390x")}); !errors.Is(err, oci.ErrNotFound) {
		t.Error(err)
	}
}

// A peer keeps the same digest twice.
func TestBad_023_TwoForOnePlatform(t *testing.T) {
	t.Parallel()
	s := shelf{}
	img, other := s.small("linux/amd64", 1), s.small("linux/amd64", 2)
	src := s.multi(true, img, s.small("linux/arm64", 3))
	x := loadIndex(t, s, src)
	take(t, x, load(t, s, img), edit.TakeOptions{})
	take(t, x, load(t, s, src), edit.TakeOptions{})
	sealed := seal(t, x)
	if sealed.Root.Digest != src.Digest || len(sealed.Notes) != 4 || !strings.Contains(sealed.Notes[0], "is there already") {
		t.Errorf("%v, %q", sealed.Root.Digest == src.Digest, sealed.Notes)
	}
	if err := x.Take(load(t, s, other), edit.TakeOptions{}); !errors.Is(err, oci.ErrExists) {
		t.Error(err)
	}
	take(t, x, load(t, s, other), edit.TakeOptions{Duplicates: true})
	if got := entries(t, x); got != "linux/amd64 linux/arm64 att att linux/amd64" {
		t.Error(got)
	}
	x = loadIndex(t, s, src)
	take(t, x, load(t, s, other), edit.TakeOptions{Replace: true})
	if got := entries(t, x); got != "linux/arm64 att linux/amd64" {
		t.Error(got)
	}
	x = newIndex(t, false) // one image can be for two platforms
	take(t, x, load(t, s, s.small("linux/arm", 1)), edit.TakeOptions{Platform: platform(t, "linux/arm/v6")})
	take(t, x, load(t, s, s.small("linux/arm", 1)), edit.TakeOptions{Platform: platform(t, "linux/arm/v7")})
	if got := entries(t, x); got != "linux/arm/v6 linux/arm/v7" {
		t.Error(got)
	}
	x = newIndex(t, false) // arm64 and arm64/v8 are one
	take(t, x, load(t, s, s.small("linux/arm64", 1)), edit.TakeOptions{})
	if err := x.Take(load(t, s, s.small("linux/arm64/v8", 2)), edit.TakeOptions{}); !errors.Is(err, oci.ErrExists) {
		t.Error(err)
	}
}

func TestTakeIntoDockerList(t *testing.T) {
	t.Parallel()
	s := shelf{}
	docker := s.image(rich, 2, true, "")
	x := newIndex(t, true)
	if err := x.Take(load(t, s, s.small("linux/arm64", 1)), edit.TakeOptions{}); !errors.Is(err, edit.ErrNotDocker) || !errors.Is(err, oci.ErrUnsupported) {
		t.Error(err)
	}
	take(t, x, load(t, s, docker), edit.TakeOptions{})
	if err := x.Annotate("a", "b"); !errors.Is(err, edit.ErrNoAnnotations) {
		t.Error(err)
	}
	if err := x.SetArtifactType("a/b"); !errors.Is(err, oci.ErrUnsupported) {
		t.Error(err)
	}
	if err := x.SetFamily(false); err != nil {
		t.Error(err)
	}
	if err := x.SetSubject(docker); err != nil {
		t.Error(err)
	}
	take(t, x, load(t, s, s.small("linux/arm64", 1)), edit.TakeOptions{})
	sealed := seal(t, x)
	m, err := oci.Fetch(t.Context(), sealed, sealed.Root)
	if err != nil || m.Descriptor.MediaType != oci.MediaIndex || m.Manifests[0].MediaType != oci.MediaDockerManifest || m.Subject.Digest != docker.Digest {
		t.Errorf("%s, %v", m.Raw, err)
	}
	if err := x.SetFamily(true); !errors.Is(err, edit.ErrNotDocker) {
		t.Error(err)
	}
}

// An artifact says what it is, and is for no platform.
func TestTakeArtifact(t *testing.T) {
	t.Parallel()
	s := shelf{}
	empty := s.put(oci.MediaEmpty, "{}")
	a := s.put(oci.MediaManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"a/b","config":{"mediaType":%q,"size":2,"digest":%q},"layers":[]}`, oci.MediaManifest, empty.MediaType, empty.Digest))
	x := newIndex(t, false)
	take(t, x, load(t, s, a), edit.TakeOptions{})
	take(t, x, load(t, s, a), edit.TakeOptions{})
	if d := x.Entries()[0].Descriptor(); len(x.Entries()) != 1 || d.ArtifactType != "a/b" || d.Platform != nil {
		t.Errorf("%+v", d)
	}
	seal(t, x)
}
