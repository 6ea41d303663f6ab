// SPDX-License-Identifier: Apache-2.0

package indexspec_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/dray-tools/dray/indexspec"
	"github.com/dray-tools/dray/oci"
)

const whole = `# comment
image: registry.example/app:1
tags: ["1.0", 1.10, latest]
annotations:
  vendor: Acme
  number: 7
  empty: ""
manifests:
  - image: registry.example/app:1-amd64
    platform:
      architecture: amd64
      os: linux
      variant: v3
  - image: registry.example/app:1-win
    platform: {os: windows, architecture: amd64, osversion: 10.0.17763.1, osfeatures: [win32k]}
  - image: registry.example/app:1-win2
    platform: {os: windows, architecture: amd64, os.version: 10.0.20348.1, os.features: [win32k]}
  - image: registry.example/app:1-arm64
  - image: registry.example/app:1-s390x
    platform:
`

func TestParse(t *testing.T) {
	t.Parallel()
	win := func(version string) *oci.Platform {
		return &oci.Platform{OS: "windows", Architecture: "amd64", OSVersion: version, OSFeatures: []string{"win32k"}}
	}
	want := &indexspec.Spec{
		Image: "registry.example/app:1", Tags: []string{"1.0", "1.10", "latest"},
		Annotations: map[string]string{"vendor": "Acme", "number": "7", "empty": ""},
		Manifests: []indexspec.Manifest{
			{Image: "registry.example/app:1-amd64", Platform: &oci.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}},
			{Image: "registry.example/app:1-win", Platform: win("10.0.17763.1")},
			{Image: "registry.example/app:1-win2", Platform: win("10.0.20348.1")},
			{Image: "registry.example/app:1-arm64"},
			{Image: "registry.example/app:1-s390x"},
		},
	}
	got, err := indexspec.Parse("app.yaml", []byte(whole))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What manifest-tool takes without a word, and what is meant to hurt.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const images = "image: a/b\nmanifests:\n- image: a/b:1\n"
	bomb := "image: &a [x,x,x,x,x,x,x,x]\ntags: [*a,*a,*a]\n" + images
	for name, c := range map[string]struct{ in, want string }{
		"empty":             {"", "EOF"},
		"only a comment":    {"# x", "EOF"},
		"no YAML":           {"image: [", "line 1"},
		"text":              {"image", ":1: want keys with values"},
		"a list":            {"- a", ":1: want keys with values"},
		"no image":          {"manifests:\n- image: a/b:1\n", "no image"},
		"no manifests":      {"image: a/b\n", "no manifests"},
		"empty manifests":   {"image: a/b\nmanifests: []\n", "no manifests"},
		"null manifest":     {"image: a/b\nmanifests:\n-\n", "without image"},
		"unknown key":       {images + "annotation: {}\n", `x.yaml:4: no such key here: "annotation"`},
		"unknown below":     {images + "  digest: x\n", `x.yaml:4: no such key here: "digest"`},
		"unknown platform":  {images + "  platform: {os: linux, architecture: amd64, os_version: x}\n", `x.yaml:4: no such key here: "os_version"`},
		"other case":        {images + "Tags: [a]\n", `no such key here: "Tags"`},
		"twice":             {images + "image: c/d\n", `x.yaml:4: the key "image" is there twice`},
		"two versions":      {images + "  platform: {os: windows, architecture: amd64, osversion: a, os.version: b}\n", `os.version is "a" and "b"`},
		"two features":      {images + "  platform: {os: windows, architecture: amd64, osfeatures: [a], os.features: [b]}\n", `os.features is ["a"] and ["b"]`},
		"half a platform":   {images + "  platform: {os: linux}\n", "needs os and architecture"},
		"odd platform":      {images + "  platform: {os: linux, architecture: \"amd 64\"}\n", "needs os and architecture"},
		"variant list":      {images + "  platform: {os: linux, architecture: arm, variant: [v7]}\n", "want text"},
		"tags text":         {images + "tags: latest\n", "want a list"},
		"tag null":          {images + "tags: [~]\n", "want text"},
		"annotation object": {images + "annotations: {a: {b: c}}\n", "want text"},
		"two documents":     {images + "---\nimage: c/d\n", "a second document"},
		"a broken second":   {images + "---\n{", "did not find"},
		"an alias":          {"image: &i a/b\nmanifests:\n- image: *i\n", "anchors and aliases"},
		"a merge":           {images + "<<: {tags: [a]}\n", `no such key here: "<<"`},
		"a tag":             {images + "tags: [!!binary eA==]\n", "!!binary"},
		"own tag":           {images + "tags: [!exec ls]\n", "!exec"},
		"bomb":              {bomb, "anchors and aliases"},
		"deep":              {strings.Repeat("[", 100_000), "depth"},
		"large":             {images + "#" + strings.Repeat("x", indexspec.MaxSize), "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := indexspec.Parse("x.yaml", []byte(c.in))
			if !errors.Is(err, oci.ErrInvalid) || !strings.HasPrefix(err.Error(), "x.yaml:") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	same := images + "  platform: {os: windows, architecture: amd64, osversion: a, os.version: a, osfeatures: [b], os.features: [b]}\n"
	if s, err := indexspec.Parse("x.yaml", []byte(same)); err != nil || s.Manifests[0].Platform.OSVersion != "a" {
		t.Errorf("both spellings of the same: %v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("image: a\nmanifests: [{image: b, platform: {os: linux, architecture: arm, variant: v7}}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [a]\n: b\n---\n!!x y"))
	f.Add([]byte("%YAML 1.2\n--- |\n x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := indexspec.Parse("x", raw)
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if s.Image == "" || len(s.Manifests) == 0 {
			t.Fatalf("%+v", s)
		}
		for _, m := range s.Manifests {
			if m.Image == "" || m.Platform != nil && (m.Platform.OS == "" || m.Platform.Architecture == "") {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func TestFromTemplate(t *testing.T) {
	t.Parallel()
	list := []oci.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}}
	s, err := indexspec.FromTemplate("a/ARCH/b:ARCH-OS-VARIANT", list)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a/amd64/b:amd64-linux-", "a/arm/b:arm-linux-v7"} {
		if m := s.Manifests[i]; m.Image != want || !reflect.DeepEqual(*m.Platform, list[i]) {
			t.Errorf("%+v, want %s", m, want)
		}
	}
	if _, err := indexspec.FromTemplate("a/b:1", list); !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
	if s, err := indexspec.FromTemplate("a/b:1", list[:1]); err != nil || s.Manifests[0].Image != "a/b:1" {
		t.Error(err)
	}
}
