// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares bytes with those of a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func digest(word string) oci.Digest { return oci.FromBytes([]byte(word)) }

func descriptor(mediaType, word string) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: digest(word), Size: int64(len(word))}
}

// image is a Go program as a builder describes it, for a platform.
func image(t testing.TB, platform string) build.Subject {
	t.Helper()
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	base := &build.Base{Name: "/home/jane/base", Ref: "registry.example/lib/base:12", Repository: "registry.example/lib/base", Platform: p,
		Index: descriptor(oci.MediaIndex, "base index"), Image: descriptor(oci.MediaManifest, "base "+platform)}
	return build.Subject{
		Name: "example.com/shop/cmd/app", Descriptor: descriptor(oci.MediaManifest, platform), Platform: p, Base: base,
		Layers: []oci.Descriptor{descriptor(oci.MediaLayerGzip, "base layer"), descriptor(oci.MediaLayerGzip, "layer "+platform)},
		Components: []build.Component{
			{Kind: "application", Name: "example.com/shop", Version: "v1.2.3", PURL: "pkg:golang/example.com/shop@v1.2.3#cmd/app", Path: "/app/app",
				Hashes: map[string]string{"sha256": digest("program").Encoded(), "odd": "1"}, Needs: []string{"pkg:golang/example.com/b@v0.1.0", "pkg:golang/example.com/a@v0.2.0", "stdlib"}},
			{Kind: "library", Name: "example.com/b", Version: "v0.1.0", PURL: "pkg:golang/example.com/b@v0.1.0", License: "MIT", Sums: map[string]string{"h1": "xyz="}},
			{Kind: "library", Name: "example.com/a", Version: "v0.2.0", PURL: "pkg:golang/example.com/a@v0.2.0", License: "see the file LICENSE", Sums: map[string]string{"h1": "h1:abc="}},
			{Kind: "framework", Name: "stdlib", Version: "1.26.3", License: "BSD-3-Clause"},
		},
		Materials: []build.Material{
			{Name: "download", URI: "https://jane:secret@files.example/data.tar?X-Signature=secret", Digest: map[string]string{"sha256": digest("data").Encoded()}},
			{Name: "context", URI: "file:///home/jane/shop"},
		},
		About: build.About{Type: "go", Parameters: map[string]any{"ldflags": []string{"-s"}, "importPath": "example.com/shop/cmd/app"},
			Source: &build.Material{Name: "source", URI: "git+https://jane:secret@git.example/shop", Digest: map[string]string{"gitCommit": strings.Repeat("a", 40)}}},
	}
}

// index is one of images for several platforms.
func index(t testing.TB) build.Subject {
	t.Helper()
	s := build.Subject{Name: "example.com/shop/cmd/app", Descriptor: descriptor(oci.MediaIndex, "index")}
	for _, p := range []string{"linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348.1"} {
		s.Images = append(s.Images, image(t, p))
	}
	s.Base, s.About = s.Images[0].Base, s.Images[0].About
	return s
}

// alone is an image that is in no index: it lists itself.
func alone(s build.Subject) build.Subject {
	s.Images = []build.Subject{s}
	return s
}

// attest is what an attestor makes, by the names of files.
func attestAll(t testing.TB, a build.Attestor, s build.Subject) map[string]build.Document {
	t.Helper()
	docs, err := a.Attest(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]build.Document{}
	for _, d := range docs {
		if _, ok := out[d.Name+d.Tag]; ok {
			t.Errorf("%s%s is there twice", d.Name, d.Tag)
		}
		out[d.Name+d.Tag] = d
	}
	return out
}
