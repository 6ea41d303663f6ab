// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

// baseNotes are annotations about the base.
func baseNotes(name string, d oci.Digest) map[string]string {
	notes := map[string]string{v1.AnnotationBaseImageName: name}
	if d != "" {
		notes[v1.AnnotationBaseImageDigest] = string(d)
	}
	return notes
}

// A name in an image does not make dray read, and publish, what is on this
// machine: neither by annotation, of the image or its index, nor by label.
func TestRebaseReadsNoLocalBase(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	other := newRebaseHost(t) // another registry on loopback, which nobody has named
	other.image("base", "new", made{layers: []string{"n"}})
	dir := t.TempDir()
	h.image("base", "new", made{layers: []string{"n"}})
	c := dray.New(dray.Env{})
	defer c.Close()
	if _, err := c.Copy(t.Context(), h.addr+"/base:new", "oci:"+dir+":new", dray.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"oci:" + dir + ":new", "oci-archive:" + dir, "dir:" + dir, "docker-archive:-", "docker-daemon:x:1", "containers-storage:x",
		other.addr + "/base:new", "localhost/base:new", "LOCALHOST:5000/base:new", "x.localhost:5000/base", "[::1]:5000/base",
	} {
		label := fmt.Sprintf(`{"runImage":{"topLayer":%q,"reference":%q,"image":%q}}`, h.read("base", "new").DiffIDs[0], name, name)
		h.image("app", "annotated", made{layers: []string{"o", "x"}, notes: baseNotes(name, "")})
		h.image("app", "labelled", made{layers: []string{"n", "x"}, config: v1.ImageConfig{Labels: map[string]string{"io.buildpacks.lifecycle.metadata": label}}})
		h.index("app", "index", baseNotes(name, ""), h.image("app", "", made{layers: []string{"o", "x"}}))
		for _, tag := range []string{"annotated", "labelled", "index"} {
			if _, err := h.run("app:"+tag, dray.RebaseOptions{}); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "the user names it") && !strings.Contains(err.Error(), "reference") {
				t.Errorf("%s %s: %v", name, tag, err)
			}
		}
		// with a new base that is named, the old one is looked for elsewhere
		h.image("base", "old", made{layers: []string{"o"}})
		r, err := h.run("app:annotated", dray.RebaseOptions{NewBase: "base:new", EditOptions: dray.EditOptions{Targets: []string{"app:2"}}})
		if err != nil || r.Images[0].OldBase.Found != dray.BySearch || !strings.Contains(strings.Join(r.Images[0].Warnings, " "), "does not help: ") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if len(other.requests) > 0 {
		t.Error(other.requests)
	}
	h.image("app", "1", made{layers: []string{"o", "x"}, notes: baseNotes(h.addr+"/base:new", "")})
	if _, err := h.run("app:1", dray.RebaseOptions{OldBase: "base:old"}); err != nil {
		t.Error(err) // on the image's own registry
	}
}

// The base scratch is nothing that a registry has, whatever digest there is.
func TestRebaseAnnotatedScratch(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	h.image("base", "1", made{layers: []string{"n"}})
	h.image("app", "1", made{layers: []string{"x"}, notes: baseNotes(dray.Scratch, oci.FromBytes(nil))})
	r, err := h.run("app:1", dray.RebaseOptions{})
	if err != nil || !r.Images[0].Already || r.Images[0].NewBase.Name != dray.Scratch {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = h.run("app:1", dray.RebaseOptions{NewBase: "base:1"}); err != nil || r.Images[0].OldBase.Name != dray.Scratch || lines(h.read("app", "1")) != "n x" {
		t.Errorf("%+v, %v", r, err)
	}
}

// What an index says of its base is read by many images at a time.
func TestRebaseIndexAnnotationRace(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	var old, onto, apps []oci.Descriptor
	for _, p := range strings.Fields("linux/amd64 linux/arm64 linux/s390x linux/ppc64le linux/riscv64 linux/386 linux/arm/v7 linux/arm/v6") {
		old = append(old, h.image("base", "", made{platform: p, layers: []string{"o"}}))
		onto = append(onto, h.image("base", "", made{platform: p, layers: []string{"n"}}))
		apps = append(apps, h.image("app", "", made{platform: p, layers: []string{"o", "x"}}))
	}
	was := h.index("base", "1", nil, old...)
	h.index("base", "2", nil, onto...)
	h.index("app", "1", baseNotes(h.addr+"/base:2", was.Digest), apps...)
	for range 4 {
		r, err := h.run("app:1", dray.RebaseOptions{EditOptions: dray.EditOptions{Targets: []string{"app:2"}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range r.Images {
			if i.OldBase.Found != dray.ByAnnotation || i.NewBase.Found != dray.ByAnnotation {
				t.Errorf("%+v", i)
			}
		}
	}
}

// One tag that cannot be read does not end the search for the old base.
func TestRebaseSearchBadTags(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	h.image("base", "1", made{layers: []string{"o", "p"}})
	h.image("base", "new", made{layers: []string{"n"}})
	h.image("app", "1", made{layers: []string{"o", "p", "x"}})
	amd64, arm64 := &oci.Platform{OS: "linux", Architecture: "amd64"}, &oci.Platform{OS: "linux", Architecture: "arm64"}
	arm := h.image("base", "", made{platform: "linux/arm64", layers: []string{"o"}})
	arm.Platform = arm64
	wrong := h.image("base", "", made{layers: []string{"o", "p", "q"}})
	wrong.Size++
	for tag, d := range map[string]oci.Descriptor{
		"9-sparse": {MediaType: oci.MediaManifest, Digest: oci.FromBytes([]byte("gone")), Size: 77},
		"7-size":   wrong,
	} {
		d.Platform = amd64
		h.index("base", tag, nil, d, arm)
	}
	r, err := h.run("app:1", dray.RebaseOptions{NewBase: "base:new", EditOptions: dray.EditOptions{Targets: []string{"app:2"}}})
	if err != nil || r.Images[0].OldBase.Name != h.addr+"/base:1" || !strings.Contains(strings.Join(r.Images[0].Warnings, " "), "2 of the tags of "+h.addr+"/base could not be looked at") {
		t.Fatalf("%+v, %v", r, err)
	}
}

// An index of which only some images move says of its base what it has said.
func TestRebaseSomePlatforms(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	var old, onto, apps []oci.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		old = append(old, h.image("base", "", made{platform: p, layers: []string{"o"}}))
		onto = append(onto, h.image("base", "", made{platform: p, layers: []string{"n"}}))
		apps = append(apps, h.image("app", "", made{platform: p, layers: []string{"o", "x"}}))
	}
	attestation := h.image("app", "", made{layers: []string{"att"}})
	attestation.Platform = &oci.Platform{OS: "unknown", Architecture: "unknown"}
	attestation.Annotations = map[string]string{oci.AnnotationAbout: string(apps[1].Digest)}
	was := h.index("base", "1", nil, old...)
	h.index("app", "1", baseNotes(h.addr+"/base:1", was.Digest), append(apps, attestation)...)
	now := h.index("base", "1", nil, onto...)
	amd64, _ := oci.ParsePlatform("linux/amd64")
	for _, c := range []struct {
		platforms []oci.Platform
		want      oci.Digest
	}{{[]oci.Platform{amd64}, was.Digest}, {nil, now.Digest}} {
		o := dray.RebaseOptions{}
		o.Platforms, o.Targets = c.platforms, []string{"app:2"}
		r, err := h.run("app:1", o)
		if err != nil {
			t.Fatal(err)
		}
		top, err := oci.Fetch(t.Context(), h.store("app"), r.Root)
		if err != nil || top.Annotations[v1.AnnotationBaseImageDigest] != string(c.want) {
			t.Errorf("%v: %v, %v", c.platforms, top.Annotations, err)
		}
	}
}

// The values of variables are in no report: they may be secrets, and reports get
// into logs.
func TestBad_094_RebaseReport(t *testing.T) {
	t.Parallel()
	h := newRebaseHost(t)
	env := func(list ...string) v1.ImageConfig { return v1.ImageConfig{Env: list, User: list[0][:2]} }
	h.image("base", "old", made{layers: []string{"o"}, config: env("A=canary1", "B=canary2", "PATH=/o", "C=canary3")})
	h.image("base", "new", made{layers: []string{"n"}, config: env("A=canary4", "B=canary5", "PATH=/n", "D=canary6")})
	h.image("app", "1", made{layers: []string{"o", "x"}, config: env("A=canary7", "B=canary2", "PATH=/app:/o", "C=canary3", "Path=canary8")})
	r, err := h.run("app:1", dray.RebaseOptions{OldBase: "base:old", NewBase: "base:new"})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(r.Images)
	if strings.Contains(string(raw), "canary") || !strings.Contains(string(raw), "/app:/o") {
		t.Errorf("%s", raw)
	}
	var fields []string
	for _, c := range r.Images[0].Changes {
		fields = append(fields, c.Field)
	}
	for _, f := range []string{"env A", "env B", "env C", "env D", "env PATH"} {
		if !slices.Contains(fields, f) {
			t.Errorf("no %s in %v", f, fields)
		}
	}
}
