// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peers_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// koVersion is the one whose differences are known.
const koVersion = "v0.19.1"

// A koLab has what ko and dray build with: a registry with bases, and a home.
type koLab struct {
	ko, registry, dir string
}

func newKoLab(t *testing.T) *koLab {
	t.Helper()
	l := &koLab{ko: need(t, "ko"), dir: t.TempDir()}
	if v := command(t, l.ko, "version"); v != koVersion {
		missing(t, "ko is "+v+", not "+koVersion+" (make test-deps)")
	}
	l.registry = distribution(t)
	for name, specs := range koBases() {
		dir := filepath.Join(l.dir, "bases", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeLayout(t, dir, nil, specs...)
		dray(t, "copy", "oci:"+dir+":1", l.registry+"/"+name+":latest")
	}
	return l
}

// koBases are the bases, by their repositories.
func koBases() map[string][]imageSpec {
	const plain = "var d 0755 0:0\nvar/run d 0755 0:0\nvar/run/lock d 1777 0:0\nusr d 0755 0:0"
	const linked = "run d 0755 0:0\nrun/lock d 1777 0:0\nvar d 0755 0:0\nvar/run l 0:0 -> /run\nusr d 0755 0:0"
	const windowsFiles = "Files d 0755 0:0\nFiles/Windows d 0755 0:0\nHives d 0755 0:0"
	one := func(platform map[string]string, config, layer string, oci bool) imageSpec {
		return imageSpec{platform: platform, config: config, layers: []string{layer}, history: true, oci: oci}
	}
	variant := func(arch, v string) map[string]string {
		return map[string]string{"os": "linux", "architecture": arch, "variant": v}
	}
	config := `{` + usualPath + `,"Cmd":["/bin/sh"],"Labels":{"base":"1"}}`
	return map[string][]imageSpec{
		"two":   {one(linux("amd64"), config, plain, true), one(linux("arm64"), config, plain, true)},
		"three": {one(linux("amd64"), config, plain, true), one(linux("arm64"), config, plain, true), one(variant("arm", "v7"), config, plain, true)},
		"link":  {one(linux(runtime.GOARCH), config, linked, false)},
		"variants": {one(variant("amd64", "v3"), config, plain, true), one(variant("arm", "v7"), config, plain, true),
			one(variant("arm", "v6"), config, plain, true)},
		"nanoserver": {one(windows("10.0.17763.1"), `{"User":"ContainerUser"}`, windowsFiles, true), one(windows("10.0.20348.2"), `{"User":"ContainerUser"}`, windowsFiles, true)},
		"servercore": {one(windows("10.0.17763.1"), `{"Env":["Path=C:\\Windows\\system32;C:\\Windows"]}`, windowsFiles, false)},
	}
}

// module writes the module for a case.
func (l *koLab) module(t *testing.T, c *koCase) string {
	t.Helper()
	dir := filepath.Join(l.dir, "cases", c.name)
	a, err := txtar.ParseFile(filepath.Join("testdata", "ko", "shop.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if c.config != "" {
		a.Files = append(a.Files, txtar.File{Name: ".ko.yaml", Data: []byte(strings.ReplaceAll(c.config, "{{registry}}", l.registry))})
	}
	for _, f := range a.Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, f.Data, 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range c.links {
		from, to, _ := strings.Cut(link, " -> ")
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// within runs a program in the module of a case, with the environment of that
// case and with Go's own cache.
func (l *koLab) within(t *testing.T, dir string, c *koCase, name string, args []string, more ...string) (out, errOut string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(l.env(t), "KO_DEFAULTBASEIMAGE="+l.registry+"/"+map[bool]string{true: "two", false: c.base}[c.base == ""])
	if strings.Contains(c.config, "defaultBaseImage") {
		cmd.Env = cmd.Env[:len(cmd.Env)-1]
	}
	cmd.Env = append(append(cmd.Env, c.env...), more...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return strings.TrimSpace(o.String()), e.String(), err
}

// env is that of somebody who has nothing but Go.
func (l *koLab) env(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "XDG_RUNTIME_DIR=" + l.dir, "DRAY_CACHE=" + filepath.Join(l.dir, "cache"),
		"GOCACHE=" + strings.TrimSpace(string(out)), "GOPROXY=off", "GOTOOLCHAIN=local", "GOENV=off"}
}

// A goImage is what a builder of Go programs has pushed.
type goImage struct {
	root   manifestMembers
	images map[string]*goPlatform
}

type goPlatform struct {
	*picture
	manifest manifestMembers
	created  string
	layers   map[string]tree // kodata, program: what was put on the base
	kinds    []string        // of these layers, from below
	types    []string        // their media types
}

// manifestMembers are those of a manifest or an index.
type manifestMembers struct {
	MediaType   string
	Annotations map[string]string
	Config      *descriptorDoc
	Layers      []descriptorDoc
	Manifests   []map[string]any
}

// drawGo reads the image of a layout.
func drawGo(t *testing.T, dir string) *goImage {
	t.Helper()
	read := inLayout(dir)
	g := &goImage{images: map[string]*goPlatform{}}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	var top manifestDoc
	if err == nil {
		err = json.Unmarshal(raw, &top)
	}
	if err == nil {
		raw, err = read(top.Manifests[0].Digest)
	}
	if err == nil {
		err = json.Unmarshal(raw, &g.root)
	}
	if err != nil {
		t.Fatal(err)
	}
	if g.root.Config != nil {
		err = g.draw(raw, read)
	}
	for _, d := range g.root.Manifests {
		raw, rerr := read(d["digest"].(string))
		err = errors.Join(err, rerr, g.draw(raw, read))
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *goImage) draw(raw []byte, read reads) error {
	p := &goPlatform{layers: map[string]tree{}}
	var err error
	if p.picture, err = draw(raw, read); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &p.manifest); err != nil {
		return err
	}
	config, err := read(p.manifest.Config.Digest)
	if err != nil {
		return err
	}
	var c struct{ Created string }
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	p.created = c.Created
	for _, d := range p.manifest.Layers[1:] { // of the base there is one
		data, err := read(d.Digest)
		if err != nil {
			return err
		}
		t, kind, err := goLayer(data)
		if err != nil {
			return err
		}
		p.layers[kind], p.kinds, p.types = t, append(p.kinds, kind), append(p.types, d.MediaType)
	}
	g.images[p.platform()] = p
	return nil
}

// goLayer reads a layer for itself, whatever lies below it.
func goLayer(data []byte) (t tree, kind string, err error) {
	plain, err := unpacked(data)
	if err != nil {
		return nil, "", err
	}
	t, kind = tree{}, "kodata"
	for tr := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return t, kind, nil
		} else if err != nil {
			return nil, "", err
		}
		name := path.Clean("/" + h.Name)
		if err := t.add(0, name, h, tr); err != nil {
			return nil, "", err
		}
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "MSWINDOWS.") {
				if t[name].attrs == nil {
					t[name].attrs = map[string]string{}
				}
				t[name].attrs[k] = h.PAXRecords[k]
			}
		}
		if strings.Contains(name, "/ko-app") {
			kind = "program"
		}
	}
}

// differences are those from another builder's image: what differs, and how.
func (g *goImage) differences(o *goImage) map[string]string {
	out := map[string]string{}
	differ := func(what string, mine, theirs any) {
		if a, b := fmt.Sprint(mine), fmt.Sprint(theirs); a != b {
			out[what] = fmt.Sprintf("dray has %.300s, ko %.300s", a, b)
		}
	}
	differ("platforms", slices.Sorted(maps.Keys(g.images)), slices.Sorted(maps.Keys(o.images)))
	differ("media type", g.root.MediaType, o.root.MediaType)
	if g.root.Config == nil {
		texts(differ, "index annotation ", g.root.Annotations, o.root.Annotations)
		for i := range min(len(g.root.Manifests), len(o.root.Manifests)) {
			a, b := g.root.Manifests[i], o.root.Manifests[i]
			for k := range both(a, b) {
				if k != "digest" && k != "size" {
					differ("index descriptor "+k, a[k], b[k])
				}
			}
		}
	}
	for name, p := range g.images {
		if q := o.images[name]; q != nil {
			p.compare(q, differ)
		}
	}
	return out
}

func texts(differ func(string, any, any), what string, a, b map[string]string) {
	for k := range both(a, b) {
		differ(what+k, a[k], b[k])
	}
}

func (p *goPlatform) compare(q *goPlatform, differ func(what string, mine, theirs any)) {
	texts(differ, "annotation ", p.manifest.Annotations, q.manifest.Annotations)
	differ("layers", p.kinds, q.kinds)
	differ("layer media types", slices.Compact(p.types), slices.Compact(q.types))
	for kind := range both(p.layers, q.layers) {
		if p.layers[kind] == nil || q.layers[kind] == nil {
			continue // said by layers
		}
		for at := range both(p.layers[kind], q.layers[kind]) {
			a, b := p.layers[kind][at], q.layers[kind][at]
			if a == nil || b == nil {
				differ(kind+" layer "+at, a, b)
				continue
			}
			x, y := a.aspects(), b.aspects()
			x["time"], y["time"] = a.time.UTC().String(), b.time.UTC().String()
			texts(differ, kind+" layer "+at+" ", x, y)
		}
	}
	x, y := p.members(), q.members()
	delete(x, "Env")
	delete(y, "Env")
	texts(differ, "config ", x, y)
	texts(differ, "env ", variablesOf(p.picture), variablesOf(q.picture))
	differ("created", p.created, q.created)
	mine, theirs := p.History[2:], q.History[2:] // the base has two lines
	differ("history, lines", len(mine), len(theirs))
	for i := range min(len(mine), len(theirs)) {
		differ("history, times", mine[i].Created, theirs[i].Created)
		differ("history, texts", mine[i].CreatedBy, theirs[i].CreatedBy)
	}
}

func variablesOf(p *picture) map[string]string {
	out := map[string]string{}
	for _, v := range list(p.Config["Env"]) {
		k, v, _ := strings.Cut(v.(string), "=")
		out[k] = v
	}
	return out
}
