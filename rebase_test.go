// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
)

// Manifest and config of three images are read, once each; what is written is
// mounts, a config and a manifest.
func TestRebaseRequests(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	h.image("lib/debian", "12", made{layers: []string{"d1", "d2"}})
	h.image("lib/jre", "17", made{layers: []string{"d1", "j1", "j2"}})
	h.image("lib/python", "3.11", made{layers: []string{"d1", "d2", "p1", "p2"}})
	r, err := h.run("lib/python:3.11", dray.RebaseOptions{OldBase: "lib/debian:12", NewBase: "lib/jre:17", EditOptions: dray.EditOptions{Targets: []string{"lib/python:new"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(h.read("lib/python", "new")); got != "d1 j1 j2 p1 p2" {
		t.Error(got)
	}
	blobs := 0
	for _, q := range h.requests {
		if strings.HasPrefix(q, "GET") && strings.Contains(q, "/blobs/") {
			blobs++
		}
	}
	// 3 manifests, 3 configs; the new tag; 2 mounts, the config, the manifest
	if n := len(h.requests); n > 12 || blobs != 3 {
		t.Errorf("%d requests, %d blobs\n%s", n, blobs, strings.Join(h.requests, "\n"))
	}
	if tot := r.Totals(); tot.Mounted != 2 || tot.Put != 2 {
		t.Errorf("%+v", tot)
	}
	h.requests = nil
	back, err := h.run("lib/python:new", dray.RebaseOptions{OldBase: "lib/jre:17", NewBase: "lib/debian:12"})
	if err != nil || back.Root.Digest != h.read("lib/python", "3.11").Manifest.Descriptor.Digest {
		t.Errorf("back: %v, %v", back, err)
	}
}

// A base that annotations name is found, and they are renewed: a digest of an
// index stays one of an index.
func TestRebaseAnnotated(t *testing.T) {
	t.Parallel()
	for _, byIndex := range []bool{false, true} {
		h := newRebaseHost(t)
		old := []oci.Descriptor{h.image("base", "", made{layers: []string{"o"}}), h.image("base", "", made{platform: "linux/arm64", layers: []string{"o"}})}
		oldIndex := h.index("base", "1", nil, old...)
		var apps []oci.Descriptor
		for n, p := range []string{"linux/amd64", "linux/arm64"} {
			d := old[n].Digest
			if byIndex {
				d = oldIndex.Digest
			}
			apps = append(apps, h.image("app", "", made{platform: p, layers: []string{"o", "x"},
				notes: map[string]string{v1.AnnotationBaseImageName: h.addr + "/base:1", v1.AnnotationBaseImageDigest: string(d), "a": "b"}}))
		}
		h.index("app", "1", map[string]string{v1.AnnotationBaseImageName: h.addr + "/base:1", v1.AnnotationBaseImageDigest: string(oldIndex.Digest)}, apps...)
		onto := []oci.Descriptor{h.image("base", "", made{layers: []string{"n"}}), h.image("base", "", made{platform: "linux/arm64", layers: []string{"n"}})}
		newIndex := h.index("base", "1", nil, onto...)

		r, err := h.run("app:1", dray.RebaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		st := h.store("app")
		top, err := oci.Fetch(t.Context(), st, r.Root)
		if err != nil || top.Annotations[v1.AnnotationBaseImageDigest] != string(newIndex.Digest) || top.Annotations[v1.AnnotationBaseImageName] != h.addr+"/base:1" {
			t.Fatalf("%v, %v", top.Annotations, err)
		}
		for n, d := range top.Manifests {
			m, err := oci.Fetch(t.Context(), st, d)
			want := onto[n].Digest
			if byIndex {
				want = newIndex.Digest
			}
			if err != nil || m.Annotations[v1.AnnotationBaseImageDigest] != string(want) || m.Annotations["a"] != "b" {
				t.Errorf("%v, %v", m.Annotations, err)
			}
			if i := r.Images[n]; i.OldBase.Found != dray.ByAnnotation || i.OldBase.Digest != old[n].Digest || i.NewBase.Digest != onto[n].Digest || i.Platform != oci.FormatPlatform(*apps[n].Platform) {
				t.Errorf("%+v", i)
			}
		}
		again, err := h.run("app:1", dray.RebaseOptions{})
		if err != nil || again.Root.Digest != r.Root.Digest || !again.Images[0].Already || slices.ContainsFunc(h.requests, func(q string) bool { return strings.HasPrefix(q, "P") }) {
			t.Errorf("again: %+v, %v\n%s", again, err, strings.Join(h.requests, "\n"))
		}
	}
}

// An image that is put on nothing has no base to name.
func TestRebaseScratch(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	old := h.image("base", "1", made{layers: []string{"o"}})
	h.image("app", "1", made{layers: []string{"o", "x"}, notes: map[string]string{v1.AnnotationBaseImageName: h.addr + "/base:1", v1.AnnotationBaseImageDigest: string(old.Digest)}})
	if _, err := h.run("app:1", dray.RebaseOptions{NewBase: dray.Scratch}); err != nil {
		t.Fatal(err)
	}
	i := h.read("app", "1")
	if lines(i) != "x" || len(i.Manifest.Annotations) != 0 {
		t.Errorf("%s, %v", lines(i), i.Manifest.Annotations)
	}
	o := dray.RebaseOptions{OldBase: dray.Scratch, NewBase: "base:1"}
	o.Targets = []string{"app:back"}
	if _, err := h.run("app:1", o); err != nil || lines(h.read("app", "back")) != "o x" {
		t.Error(err)
	}
}

// Without a word the old base is looked for among the tags: the longest prefix,
// which may be packed in another way; for Windows by os.version.
func TestRebaseSearch(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	h.image("base", "1", made{layers: []string{"o"}})
	h.image("base", "2", made{layers: []string{"o", "p"}, config: v1.ImageConfig{User: "p"}})
	h.image("base", "3", made{layers: []string{"o", "p", "q"}})
	h.image("base", "new", made{layers: []string{"n"}, config: v1.ImageConfig{User: "n"}})
	app := h.image("base", "app", made{layers: []string{"o", "p", "x"}, config: v1.ImageConfig{User: "p"}}) // which is not its own base
	r, err := h.run("base:app", dray.RebaseOptions{NewBase: "base:new"})
	if err != nil {
		t.Fatal(err)
	}
	i := h.read("base", "app")
	if lines(i) != "n x" || r.Was.Digest != app.Digest || r.Images[0].OldBase.Name != h.addr+"/base:2" || r.Images[0].OldBase.Found != dray.BySearch || !strings.Contains(string(i.Config), `"User":"n"`) {
		t.Errorf("%s, %+v", lines(i), r.Images[0])
	}
	h.image("other", "app", made{layers: []string{"y"}})
	if _, err := h.run("other:app", dray.RebaseOptions{NewBase: "base:new"}); !errors.Is(err, oci.ErrNotFound) {
		t.Error(err)
	}

	for _, v := range []string{"10.0.1.1", "10.0.1.2", "10.0.2.1"} {
		h.image("win", v, made{platform: "windows/amd64:" + v, layers: []string{"w"}, same: true, config: v1.ImageConfig{Env: []string{"V=" + v}}})
	}
	h.image("app", "win", made{platform: "windows/amd64:10.0.1.1", layers: []string{"w", "x"}, same: true, config: v1.ImageConfig{Env: []string{"V=10.0.1.1"}}})
	if r, err = h.run("app:win", dray.RebaseOptions{NewBase: "win:10.0.2.1"}); err != nil || r.Images[0].OldBase.Name != h.addr+"/win:10.0.1.1" {
		t.Errorf("%+v, %v", *r.Images[0], err)
	}
}

// An index moves as a whole or not at all, and the error says what is missing.
func TestRebaseIndex(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	var old, onto, apps []oci.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64", "linux/s390x"} {
		old = append(old, h.image("base", "", made{platform: p, layers: []string{"o"}}))
		onto = append(onto, h.image("base", "", made{platform: p, layers: []string{"n"}}))
		apps = append(apps, h.image("app", "", made{platform: p, layers: []string{"o", "x"}}))
	}
	h.index("base", "old", nil, old...)
	h.index("base", "new", nil, onto[0])
	h.index("app", "1", nil, apps...)
	_, err := h.run("app:1", dray.RebaseOptions{OldBase: "base:old", NewBase: "base:new"})
	if !errors.Is(err, oci.ErrNotFound) || !strings.Contains(err.Error(), "linux/arm64") || !strings.Contains(err.Error(), "linux/s390x") || strings.Contains(err.Error(), "linux/amd64:") {
		t.Error(err)
	}
	amd64, _ := oci.ParsePlatform("linux/amd64")
	o := dray.RebaseOptions{OldBase: "base:old", NewBase: "base:new"}
	o.Platforms, o.Targets = []oci.Platform{amd64}, []string{"app:one"}
	r, err := h.run("app:1", o)
	if err != nil || len(r.Images) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	top, err := oci.Fetch(t.Context(), h.store("app"), r.Root)
	if err != nil || len(top.Manifests) != 3 || top.Manifests[1].Digest != apps[1].Digest || top.Manifests[0].Digest == apps[0].Digest {
		t.Errorf("%+v, %v", top, err)
	}
	h.index("base", "new", nil, onto...)
	if r, err = h.run("app:1", dray.RebaseOptions{OldBase: "base:old", NewBase: "base:new"}); err != nil || len(r.Images) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// An image of one architecture does not get on the base of another, whatever
// digests are annotated.
func TestRebaseArchitecture(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	old := h.image("base", "old", made{platform: "linux/arm64", layers: []string{"o"}})
	h.image("base", "new", made{layers: []string{"n"}})
	h.image("app", "1", made{platform: "linux/arm64", layers: []string{"o", "x"}, notes: map[string]string{v1.AnnotationBaseImageName: h.addr + "/base:new", v1.AnnotationBaseImageDigest: string(old.Digest)}})
	if _, err := h.run("app:1", dray.RebaseOptions{Force: true}); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Error(err)
	}
}

// Of several images of the new base for Windows the one with the same build
// counts; without one nothing is guessed.
func TestRebaseWindowsIndex(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	var onto []oci.Descriptor
	for _, v := range []string{"10.0.17763.9", "10.0.20348.9"} {
		onto = append(onto, h.image("base", "", made{platform: "windows/amd64:" + v, layers: []string{"n" + v}}))
	}
	h.index("base", "new", nil, onto...)
	for build, ok := range map[string]bool{"10.0.20348.1": true, "10.0.26100.1": false} {
		h.image("base", "old", made{platform: "windows/amd64:" + build, layers: []string{"o"}})
		h.image("app", "1", made{platform: "windows/amd64:" + build, layers: []string{"o", "x"}})
		r, err := h.run("app:1", dray.RebaseOptions{OldBase: "base:old", NewBase: "base:new"})
		if (err == nil) != ok || ok && r.Images[0].NewBase.Digest != onto[1].Digest || !ok && !strings.Contains(fmt.Sprint(err), "several images") {
			t.Errorf("%s: %v", build, err)
		}
	}
}

// What the application's layers do to the base is seen when they are read.
func TestRebaseDeep(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	h.image("base", "old", made{layers: []string{"o"}})
	h.image("base", "new", made{layers: []string{"n"}})
	h.image("app", "1", made{layers: []string{"o", "var/lib/dpkg/status"}})
	o := dray.RebaseOptions{OldBase: "base:old", NewBase: "base:new", Deep: true}
	o.Targets = []string{"app:2"}
	if _, err := h.run("app:1", o); !errors.Is(err, rebase.ErrRefused) {
		t.Errorf("%v", err)
	}
	o.Force, o.Targets = true, []string{"app:2"}
	r, err := h.run("app:1", o)
	if err != nil || r.Images[0].Files != dray.FilesApplication || len(r.Images[0].Warnings) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	h.image("app", "2", made{layers: []string{"o", "n", "lib/x"}})
	h.image("base", "new", made{layers: []string{"n"}, same: true})
	o.Deep, o.Force, o.Targets = false, false, []string{"app:3"}
	if r, err = h.run("app:2", o); err != nil || r.Images[0].Files != dray.FilesUnknown {
		t.Errorf("%+v, %v", r, err)
	}
	known := layer.Outlines{Dir: filepath.Join(h.cache, "outlines")}
	for _, i := range []*image.Image{h.read("base", "old"), h.read("base", "new"), h.read("app", "2")} {
		for _, b := range i.Layers() {
			if _, err := known.Of(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.Targets = []string{"app:3"}
	if r, err = h.run("app:2", o); err != nil || r.Images[0].Files != dray.FilesAll || len(r.Images[0].Warnings) != 1 || !strings.Contains(r.Images[0].Warnings[0], `"n"`) {
		t.Errorf("%+v, %v", r, err)
	}
}

// Buildpacks' label is enough, with or without the old run image.
func TestRebaseBuildpacks(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	old := h.image("run", "", made{layers: []string{"r1", "r2"}, config: v1.ImageConfig{User: "old"}})
	h.image("run", "1", made{layers: []string{"n"}, config: v1.ImageConfig{User: "new"}})
	top := h.read("run", string(old.Digest)).DiffIDs[1]
	for reference, user := range map[string]string{h.addr + "/run@" + string(old.Digest): "new", "index.docker.io/x/y@": "old"} {
		label := fmt.Sprintf(`{"runImage":{"topLayer":%q,"reference":%q,"image":"%s/run:1"}}`, top, reference, h.addr)
		h.image("app", "1", made{layers: []string{"r1", "r2", "x"}, config: v1.ImageConfig{User: "old", Labels: map[string]string{"io.buildpacks.lifecycle.metadata": label}}})
		r, err := h.run("app:1", dray.RebaseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		i := h.read("app", "1")
		var c v1.Image
		_ = json.Unmarshal(i.Config, &c)
		if lines(i) != "n x" || c.Config.User != user || r.Images[0].OldBase.Found != dray.ByBuildpacks || !strings.Contains(c.Config.Labels["io.buildpacks.lifecycle.metadata"], string(i.DiffIDs[0])) {
			t.Errorf("%s: %s, %+v, %+v", reference, lines(i), c.Config, r.Images[0])
		}
	}
}
