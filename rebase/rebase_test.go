// SPDX-License-Identifier: Apache-2.0

package rebase_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
)

type m = map[string]any

// on makes an application on a base, with more in its config.
func (p part) on(base part) part {
	p.layers = slices.Concat(base.layers, p.layers)
	p.lines = slices.Concat(base.lines, p.lines)
	all := m{}
	for k, v := range base.config {
		all[k] = v
	}
	for k, v := range p.config {
		all[k] = v
	}
	p.config = all
	return p
}

func config(t *testing.T, s shelf, d oci.Descriptor) (c v1.Image) {
	t.Helper()
	if err := json.Unmarshal(read(t, s, d).Config, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// The layers of an application without history are all kept, and none of the
// old base's.
func TestWithoutHistory(t *testing.T) {
	t.Parallel()
	with := part{layers: []string{"n1", "n2"}, lines: []string{"n1", "n2", "-CMD"}}
	for name, c := range map[string]struct{ old, app, onto part }{
		"application": {part{layers: []string{"o"}}, part{layers: []string{"x", "y"}}, with},
		"old base":    {part{layers: []string{"o"}}, part{layers: []string{"x", "y"}, lines: []string{"o", "x", "y"}}, with},
		"new base":    {part{layers: []string{"o"}, lines: []string{"o"}}, part{layers: []string{"x", "y"}, lines: []string{"x", "y"}}, part{layers: []string{"n1", "n2"}}},
		"odd":         {part{layers: []string{"o"}}, part{layers: []string{"x", "y"}, lines: []string{"just one", "-CMD"}}, with},
		"all":         {part{layers: []string{"o"}}, part{layers: []string{"x", "y"}}, part{layers: []string{"n1", "n2"}}},
	} {
		s := shelf{}
		got, _ := move(t, s, c.app.on(c.old).put(s), c.old.put(s), c.onto.put(s))
		i := read(t, s, got)
		want := []oci.Digest{id("plain", "n1"), id("plain", "n2"), id("plain", "x"), id("plain", "y")}
		filled := 0
		for _, h := range i.History {
			if !h.EmptyLayer {
				filled++
			}
		}
		if !slices.Equal(i.DiffIDs, want) || len(i.Manifest.Layers) != 4 || filled != 4 && name != "all" || filled > 4 {
			t.Errorf("%s: %s", name, text(s, got))
		}
	}
}

// Nothing of an OCI image goes: annotations, variant, author and members that
// nobody knows; and it stays one on a base of Docker's, as one of Docker's does
// on a base of OCI's.
func TestFamilyAndMembersStay(t *testing.T) {
	t.Parallel()
	outer := m{"created": "2026-02-02T00:00:00Z", "author": "ann", "architecture": "arm64", "variant": "v8", "x.unknown": m{"a": 1}}
	for _, docker := range []bool{false, true} {
		s := shelf{}
		old := part{docker: docker, layers: []string{"o"}, outer: m{"architecture": "arm64", "variant": "v8"}}
		onto := part{docker: !docker, layers: []string{"n"}, outer: m{"architecture": "arm64", "variant": "v8", "created": "2026-03-03T00:00:00Z", "author": "ben"}}
		app := part{docker: docker, layers: []string{"x"}, outer: outer, notes: map[string]string{"a": "b"}}
		got, _ := move(t, s, app.on(old).put(s), old.put(s), onto.put(s))
		i, c := read(t, s, got), config(t, s, got)
		if i.Manifest.Annotations["a"] != "b" || c.Author != "ann" || c.Created == nil || c.Created.Year() != 2026 || c.Created.Month() != 2 || c.Variant != "v8" ||
			!strings.Contains(string(i.Config), `"x.unknown":{"a":1}`) {
			t.Errorf("docker %v: %s", docker, text(s, got))
		}
		for _, d := range append(i.Manifest.Layers, *i.Manifest.Config, i.Manifest.Descriptor) {
			if oci.IsDocker(d.MediaType) != docker {
				t.Errorf("docker %v: %s", docker, d.MediaType)
			}
		}
	}
}

// A base that was packed in another way is the same base.
func TestRepackedBase(t *testing.T) {
	t.Parallel()
	s := shelf{}
	old := part{layers: []string{"o1", "o2"}}
	app := part{layers: []string{"x"}}.on(old).put(s)
	old.zstd = true
	got, report := move(t, s, app, old.put(s), part{layers: []string{"n"}}.put(s))
	if i := read(t, s, got); len(i.DiffIDs) != 2 || report.Repacked != 2 || report.Old != 2 || report.Own != 1 {
		t.Errorf("%+v\n%s", report, text(s, got))
	}
}

// What is not the base, or does not fit, is refused; what only seems wrong is
// done by force.
func TestRefused(t *testing.T) {
	t.Parallel()
	windows := func(version, user string) m { return m{"os": "windows", "os.version": version} }
	label := func(k, v string) m { return m{"Labels": m{k: v}} }
	base := part{layers: []string{"o"}}
	for name, c := range map[string]struct {
		old, app, onto   part
		oldName, newName string
		want             string
		force            bool // helps
	}{
		"architecture of new": {old: base, app: part{layers: []string{"x"}}, onto: part{layers: []string{"n"}, outer: m{"architecture": "arm64"}}, want: "for linux/amd64, and the new base for linux/arm64"},
		"architecture of old": {old: part{layers: base.layers, outer: m{"architecture": "arm64"}}, app: part{layers: []string{"x"}}, onto: part{layers: []string{"n"}}, want: "the old base for linux/arm64"},
		"os":                  {old: base, app: part{layers: []string{"x"}}, onto: part{layers: []string{"n"}, outer: m{"os": "windows"}}, want: "windows/amd64"},
		"variant":             {old: base, app: part{layers: []string{"x"}}, onto: part{layers: []string{"n"}, outer: m{"variant": "v3"}}, want: "linux/amd64/v3", force: true},
		"not the whole base":  {old: part{layers: []string{"o", "p"}}, app: part{layers: []string{"o", "x"}}, onto: part{layers: []string{"n"}}, want: "layer 2 of the image is not layer 2 of the base"},
		"too short":           {old: part{layers: []string{"o", "p"}}, app: part{layers: []string{"o"}}, onto: part{layers: []string{"n"}}, want: "image has 1 layers, and the base 2"},
		"nano": {old: base, app: part{layers: []string{"x"}, outer: windows("10.0.1.2", "")}, onto: part{layers: []string{"n"}, outer: windows("10.0.1.3", "")},
			oldName: "mcr.example/windows/servercore:ltsc2022", newName: "mcr.example/windows/nanoserver:ltsc2022", want: "Nano Server", force: true},
		"nano by user": {old: base, app: part{layers: []string{"x"}, outer: windows("10.0.1.2", "")}, onto: part{layers: []string{"n"}, outer: windows("10.0.1.3", ""), config: m{"User": "ContainerUser"}},
			want: "Nano Server", force: true},
		"not rebasable": {old: base, app: part{layers: []string{"x"}, config: label("io.buildpacks.rebasable", "false")}, onto: part{layers: []string{"n"}}, want: "rebasable=false", force: true},
		"other stack": {old: base, app: part{layers: []string{"x"}, config: label("io.buildpacks.stack.id", "a")}, onto: part{layers: []string{"n"}, config: label("io.buildpacks.stack.id", "b")},
			want: "stack", force: true},
	} {
		s := shelf{}
		if c.old.outer == nil {
			c.old.outer = c.app.outer
		}
		app := c.app
		if !slices.Equal(c.app.layers[:1], c.old.layers[:1]) {
			app = app.on(part{layers: c.old.layers, config: c.old.config})
		}
		a, old, onto := app.put(s), read(t, s, c.old.put(s)), read(t, s, c.onto.put(s))
		o := rebase.Options{From: s, Old: c.oldName, New: c.newName}
		_, err := rebase.Image(load(t, s, a), old, onto, o)
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.want) || errors.Is(err, rebase.ErrRefused) != c.force {
			t.Errorf("%s: %v", name, err)
		}
		o.Force = true
		i := load(t, s, a)
		if _, err := rebase.Image(i, old, onto, o); (err == nil) != c.force {
			t.Errorf("%s by force: %v", name, err)
		} else if err == nil && i.Platform().Variant != onto.Platform.Variant {
			t.Errorf("%s by force: %v", name, i.Platform())
		}
	}
}

// A layer whose digest has two diff IDs is an error.
func TestBad_024_DiffIDsThatDisagree(t *testing.T) {
	t.Parallel()
	s := shelf{}
	app := part{layers: []string{"o", "x"}}.put(s)
	old := part{layers: []string{"o"}, outer: m{"rootfs": m{"type": "layers", "diff_ids": []oci.Digest{id("plain", "else")}}}}
	_, err := rebase.Image(load(t, s, app), read(t, s, old.put(s)), read(t, s, part{layers: []string{"n"}}.put(s)), rebase.Options{From: s})
	if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "unpacks to") {
		t.Error(err)
	}
}

// An image that is on the new base is left as it is, also if the new base is
// made on the old one.
func TestAlready(t *testing.T) {
	t.Parallel()
	s := shelf{}
	old, onto := part{layers: []string{"o"}}, part{layers: []string{"o", "n"}}
	app := part{layers: []string{"x"}}.on(onto).put(s)
	for _, from := range []part{old, {layers: []string{"other"}}} {
		if got, report := move(t, s, app, from.put(s), onto.put(s)); got.Digest != app.Digest || !report.Already || report.Own != 1 {
			t.Errorf("%+v", report)
		}
	}
	down := part{layers: []string{"x"}}.on(old).put(s)
	if got, report := move(t, s, app, onto.put(s), old.put(s)); got.Digest != down.Digest || report.Already {
		t.Errorf("down: %+v\n%s", report, text(s, got))
	}
}

// A layer that the base has twice tells nothing: the application may have put it
// there once more, and the old base that is known counts.
func TestRepeatedLayers(t *testing.T) {
	t.Parallel()
	s := shelf{}
	old, onto := part{layers: []string{"e"}}, part{layers: []string{"e", "e"}, config: m{"User": "new"}}
	app := part{layers: []string{"e", "a"}}.on(old).put(s)
	got, report := move(t, s, app, old.put(s), onto.put(s))
	if i := read(t, s, got); report.Already || report.Own != 2 || len(i.DiffIDs) != 4 || config(t, s, got).Config.User != "new" {
		t.Errorf("%+v, %v", report, i.DiffIDs)
	}
	if _, report = move(t, s, app, part{layers: []string{"other"}}.put(s), onto.put(s)); !report.Already {
		t.Errorf("%+v", report)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, app, onto m // app: what the application sets
		want           string
		changes        string
	}{
		"inherited":                         {m{"User": "a", "WorkingDir": "/a"}, nil, m{"User": "b"}, `{"User":"b"}`, "user base, workdir base"},
		"own":                               {m{"User": "a"}, m{"User": "x"}, m{"User": "b"}, `{"User":"x"}`, "user app conflict"},
		"own where the base did not change": {m{"User": "a"}, m{"User": "x"}, m{"User": "a"}, `{"User":"x"}`, ""},
		"env": {m{"Env": []string{"PATH=/a:/b", "A=1", "B=1", "C=1"}}, m{"Env": []string{"PATH=/x:/a:/b:/y", "A=1", "B=2", "C=1", "X=1"}},
			m{"Env": []string{"PATH=/c", "D=1", "A=3", "B=3"}}, `{"Env":["PATH=/x:/c:/y","D=1","A=3","B=2","X=1"]}`, "env PATH both, env D base, env A base, env B app conflict, env C base"},
		"path that is not in one piece": {m{"Env": []string{"PATH=/a:/b"}}, m{"Env": []string{"PATH=/a:/x:/b"}}, m{"Env": []string{"PATH=/c"}}, `{"Env":["PATH=/a:/x:/b"]}`, "env PATH app conflict"},
		"path of its own":               {m{}, m{"Env": []string{"PATH=/x"}}, m{"Env": []string{"PATH=/c"}}, `{"Env":["PATH=/x:/c"]}`, "env PATH both"},
		"env in another order":          {m{"Env": []string{"A=1", "B=1"}}, m{"Env": []string{"X=1", "B=1", "A=1"}}, m{"Env": []string{"B=2", "C=1"}}, `{"Env":["X=1","B=2","C=1"]}`, "env B base, env C base, env A base"},
		"env that goes":                 {m{"Env": []string{"A=1"}}, nil, m{}, `{}`, "env A base"},
		"entrypoint hides the base's cmd": {m{"Entrypoint": []string{"a"}, "Cmd": []string{"a"}}, m{"Entrypoint": []string{"x"}, "Cmd": []string{"a"}}, m{"Entrypoint": []string{"b"}, "Cmd": []string{"b"}},
			`{"Entrypoint":["x"],"Cmd":["a"]}`, "entrypoint app conflict, cmd app conflict"},
		"cmd goes to the base's entrypoint": {m{"Entrypoint": []string{"a"}, "Cmd": []string{"a"}}, m{"Cmd": []string{"x"}}, m{"Entrypoint": []string{"b"}, "Cmd": []string{"b"}},
			`{"Entrypoint":["b"],"Cmd":["x"]}`, "entrypoint base, cmd app conflict"},
		"sets": {m{"Labels": m{"a": "1", "b": "1"}, "Volumes": m{"/v": m{}}, "ExposedPorts": m{"1/tcp": m{}}}, m{"Labels": m{"a": "1", "b": "2", "x": "1"}},
			m{"Labels": m{"a": "3", "b": "3", "c": "3"}, "ExposedPorts": m{"2/tcp": m{}}}, `{"ExposedPorts":{"2/tcp":{}},"Labels":{"a":"3","b":"2","c":"3","x":"1"}}`,
			"port 1/tcp base, port 2/tcp base, label a base, label b app conflict, label c base, volume /v base"},
		"whole members": {m{"Healthcheck": m{"Test": []string{"a"}, "StartInterval": 5}, "StopSignal": "SIGA", "Unknown": m{"a": 1}}, nil, m{"Healthcheck": m{"Test": []string{"b"}, "StartInterval": 6}, "Unknown": m{"a": 2}},
			`{"Healthcheck":{"StartInterval":6,"Test":["b"]},"Unknown":{"a":2}}`, "healthcheck base, stop signal base, unknown base"},
		"triggers": {m{"OnBuild": []string{"RUN a"}}, m{"OnBuild": nil}, m{"OnBuild": []string{"RUN b"}}, `{"OnBuild":null}`, ""},
	} {
		s := shelf{}
		old, onto := part{layers: []string{"o"}, config: c.old}, part{layers: []string{"n"}, config: c.onto}
		got, report := move(t, s, part{layers: []string{"x"}, config: c.app}.on(old).put(s), old.put(s), onto.put(s))
		var doc struct{ Config json.RawMessage }
		if err := json.Unmarshal(read(t, s, got).Config, &doc); err != nil || string(doc.Config) != c.want {
			t.Errorf("%s: %s, want %s", name, doc.Config, c.want)
		}
		var changes []string
		for _, x := range report.Changes {
			line := x.Field + " " + string(x.Took)
			if x.Conflict {
				line += " conflict"
			}
			changes = append(changes, line)
		}
		if text := strings.Join(changes, ", "); text != c.changes {
			t.Errorf("%s: %s, want %s", name, text, c.changes)
		}
	}
}

// On Windows the case of variables does not count, and members of the path have
// semicolons between them; os.version is always that of the base.
func TestWindows(t *testing.T) {
	t.Parallel()
	s := shelf{}
	old := part{layers: []string{"o"}, outer: m{"os": "windows", "os.version": "10.0.1.1"}, config: m{"Env": []string{`Path=C:\a;C:\b`, "Temp=1"}}}
	onto := part{layers: []string{"n"}, outer: m{"os": "windows", "os.version": "10.0.2.1", "os.features": []string{"win32k"}}, config: m{"Env": []string{`PATH=C:\c`, "TEMP=2"}}}
	app := part{layers: []string{"x"}, outer: m{"os": "windows", "os.version": "10.0.1.0"}, config: m{"Env": []string{`Path=C:\a;C:\b;C:\app`, "Temp=1"}}}
	got, _ := move(t, s, app.on(old).put(s), old.put(s), onto.put(s))
	c := config(t, s, got)
	if c.OSVersion != "10.0.2.1" || !slices.Equal(c.OSFeatures, []string{"win32k"}) || !slices.Equal(c.Config.Env, []string{`Path=C:\c;C:\app`, "TEMP=2"}) {
		t.Errorf("%+v", c)
	}
}

// What buildpacks have recorded is enough without the old base, and is brought
// up to date.
func TestBuildpacks(t *testing.T) {
	t.Parallel()
	s := shelf{}
	meta := func(layer, ref string) string {
		return fmt.Sprintf(`{"app":[{"sha":"1"}],"runImage":{"topLayer":"%s","reference":"%s"},"stack":{"runImage":{"image":"example/run:1"}}}`, id("plain", layer), ref)
	}
	app := part{layers: []string{"o1", "o2", "x"}, config: m{"User": "cnb", "Labels": m{"io.buildpacks.lifecycle.metadata": meta("o2", "example/run@old"), "io.buildpacks.base.distro.name": "a"}}}
	onto := part{layers: []string{"n"}, config: m{"User": "root", "Labels": m{"io.buildpacks.base.distro.name": "b"}}}
	i := load(t, s, app.put(s))
	run, ok := rebase.Buildpacks(i)
	if !ok || run != (rebase.RunImage{Layers: 2, Reference: "example/run@old", Name: "example/run:1"}) {
		t.Fatalf("%+v, %v", run, ok)
	}
	if _, err := rebase.Image(i, nil, read(t, s, onto.put(s)), rebase.Options{Layers: run.Layers, From: s, Reference: "example/run@new"}); err != nil {
		t.Fatal(err)
	}
	c, err := i.Config()
	if err != nil || c.Config.User != "cnb" || c.Config.Labels["io.buildpacks.base.distro.name"] != "b" || c.Config.Labels["io.buildpacks.lifecycle.metadata"] != meta("n", "example/run@new") {
		t.Errorf("%+v, %v", c.Config, err)
	}
	if got := i.Layers(); len(got) != 2 || got[1].DiffID != id("plain", "x") {
		t.Errorf("%+v", got)
	}
	if _, ok := rebase.Buildpacks(load(t, s, part{layers: []string{"x"}, config: m{"Labels": m{"io.buildpacks.lifecycle.metadata": "{"}}}.put(s))); ok {
		t.Error("broken label was read")
	}
}

// A config that would take hours to merge is refused.
func TestBad_024_ManyMembers(t *testing.T) {
	t.Parallel()
	many, env := m{}, []string{}
	for n := range 2001 {
		many[fmt.Sprint(n)] = ""
		env = append(env, fmt.Sprint(n, "="))
	}
	for _, c := range []m{{"Labels": many}, {"Env": env}, many} {
		s := shelf{}
		old := part{layers: []string{"o"}}
		app := part{layers: []string{"o", "x"}}.put(s)
		_, err := rebase.Image(load(t, s, app), read(t, s, old.put(s)), read(t, s, part{layers: []string{"n"}, config: c}.put(s)), rebase.Options{From: s})
		if !errors.Is(err, oci.ErrInvalid) {
			t.Error(err)
		}
	}
}

func TestScratch(t *testing.T) {
	t.Parallel()
	s := shelf{}
	app := part{layers: []string{"x"}, lines: []string{"x"}, config: m{"User": "x"}}.put(s)
	base := part{layers: []string{"n"}, lines: []string{"n", "-CMD"}, config: m{"Cmd": []string{"n"}}}.put(s)
	scratch, err := rebase.Scratch(oci.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	i := load(t, s, app)
	if _, err := rebase.Image(i, scratch, read(t, s, base), rebase.Options{From: s}); err != nil {
		t.Fatal(err)
	}
	onBase := seal(t, s, i)
	i = load(t, s, onBase)
	if _, err := rebase.Image(i, read(t, s, base), scratch, rebase.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := seal(t, s, i); got.Digest != app.Digest || onBase.Digest == app.Digest {
		t.Error(text(s, got))
	}
}

// Foreign layers of a base stay foreign, with their URLs.
func TestForeignLayers(t *testing.T) {
	t.Parallel()
	s := shelf{}
	c := s.add(oci.MediaDockerConfig, m{"os": "linux", "architecture": "amd64", "rootfs": m{"type": "layers", "diff_ids": []oci.Digest{id("plain", "n")}}})
	d := oci.Descriptor{MediaType: oci.MediaDockerForeign, Digest: id("packed", "n"), Size: 9, URLs: []string{"https://example.com/n"}}
	onto := s.add(oci.MediaDockerManifest, m{"schemaVersion": 2, "mediaType": oci.MediaDockerManifest, "config": c, "layers": []oci.Descriptor{d}})
	old := part{layers: []string{"o"}}
	got, _ := move(t, s, part{layers: []string{"x"}}.on(old).put(s), old.put(s), onto)
	if l := read(t, s, got).Manifest.Layers[0]; !oci.IsForeign(l) || oci.IsDocker(l.MediaType) || !slices.Equal(l.URLs, d.URLs) {
		t.Errorf("%+v", l)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	one := layer.Paths{Count: 5, First: []string{"a", "b", "c", "d"}}
	for name, c := range map[string]layer.Collision{"registry": {Hives: one}, "package": {Packages: one}} {
		if _, err := rebase.Check(c, false); !errors.Is(err, rebase.ErrRefused) || !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "and 2 more") {
			t.Errorf("%s: %v", name, err)
		}
		if w, err := rebase.Check(c, true); len(w) != 1 || err != nil {
			t.Errorf("%s by force: %q, %v", name, w, err)
		}
	}
	if w, err := rebase.Check(layer.Collision{Changed: one, Whiteouts: one}, false); len(w) != 2 || err != nil {
		t.Errorf("%q, %v", w, err)
	}
}

// Configs and labels from outside do not make it fail in any other way than
// with an error.
func FuzzImage(f *testing.F) {
	f.Add([]byte(`{"Env":["A=1"]}`), []byte(`{"Env":null,"Labels":{"io.buildpacks.lifecycle.metadata":"{}"}}`), []byte(`{"Cmd":"x"}`))
	f.Add([]byte(`{"Env":["A","=","A=2"]}`), []byte(`{"Labels":{"a":"b"}}`), []byte(`{"Labels":{"b":1},"Volumes":[]}`))
	f.Fuzz(func(t *testing.T, old, app, onto []byte) {
		s := shelf{}
		image := func(config []byte, layers ...string) (oci.Descriptor, bool) {
			ids := `["` + string(id("plain", layers[0])) + `"`
			for _, l := range layers[1:] {
				ids += `,"` + string(id("plain", l)) + `"`
			}
			raw := fmt.Sprintf(`{"os":"linux","architecture":"amd64","config":%s,"rootfs":{"type":"layers","diff_ids":%s]}}`, config, ids)
			var c v1.Image
			if json.Unmarshal([]byte(raw), &c) != nil || oci.CheckJSON([]byte(raw)) != nil {
				return oci.Descriptor{}, false
			}
			var list []oci.Descriptor
			for _, l := range layers {
				list = append(list, oci.Descriptor{MediaType: oci.MediaLayerGzip, Digest: id("packed", l), Size: 1})
			}
			return s.add(oci.MediaManifest, m{"schemaVersion": 2, "mediaType": oci.MediaManifest, "config": s.add(oci.MediaConfig, []byte(raw)), "layers": list}), true
		}
		o, ok1 := image(old, "o")
		a, ok2 := image(app, "o", "x")
		n, ok3 := image(onto, "n")
		if !ok1 || !ok2 || !ok3 {
			return
		}
		i := load(t, s, a)
		if _, err := rebase.Image(i, read(t, s, o), read(t, s, n), rebase.Options{From: s}); err != nil {
			return
		}
		if _, err := edit.Seal(i); err != nil {
			t.Fatal(err)
		}
		if err := oci.CheckJSON(i.RawConfig()); err != nil {
			t.Fatal(err)
		}
	})
}
