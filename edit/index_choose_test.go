// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	for pattern, c := range map[string]struct{ yes, no string }{
		"linux":                  {"linux/amd64 linux/arm/v6 linux/amd64/v3", "windows/amd64"},
		"linux/*":                {"linux/amd64 linux/arm/v6", "windows/amd64"},
		"linux/amd64":            {"linux/amd64 linux/amd64/v1", "linux/amd64/v3 linux/arm64"},
		"linux/arm64":            {"linux/arm64 linux/arm64/v8", "linux/arm64/v9"},
		"linux/arm":              {"linux/arm/v7 linux/arm", "linux/arm/v6"},
		"linux/arm/*":            {"linux/arm/v7 linux/arm linux/arm/v6", "linux/arm64"},
		"*/arm64":                {"linux/arm64 windows/arm64:10.0.1", "linux/amd64"},
		"windows:10.0.17763":     {"windows/amd64:10.0.17763.1 windows/arm64:10.0.17763", "windows/amd64:10.0.177631 windows/amd64"},
		"windows/amd64:10.0.1.2": {"windows/amd64:10.0.1.2", "windows/amd64:10.0.1.3"},
		"x86_64/*":               {"", "linux/amd64"},
		"linux/x86_64":           {"linux/amd64", ""},
	} {
		p, err := edit.ParsePattern(pattern)
		if err != nil || p.String() != pattern {
			t.Errorf("%s: %v", pattern, err)
		}
		for list, want := range map[string]bool{c.yes: true, c.no: false} {
			for _, s := range strings.Fields(list) {
				if p.Match(*platform(t, s)) != want {
					t.Errorf("%s matches %s: %v", pattern, s, !want)
				}
			}
		}
	}
	for _, s := range []string{"", "/", "linux/", "linux//v7", "linux/arm/v7/x", "linux:", "l nux", "linux/**", "linux/amd64+x"} {
		if _, err := edit.ParsePattern(s); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]oci.Platform{
		"linux/arm":                    {OS: "linux", Architecture: "arm"},
		"linux/arm64/v8":               {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"linux/amd64/V1":               {OS: "linux", Architecture: "amd64", Variant: "v1"},
		"linux/x86_64":                 {OS: "linux", Architecture: "amd64"},
		"linux/armhf":                  {OS: "linux", Architecture: "arm", Variant: "v7"},
		"windows/amd64:10.0.1+a+win32": {OS: "windows", Architecture: "amd64", OSVersion: "10.0.1", OSFeatures: []string{"a", "win32"}},
		"windows/amd64+a":              {OS: "windows", Architecture: "amd64", OSFeatures: []string{"a"}},
	} {
		if p, err := edit.ParsePlatform(s); err != nil || fmt.Sprintf("%q", p) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: %+v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "linux", "+a", "linux/amd64+", "linux/amd64:", "linux/amd64/v1/x", "linux/amd64++a"} {
		if p, err := edit.ParsePlatform(s); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %+v, %v", s, p, err)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"linux", "linux/*", "linux/arm/*", "*/arm64", "windows/amd64:10.0.17763", "linux/amd64+x", "//:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := edit.ParsePattern(s); err == nil {
			p.Match(oci.Platform{OS: "linux", Architecture: "amd64"})
		} else if !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
		p, err := edit.ParsePlatform(s)
		if err == nil && (p.OS == "" || p.Architecture == "") {
			t.Fatalf("%+v", p)
		}
	})
}

func patterns(t testing.TB, list ...string) (out []edit.Pattern) {
	t.Helper()
	for _, s := range list {
		p, err := edit.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func descriptors(x *edit.Index) (out []oci.Descriptor) {
	for _, e := range x.Entries() {
		out = append(out, e.Descriptor())
	}
	return out
}

// What stays keeps its bytes, attestations stay with what they are about, and an
// index is never empty: a peer pushes an empty one when nothing matches.
func TestFilter(t *testing.T) {
	t.Parallel()
	s := shelf{}
	blob := s.put("text/plain", "no image")
	all := s.multi(true, s.small("linux/amd64", 1), s.small("linux/arm64", 2), s.small("windows/amd64:10.0.1.2", 3))
	raw, err := oci.ReadAll(t.Context(), s, all, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	more := s.put(oci.MediaIndex, strings.Replace(string(raw), "\n]", fmt.Sprintf(",\n{\"mediaType\":%q, \"size\":%d, \"digest\":%q}\n]", blob.MediaType, blob.Size, blob.Digest), 1))
	for name, c := range map[string]struct {
		what edit.Choice
		want string
	}{
		"one":         {edit.Choice{Platforms: patterns(t, "linux/arm64")}, "linux/arm64 att"},
		"two":         {edit.Choice{Platforms: patterns(t, "windows", "linux/amd64")}, "linux/amd64 windows/amd64:10.0.1.2 att att"},
		"all":         {edit.Choice{Platforms: patterns(t, "*")}, "linux/amd64 linux/arm64 windows/amd64:10.0.1.2 att att att"},
		"unknown":     {edit.Choice{Platforms: patterns(t, "linux/arm64"), Unknown: true}, "linux/arm64 att -"},
		"bare":        {edit.Choice{Platforms: patterns(t, "linux"), Bare: true}, "linux/amd64 linux/arm64"},
		"all bare":    {edit.Choice{All: true, Bare: true}, "linux/amd64 linux/arm64 windows/amd64:10.0.1.2 -"},
		"nothing":     {edit.Choice{Platforms: patterns(t, "plan9")}, ""},
		"one of two":  {edit.Choice{Platforms: patterns(t, "linux", "linux/s390x")}, ""},
		"not unknown": {edit.Choice{Platforms: patterns(t, "unknown")}, ""},
		"no digest":   {edit.Choice{Digests: []oci.Digest{all.Digest}}, ""},
	} {
		x := loadIndex(t, s, more)
		keep, err := c.what.Keep(descriptors(x))
		if c.want == "" {
			if !errors.Is(err, oci.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil {
			err = x.Retain(keep)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := entries(t, x); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	x := loadIndex(t, s, more)
	if err := x.Retain(make([]bool, 7)); !errors.Is(err, oci.ErrInvalid) || len(x.Entries()) != 7 {
		t.Error(err)
	}
	keep, err := edit.Choice{Platforms: patterns(t, "windows", "linux/amd64")}.Drop(descriptors(x))
	if err != nil || x.Retain(keep) != nil || entries(t, x) != "linux/arm64 att -" {
		t.Errorf("%v", err)
	}
}

// Lines that stay, and all around them, are what they were.
func TestFilterKeepsBytes(t *testing.T) {
	t.Parallel()
	s := shelf{}
	a, b, c := s.small("linux/amd64", 1), s.small("linux/arm64", 2), s.small("linux/s390x", 3)
	line := func(d oci.Descriptor) string {
		return fmt.Sprintf("    {\"size\" : %d, \"digest\":%q,\n     \"mediaType\":%q, \"platform\":{\"os\":\"linux\",\"architecture\":%q, \"x\":1}}", d.Size, d.Digest, d.MediaType, d.Platform.Architecture)
	}
	doc := func(lines ...string) string {
		return "{\n  \"x\": \"\\u003c\", \"manifests\": [\n" + strings.Join(lines, ",\n") + "\n  ],\n  \"schemaVersion\": 2,\n  \"mediaType\": \"" + oci.MediaIndex + "\"\n}\n"
	}
	for _, gone := range []int{0, 1, 2} {
		lines := []string{line(a), line(b), line(c)}
		x := loadIndex(t, s, s.put(oci.MediaIndex, doc(lines...)))
		keep := []bool{true, true, true}
		keep[gone] = false
		if err := x.Retain(keep); err != nil {
			t.Fatal(err)
		}
		sealed := seal(t, x)
		m, err := oci.Fetch(t.Context(), sealed, sealed.Root)
		if want := doc(append(lines[:gone:gone], lines[gone+1:]...)...); err != nil || string(m.Raw) != want {
			t.Errorf("%s, want %s, %v", m.Raw, want, err)
		}
	}
}

// A platform cannot be looked for in what may hold it and does not say so.
func TestChooseNested(t *testing.T) {
	t.Parallel()
	s := shelf{}
	x := newIndex(t, false)
	take(t, x, load(t, s, s.multi(false, s.small("linux/amd64", 1))), edit.TakeOptions{Nested: true})
	take(t, x, load(t, s, s.small("linux/arm64", 2)), edit.TakeOptions{})
	for _, f := range []func([]oci.Descriptor) ([]bool, error){
		edit.Choice{Platforms: patterns(t, "linux")}.Keep, edit.Choice{Platforms: patterns(t, "linux")}.Drop,
	} {
		if _, err := f(descriptors(x)); !errors.Is(err, oci.ErrUnsupported) {
			t.Error(err)
		}
	}
	keep, err := edit.Choice{Digests: []oci.Digest{descriptors(x)[0].Digest}}.Drop(descriptors(x))
	if err != nil || x.Retain(keep) != nil || entries(t, x) != "linux/arm64" {
		t.Error(err)
	}
}

// What was left unread cannot be sealed, and what goes need not be read.
func TestLoadLeaves(t *testing.T) {
	t.Parallel()
	s := shelf{}
	a, b := s.small("linux/amd64", 1), s.small("linux/arm64", 2)
	d := s.multi(true, a, b)
	delete(s, b.Digest)
	n, err := edit.Load(t.Context(), s, d, edit.Options{Leave: func(x oci.Descriptor) bool { return x.Digest == b.Digest }})
	if err != nil {
		t.Fatal(err)
	}
	x := n.(*edit.Index)
	if _, err := edit.Seal(x); !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
	keep, err := edit.Choice{Platforms: patterns(t, "linux/arm64")}.Drop(descriptors(x))
	if err != nil || x.Retain(keep) != nil || entries(t, x) != "linux/amd64 att" {
		t.Error(err)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	s := shelf{}
	d := s.multi(false, s.small("windows/amd64:10.0.1.2", 1), s.small("linux/arm64", 2))
	text := func(s string) *string { return &s }
	both, first, second := []bool{true, true}, []bool{true, false}, []bool{false, true}
	for name, c := range map[string]struct {
		what   edit.IndexChanges
		chosen []bool
		want   string // in the index; "": nothing changes
		err    error
	}{
		"nothing":          {edit.IndexChanges{}, both, "", nil},
		"index annotation": {edit.IndexChanges{Annotations: map[string]string{"a": "<b>"}}, both, `"annotations": {"a":"<b>"}`, nil},
		"entry annotation": {edit.IndexChanges{EntryAnnotations: map[string]string{"a": "b"}}, second, `"x-entry": 1, "annotations": {"a":"b"}`, nil},
		"remove nothing":   {edit.IndexChanges{Remove: []string{"a"}, EntryRemove: []string{"b"}}, both, "", nil},
		"variant":          {edit.IndexChanges{Variant: text("v8")}, second, `"variant":"v8"`, nil},
		"no variant":       {edit.IndexChanges{Variant: text("")}, second, "", nil},
		"same version":     {edit.IndexChanges{OSVersion: text("10.0.1.2")}, first, "", nil},
		"features":         {edit.IndexChanges{OSFeatures: &[]string{"win32k"}}, first, `"os.version":"10.0.1.2","os.features":["win32k"]`, nil},
		"platform":         {edit.IndexChanges{Platform: platform(t, "linux/arm64/v8")}, second, `"architecture":"arm64","os":"linux","variant":"v8"`, nil},
		"wrong platform":   {edit.IndexChanges{Platform: platform(t, "linux/amd64")}, second, "", edit.ErrPlatform},
		"wrong version":    {edit.IndexChanges{OSVersion: text("10.0.1.3")}, first, "", edit.ErrPlatform},
		"forced":           {edit.IndexChanges{OSVersion: text("10.0.1.3"), Force: true}, first, `"os.version":"10.0.1.3"`, nil},
		"twice":            {edit.IndexChanges{Platform: platform(t, "linux/arm64"), Force: true}, both, "", oci.ErrExists},
		"twice allowed":    {edit.IndexChanges{Platform: platform(t, "linux/arm64"), Force: true, Duplicates: true}, both, `"architecture":"arm64","os":"linux"`, nil},
	} {
		x := loadIndex(t, s, d)
		err := x.Change(c.what, c.chosen)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		sealed := seal(t, x)
		m, err := oci.Fetch(t.Context(), sealed, sealed.Root)
		if err != nil || c.want == "" && sealed.Root.Digest != d.Digest || !strings.Contains(string(m.Raw), c.want) {
			t.Errorf("%s: %s, %v", name, m.Raw, err)
		}
	}
}
