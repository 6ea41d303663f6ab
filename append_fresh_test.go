// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci/ocitest"
)

// onto appends tars to an image, and returns what it says and the entries of the
// top layer.
func (h *counted) onto(base, name string, o dray.AppendOptions, tars ...[]byte) (notes, entries []string) {
	h.t.Helper()
	for _, b := range tars {
		o.Layers = append(o.Layers, dray.LayerInput{File: saved(h.t, "app.tar", b)})
	}
	o.Bases, o.Targets = []string{h.name + "/" + base}, []string{h.name + "/" + name}
	e, err := appended(h.t, dray.Env{}, o)
	if err != nil {
		h.t.Fatal(err)
	}
	repo, tag, _ := strings.Cut(name, ":")
	all := h.read(repo, tag).Layers()
	return e.Notes, entriesOf(h.t, all[len(all)-1])
}

// A link below a name that no distribution has survives if the base may have
// got it from an append, or says so elsewhere.
func TestAppendKeepsLinksOfApps(t *testing.T) {
	t.Parallel()
	releases := []tarFile{{name: "app/"}, {name: "app/releases/"}, {name: "app/releases/1/"}, {name: "app/releases/1/x"}, {name: "app/current", link: "releases/1"}}
	linked := []tarFile{{name: "srv/"}, {name: "srv/a/"}, {name: "app", link: "srv/a"}}
	many := releases
	for n := range 9 {
		many = append(many[:len(many):len(many)], tarFile{name: fmt.Sprint("a", n, "/")})
	}
	odd := append(releases[:len(releases):len(releases)], tarFile{name: "zwölf, 13/"})
	for _, c := range []struct {
		name  string
		lower []tarFile
		upper string
		want  string
		o     dray.AppendOptions // of the lower
	}{
		{"below", releases, "app/current/conf", "app/releases/1/conf", dray.AppendOptions{}},
		{"at the top", linked, "app/conf", "srv/a/conf", dray.AppendOptions{}},
		{"many names", many, "app/current/conf", "app/releases/1/conf", dray.AppendOptions{}},
		{"odd names", odd, "app/current/conf", "app/releases/1/conf", dray.AppendOptions{}},
		{"exact", releases, "app/current/conf", "app/releases/1/conf", dray.AppendOptions{Exact: true}},
		{"blind", releases, "app/current/conf", "app/releases/1/conf", dray.AppendOptions{Blind: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newCounted(t)
			h.put("debian:12", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
			h.onto("debian:12", "app:1", c.o, tarOf(t, c.lower...))
			_, got := h.onto("app:1", "app:2", dray.AppendOptions{}, tarOf(t, tarFile{name: c.upper}))
			if !slices.Equal(got, []string{c.want}) {
				t.Errorf("%q, want %q", got, c.want)
			}
			h.validated("app:2")
		})
	}
}

// A base that is made of appends names what they brought at the top, so that for
// other names it is not read.
func TestAppendNamesItsTops(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("debian:12", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	h.onto("debian:12", "app:1", dray.AppendOptions{}, tarOf(t, tarFile{name: "app/x"}, tarFile{name: "data/"}))
	lines := h.read("app", "1").History
	if by := lines[len(lines)-1].CreatedBy; by != "dray append file app.tar: app, data" {
		t.Errorf("%q", by)
	}
	for name, reads := range map[string]bool{"web/x": false, "app/y": true, "data/y": true, "DATA/y": true, "app.tar/y": true, "apple/y": false} {
		if notes, _ := h.onto("app:1", "app:2", dray.AppendOptions{}, tarOf(t, tarFile{name: name})); (len(notes) > 0) != reads {
			t.Errorf("%s: %q", name, notes)
		}
	}
}

// Whether a base is read depends on its config and history.
func TestAppendReadsWhatMayBeThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines  []string
		config v1.ImageConfig
		reads  bool
		deep   bool
	}{
		"system":             {lines: []string{"# debian.sh --arch amd64"}},
		"system, deep":       {lines: []string{"# debian.sh --arch amd64"}, deep: true, reads: true},
		"squashed":           {lines: []string{""}, reads: true},
		"script":             {lines: []string{"ADD file:1 in /", "RUN ./setup.sh"}, reads: true},
		"classic script":     {lines: []string{"ADD file:1 in /", "/bin/sh -c ./setup.sh"}, reads: true},
		"classic copy":       {lines: []string{"/bin/sh -c #(nop) ADD file:1 in / ", "/bin/sh -c #(nop) COPY file:2 in /usr/bin/ "}},
		"a program":          {lines: []string{"ADD file:1 in /", "buildpacks"}, reads: true},
		"no word":            {lines: []string{"ADD file:1 in /", ""}, reads: true},
		"unknown":            {lines: []string{"unknown", "RUN x"}, reads: true},
		"files for the root": {lines: []string{"ADD file:1 in /", "COPY rootfs/ / # buildkit"}, reads: true},
		"a file elsewhere":   {lines: []string{"ADD file:1 in /", "COPY x /usr/bin # buildkit"}},
		"mentioned":          {lines: []string{"ADD file:1 in /", "COPY current /app"}, reads: true},
		"part of a word":     {lines: []string{"ADD file:1 in /", "COPY apparmor my-app app.d /usr/bin/"}},
		"append":             {lines: []string{"ADD file:1 in /", "dray append file x.tar"}, reads: true},
		"append, more":       {lines: []string{"ADD file:1 in /", "dray append file x.tar: x, …"}, reads: true},
		"append, all":        {lines: []string{"ADD file:1 in /", "dray append file x.tar: x"}},
		"flat":               {lines: []string{"dray flatten"}, reads: true},
		"directory":          {lines: []string{"x"}, config: v1.ImageConfig{WorkingDir: "/app"}, reads: true},
		"entrypoint":         {lines: []string{"x"}, config: v1.ImageConfig{Entrypoint: []string{"/app/run"}}, reads: true},
		"command":            {lines: []string{"x"}, config: v1.ImageConfig{Cmd: []string{"sh", "-c", "cd /App&&run"}}, reads: true},
		"environment":        {lines: []string{"x"}, config: v1.ImageConfig{Env: []string{"PATH=/bin:/app/bin"}}, reads: true},
		"volume":             {lines: []string{"x"}, config: v1.ImageConfig{Volumes: map[string]struct{}{"/app": {}}}, reads: true},
		"label":              {lines: []string{"x"}, config: v1.ImageConfig{Labels: map[string]string{"home": "is at /app."}}, reads: true},
		"prose":              {lines: []string{"x"}, config: v1.ImageConfig{Labels: map[string]string{"what": "an app"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newCounted(t)
			base := imageOf{platform: "linux/amd64", lines: c.lines, config: c.config}
			for n := range c.lines {
				base.layers = append(base.layers, tarOf(t, tarFile{name: "etc/"}, tarFile{name: fmt.Sprint("etc/", n)}))
			}
			h.put("base:1", base)
			if notes, _ := h.onto("base:1", "app:1", dray.AppendOptions{Deep: c.deep}, tarOf(t, tarFile{name: "app/x"})); (len(notes) > 0) != c.reads {
				t.Errorf("%q", notes)
			}
		})
	}
}

// A layer that was sent while it was packed counts as sent, once.
func TestAppendCountsWhatWasSentEarly(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	o := dray.AppendOptions{Bases: []string{h.name + "/base:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "app/x", text: string(ocitest.Random(1, 20<<20))}))}}}
	o.Targets = []string{h.name + "/app:1", h.name + "/app:2"}
	e, err := appended(t, dray.Env{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Totals(); got.Bytes < 20<<20 || got.Bytes > 21<<20 || got.Saved > 1<<20 || e.Moved() < 20<<20 {
		t.Errorf("%+v, %d moved", got, e.Moved())
	}
}

// What may surprise is said once.
func TestAppendNotes(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", docker: true, layers: [][]byte{tarOf(t, append(debian, tarFile{name: "srv/"})...)}})
	var packed bytes.Buffer
	z, err := layer.Packing{Compression: layer.Zstd}.NewWriter(&packed)
	if err == nil {
		_, err = z.Write(tarOf(t, tarFile{name: "srv/"}))
		err = errors.Join(err, z.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	notes, _ := h.onto("base:1", "app:1", dray.AppendOptions{Packing: &layer.Packing{Compression: layer.Zstd}}, packed.Bytes(), packed.Bytes())
	for _, want := range []string{"Docker engines before 23", "the base's srv keeps its mode and owner"} {
		if n := len(slices.DeleteFunc(slices.Clone(notes), func(s string) bool { return !strings.Contains(s, want) })); n != 1 {
			t.Errorf("%q: %d times in %q", want, n, notes)
		}
	}
}

// Several foreign layers are one line.
func TestAppendForeignIsOneNote(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("win:1", imageOf{platform: "windows/amd64:10.0.1.1", foreign: true, layers: [][]byte{tarOf(t, tarFile{name: "Files/"}), tarOf(t, tarFile{name: "Hives/"})}})
	o := dray.AppendOptions{Bases: []string{h.name + "/win:1"}, Layers: []dray.LayerInput{{File: saved(t, "app.tar", tarOf(t, tarFile{name: "app/x"}))}}}
	o.Targets = []string{h.name + "/app:1"}
	e, err := appended(t, dray.Env{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Images[0].Notes; !slices.Equal(got, []string{"2 foreign layers are not copied: they stay where their URLs say"}) {
		t.Errorf("%q", got)
	}
	if by := h.read("app", "1").History[2].CreatedBy; by != "dray append file app.tar" {
		t.Errorf("%q", by)
	}
}
