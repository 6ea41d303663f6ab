// SPDX-License-Identifier: Apache-2.0

package compare_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/compare"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

// lines is a report with one line for each change.
func lines(r *compare.Report) []string {
	var out []string
	add := func(format string, args ...any) {
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
	}
	for _, c := range r.Manifest {
		add("index %s %s %.12s %.12s", c.Op, c.Path, c.A, c.B)
	}
	for _, i := range r.Images {
		if i.Op != compare.Changed {
			add("%s %s", i.Op, i.Platform)
		}
		for _, c := range i.Manifest {
			add("%s manifest %s %s %s %s", i.Platform, c.Op, c.Path, c.A, c.B)
		}
		for _, c := range i.Config {
			add("%s config %s %s %s %s", i.Platform, c.Op, c.Path, c.A, c.B)
		}
		for _, c := range i.Layers {
			n := func(l *compare.Layer) string {
				if l == nil {
					return ""
				}
				return fmt.Sprint(l.Number, " ", l.History)
			}
			add("%s layer %s %s %s", i.Platform, c.Op, n(c.A), n(c.B))
		}
		for _, c := range i.Packages {
			add("%s package %s %s %s %s %s", i.Platform, c.Op, c.Manager, c.Name, c.A, c.B)
		}
		for _, c := range i.Files {
			at := func(f *compare.File) string {
				if f == nil {
					return ""
				}
				return fmt.Sprint(f.Layer)
			}
			add("%s file %s %s %s %s %s", i.Platform, c.Op, c.Path, strings.Join(c.What, ","), at(c.A), at(c.B))
		}
		for _, n := range i.Notes {
			add("note %s", n)
		}
	}
	return out
}

func diff(t *testing.T, p *place, a, b oci.Descriptor, o compare.Options, want ...string) *compare.Report {
	t.Helper()
	clear(p.opened)
	r, err := compare.Graphs(t.Context(), p.graph(a), p.graph(b), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(r); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Same() != (len(want) == 0) {
		t.Error("Same says something else")
	}
	return r
}

func only(s ...compare.Section) compare.Options { return compare.Options{Only: s} }

func TestConfig(t *testing.T) {
	t.Parallel()
	p := newPlace()
	a := p.image(t, func(m *v1.Manifest, c *v1.Image) {
		m.Annotations = map[string]string{"gone": "1", "stays": "2"}
		c.Config = v1.ImageConfig{User: "root", Env: []string{"PATH=/bin", "OLD=1", "SAME=x=y"}, Cmd: []string{"a", "b"},
			Labels: map[string]string{"org.x": "1", "org.y": "1"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}}
		c.History = []v1.History{{CreatedBy: "x"}}
	})
	b := p.image(t, func(m *v1.Manifest, c *v1.Image) {
		m.Annotations = map[string]string{"came": "<1>", "stays": "2"}
		c.Config = v1.ImageConfig{User: "app", Env: []string{"SAME=x=y", "PATH=/usr/bin", "NEW="}, Cmd: []string{"a"},
			Labels: map[string]string{"org.x": "2", "org.y": "1"}, ExposedPorts: map[string]struct{}{"8080/tcp": {}}, WorkingDir: "/w"}
		c.OSVersion = "1"
	})
	want := []string{
		"manifest added annotations.came <1>", "manifest removed annotations.gone 1",
		`config changed config.Cmd ["a","b"] ["a"]`, "config added config.Env.NEW", "config removed config.Env.OLD 1",
		"config changed config.Env.PATH /bin /usr/bin", "config removed config.ExposedPorts.80/tcp {}", "config added config.ExposedPorts.8080/tcp {}",
		"config changed config.Labels.org.x 1 2", "config changed config.User root app", "config added config.WorkingDir /w",
		"config added os.version 1", "config changed history 1 entries 0 entries",
	}
	diff(t, p, a, b, compare.Options{}, want...)
	diff(t, p, a, b, only(compare.Manifest), want[:2]...)
	diff(t, p, a, b, only(compare.Layers, compare.Files, compare.Packages))
}

func TestLayers(t *testing.T) {
	t.Parallel()
	p := newPlace()
	base, app := []entry{file("base", "1")}, []entry{file("app", "1")}
	history := func(lines ...string) func(*v1.Manifest, *v1.Image) {
		return func(_ *v1.Manifest, c *v1.Image) {
			for _, l := range lines {
				c.History = append(c.History, v1.History{CreatedBy: l, EmptyLayer: l == "empty"})
			}
		}
	}
	a := p.image(t, history("base", "empty", "old", "app"), base, []entry{file("x", "old")}, app)
	b := p.image(t, history("base", "new", "newer", "app"), base, []entry{file("x", "new")}, []entry{file("y", "new")}, app)
	diff(t, p, a, b, only(compare.Layers), "layer removed 2 old", "layer added 2 new", "layer added 3 newer")
	packed := p.image(t, func(m *v1.Manifest, _ *v1.Image) {
		for i, d := range m.Layers {
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			if _, err := w.Write(p.blobs[d.Digest]); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			m.Layers[i] = p.put(oci.MediaLayerGzip, z.Bytes())
		}
	}, base, []entry{file("x", "old")}, app)
	diff(t, p, a, packed, only(compare.Layers, compare.Files), "layer changed 1 base 1", "layer changed 2 old 2", "layer changed 3 app 3")
	if n := p.opened[oci.FromBytes(tarOf(t, base))]; n != 1 {
		t.Errorf("a config that says the same does not make two blobs the same: read %d times", n)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	p := newPlace()
	with := func(e entry, f func(h *tar.Header)) entry { f(&e.h); return e }
	base := []entry{dir("etc"), file("etc/passwd", "root"), file("etc/hosts", "local"), dir("usr"), dir("usr/lib"), file("usr/lib/x", "x"), link("lib", "usr/lib"),
		dir("gone"), file("gone/a", "a"), dir("hidden"), file("hidden/a", "a"), file("same", "same"), file("a.b", "1"), dir("a"), file("a/z", "1")}
	a := p.image(t, nil, base, []entry{file("only-a", "1"), file("both", "12345")})
	b := p.image(t, nil, base, []entry{
		file("etc/passwd", "toor"), with(file("etc/hosts", "local"), func(h *tar.Header) { h.Mode, h.Uid = 0o4755, 5 }), file("lib/y", "new"),
		file(".wh.gone", ""), file("hidden/.wh..wh..opq", ""), file("hidden/b", "b"), file("same", "same"), dir("only-a"), file("both", "1234"),
		with(file("a/z", "1"), func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "1"} }), link("a.b", "a"),
	})
	r := diff(t, p, a, b, only(compare.Files),
		"file changed /a/z xattrs 1 2", "file changed /a.b type,mode 1 2", "file changed /both size,content 2 2",
		"file changed /etc/hosts mode,owner 1 2", "file changed /etc/passwd content 1 2",
		"file removed /gone 1", "file removed /gone/a 1", "file removed /hidden/a 1", "file added /hidden/b 2",
		"file changed /only-a type,mode 2 2", "file added /usr/lib/y 2")
	for d, n := range p.opened {
		if n != 1 {
			t.Errorf("%s was opened %d times", d, n)
		}
	}
	for _, f := range r.Images[0].Files {
		if f.Path == "etc/passwd" && f.B.Digest != oci.FromBytes([]byte("toor")) {
			t.Errorf("digest %s", f.B.Digest)
		}
	}
	diff(t, p, a, a, compare.Options{})
	for d := range p.opened {
		t.Errorf("%s was opened to compare an image with itself", d)
	}
}

// Images of equal layers are not read, whatever else differs.
func TestEqualLayersAreNotRead(t *testing.T) {
	t.Parallel()
	p := newPlace()
	l := []entry{file("x", "1")}
	a := p.image(t, nil, l)
	b := p.image(t, func(_ *v1.Manifest, c *v1.Image) { c.Author = "me" }, l)
	diff(t, p, a, b, compare.Options{}, "config added author me")
	if p.opened[oci.FromBytes(tarOf(t, l))] != 0 {
		t.Error("the layer was read")
	}
}

const status = `Package: %s
Status: install ok installed
Architecture: amd64
Version: %s

`

func TestPackages(t *testing.T) {
	t.Parallel()
	p := newPlace()
	dpkg := func(list ...string) (s string) {
		for i := 0; i < len(list); i += 2 {
			s += fmt.Sprintf(status, list[i], list[i+1])
		}
		return s
	}
	base := []entry{dir("usr"), dir("usr/lib"), link("lib", "usr/lib"), file("var/lib/dpkg/status", dpkg("bash", "5.1", "old", "1", "same", "1")),
		file("lib/apk/db/installed", "P:musl\nV:1.2\nA:x86_64\n\n")}
	a := p.image(t, nil, base, []entry{file("etc/x", "1")})
	b := p.image(t, nil, base, []entry{file("var/lib/dpkg/status", dpkg("bash", "5.2", "same", "1", "new", "3"))}, []entry{file("usr/lib/apk/db/installed", "P:musl\nV:1.3\nA:x86_64\n\n")})
	diff(t, p, a, b, only(compare.Packages), "package changed apk musl 1.2 1.3", "package changed dpkg bash 5.1 5.2", "package added dpkg new 3", "package removed dpkg old 1")
	c := p.image(t, nil, base, []entry{file(".wh.var", "")})
	diff(t, p, a, c, only(compare.Packages), "package removed dpkg bash 5.1", "package removed dpkg old 1", "package removed dpkg same 1")
	broken := p.image(t, nil, base, []entry{file("var/lib/rpm/rpmdb.sqlite", "nothing")})
	r, err := compare.Graphs(t.Context(), p.graph(a), p.graph(broken), only(compare.Packages))
	if err != nil || len(r.Images) != 1 || len(r.Images[0].Notes) != 1 || len(r.Images[0].Packages) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	p := newPlace()
	image := func(arch, content string) oci.Descriptor {
		return p.image(t, func(_ *v1.Manifest, c *v1.Image) { c.Architecture = arch }, []entry{file("x", content+arch)})
	}
	attestation := p.put(oci.MediaManifest, []byte(`{"schemaVersion":2,"layers":[]}`))
	attestation.Platform = &oci.Platform{OS: "unknown", Architecture: "unknown"}
	a := p.index(t, image("amd64", "1"), image("arm64", "1"), image("s390x", "1"), attestation)
	b := p.index(t, image("amd64", "2"), image("riscv64", "1"), p.index(t, image("arm64", "1")))
	diff(t, p, a, b, compare.Options{},
		"index removed manifests sha256:"+string(attestation.Digest)[7:12],
		"linux/amd64 layer removed 1", "linux/amd64 layer added 1", "linux/amd64 file changed /x content 1 1", "removed linux/s390x", "added linux/riscv64")
	if p.opened[image("arm64", "1").Digest] > 0 {
		t.Error("a platform that is the same was read")
	}
	diff(t, p, a, image("arm64", "1"), only(compare.Config), "removed linux/amd64", "removed linux/s390x")
	diff(t, p, image("arm64", "1"), image("amd64", "1"), only(compare.Config), "config changed architecture arm64 amd64")
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	s, err := mem.New().Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a, b := ocitest.Artifact(1, "application/x", nil), ocitest.Artifact(2, "application/y", nil)
	if err := errors.Join(a.Push(t.Context(), s), b.Push(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	r, err := compare.Graphs(t.Context(), oci.Graph{Root: a.Root, Source: s}, oci.Graph{Root: b.Root, Source: s}, compare.Options{})
	if want := []string{"manifest changed annotations.org.example.seed 1 2", "manifest changed artifactType application/x application/y", "layer removed 1", "layer added 1"}; err != nil || !slices.Equal(lines(r), want) {
		t.Errorf("%q, %v", lines(r), err)
	}
}

// What comes out is what was edited, in any layer and any order of edits.
func TestRandomEdits(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := newPlace()
		var base []entry
		for d := range 5 {
			base = append(base, dir(fmt.Sprintf("d%d", d)))
			for f := range 6 {
				base = append(base, file(fmt.Sprintf("d%d/f%d", d, f), fmt.Sprint(rnd.IntN(3))))
			}
		}
		var edits, other []entry
		var want []string
		for d := range 5 {
			for f := range 6 {
				name, was := fmt.Sprintf("d%d/f%d", d, f), base[d*7+f+1].content
				switch rnd.IntN(8) {
				case 0:
					edits = append(edits, file(fmt.Sprintf("d%d/.wh.f%d", d, f), ""))
					want = append(want, "file removed /"+name+" 1")
				case 1:
					edits = append(edits, file(name, was+"x"))
					want = append(want, "file changed /"+name+" size,content 1 3")
				case 2:
					edits = append(edits, file(name, "y"))
					want = append(want, "file changed /"+name+" content 1 3")
				case 3:
					edits = append(edits, file(name+"n", "1"))
					want = append(want, "file added /"+name+"n 3")
				case 4: // the same again is no change
					edits = append(edits, file(name, was))
				case 5: // what comes and goes is no change
					other = append(other, file(name+"t", "1"))
					edits = append(edits, file(fmt.Sprintf("d%d/.wh.f%dt", d, f), ""))
				}
			}
		}
		rnd.Shuffle(len(edits), func(i, j int) { edits[i], edits[j] = edits[j], edits[i] })
		a := p.image(t, nil, base)
		b := p.image(t, nil, base, other, edits)
		slices.Sort(want)
		r, err := compare.Graphs(t.Context(), p.graph(a), p.graph(b), only(compare.Files))
		if err != nil {
			t.Fatal(err)
		}
		got := lines(r)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("seed %d: got\n%s\nwant\n%s", seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		back, err := compare.Graphs(t.Context(), p.graph(b), p.graph(a), only(compare.Files))
		if err != nil || len(lines(back)) != len(want) {
			t.Errorf("seed %d: backwards %q, %v", seed, lines(back), err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	p := newPlace()
	shared, upper := []entry{file("s", "1")}, []entry{file("x", "2")}
	a, b := p.image(t, nil, shared), p.image(t, nil, shared, upper)
	for _, l := range [][]entry{shared, upper} {
		d := oci.FromBytes(tarOf(t, l))
		good := p.blobs[d]
		p.blobs[d] = bytes.Repeat([]byte{0}, len(good))
		if _, err := compare.Graphs(t.Context(), p.graph(a), p.graph(b), compare.Options{}); !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("corrupt layer: %v", err)
		}
		delete(p.blobs, d)
		if _, err := compare.Graphs(t.Context(), p.graph(a), p.graph(b), compare.Options{}); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("missing layer: %v", err)
		}
		p.blobs[d] = good
	}
	bad := p.image(t, nil, shared, []entry{file("../x", "1")})
	if _, err := compare.Graphs(t.Context(), p.graph(a), p.graph(bad), compare.Options{}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("unsafe path: %v", err)
	}
}
