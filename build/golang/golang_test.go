// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// The image of a program: layers that follow the links of the base, and a config
// that starts it.
func TestImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	debian := []string{"run/", "usr/", "usr/bin/", "bin -> usr/bin", "var/", "var/run -> /run"}
	w.name("debian", w.image("linux/amd64", []string{"PATH=/usr/bin:/bin"}, debian...), w.image("linux/arm64/v8", nil, debian...), w.image("linux/s390x", nil))
	dir := module(t, app+"-- cmd/app/kodata/a/b.txt --\nb\n-- data/x.conf --\nx\n")
	o := golang.Options{Files: []golang.File{{From: "data", To: "/var/lib/app", Rules: layer.CreateOptions{Owner: &layer.Owner{UID: 7, GID: 8}}}}}
	r, _ := w.must(dir, []string{"./cmd/app"}, o, build.Want{From: []string{"debian"}, Platforms: platforms(t, "linux/amd64", "linux/arm64")})
	if len(r.Stacks) != 2 || r.Base() == nil || r.Base().Index.Digest != w.names["debian"].Digest {
		t.Fatalf("%d images on %+v", len(r.Stacks), r.Base())
	}
	for n, path := range []string{"PATH=/usr/bin:/bin:/ko-app", "PATH=/ko-app"} {
		s := r.Stacks[n]
		list := layers(s)
		if len(list) != 3 {
			t.Fatalf("%d layers", len(list))
		}
		same(t, "files", entries(t, list[0])[1:], []string{"var/lib/app/ 0755 7:8", "var/lib/app/x.conf 0644 7:8 x\n"})
		same(t, "kodata", entries(t, list[1]), []string{"run/ko/ 0555 0:0", "run/ko/a/ 0555 0:0", "run/ko/a/b.txt 0555 0:0 b\n"})
		same(t, "program", entries(t, list[2]), []string{"ko-app/ 0555 0:0", "ko-app/app 0555 0:0"})
		c, err := s.Config()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "env", c.Config.Env, []string{path, "KO_DATA_PATH=/var/run/ko"})
		same(t, "entrypoint", c.Config.Entrypoint, []string{"/ko-app/app"})
		same(t, "cmd", c.Config.Cmd, nil)
		if h := c.History; h[len(h)-1].CreatedBy != "dray build go example.com/m/cmd/app: ko-app" {
			t.Errorf("history: %+v", h)
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(content(t, layers(r.Stacks[1])[2], "ko-app/app")))
	if err != nil || !strings.Contains(info.String(), "GOARCH=arm64") || !strings.Contains(info.String(), "CGO_ENABLED=0") || !strings.Contains(info.String(), "-trimpath=true") {
		t.Errorf("%v: %s", err, info)
	}
}

// Who wants to hears what is compiled, each program and platform once, and when
// that is over.
func TestCompiling(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	var mu sync.Mutex
	var began, ended []string
	o := golang.Options{Compiling: func(what string) func() {
		mu.Lock()
		defer mu.Unlock()
		began = append(began, what)
		return func() {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, what)
		}
	}}
	w.must(dir, []string{"./cmd/app"}, o, build.Want{From: []string{build.Scratch}, Platforms: platforms(t, "linux/amd64", "linux/arm64")})
	want := []string{"example.com/m/cmd/app for linux/amd64", "example.com/m/cmd/app for linux/arm64"}
	slices.Sort(began)
	slices.Sort(ended)
	same(t, "began", began, want)
	same(t, "ended", ended, want)
}

// What go build makes is in the image byte for byte, and runs.
func TestProgramRuns(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a program of Linux is run")
	}
	w, dir := newWorld(t), module(t, app)
	o := golang.Options{Ldflags: []string{"-X main.version={{.Env.RELEASE}}-{{.Timestamp}}", `-X 'main.unused={{.Date}}'`}, Env: []string{"RELEASE=v7"}, Date: time.Unix(1700000000, 0).UTC()}
	r, _ := w.must(dir, []string{"./cmd/app"}, o, build.Want{From: []string{build.Scratch}, Platforms: platforms(t, "linux/"+runtime.GOARCH)})
	raw := content(t, layers(r.Stacks[0])[0], "ko-app/app")
	path := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(path, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path).CombinedOutput()
	if err != nil || string(out) != "lib v7-1700000000\n" {
		t.Errorf("%q, %v", out, err)
	}
	alone := filepath.Join(t.TempDir(), "alone")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-X main.version=v7-1700000000 -X 'main.unused=2023-11-14T22:13:20Z'", "-o", alone, "./cmd/app")
	cmd.Dir, cmd.Env = dir, append(cmd.Environ(), append(slices.Clone(quiet), "GOOS=linux", "GOARCH="+runtime.GOARCH)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want, err := os.ReadFile(alone); err != nil || !bytes.Equal(want, raw) {
		t.Errorf("go build alone makes another program: %v", err)
	}
}

// Windows has ; between directories, .exe, and a PATH of its own if the base says
// none. Images for several versions share what was made.
func TestWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("none", w.image("windows/amd64:10.0.17763.1", nil))
	w.name("path", w.image("windows/amd64:10.0.20348.1", []string{`Path=C:\Windows;C:\Windows\System32`, "ko_data_path=x"}))
	dir := module(t, app+"-- cmd/app/kodata/x --\nx\n")
	r, _ := w.must(dir, []string{"./cmd/app"}, golang.Options{}, build.Want{From: []string{"none", "path"}, Platforms: platforms(t, "windows/amd64")})
	want := [][]string{{`KO_DATA_PATH=C:\var\run\ko`}, {`Path=C:\Windows;C:\Windows\System32;C:\ko-app`, `ko_data_path=C:\var\run\ko`}}
	for n, s := range r.Stacks {
		c, err := s.Config()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "env", c.Config.Env, want[n])
		same(t, "entrypoint", c.Config.Entrypoint, []string{`C:\ko-app\app.exe`})
		list := layers(s)
		same(t, "program", entries(t, list[1]), []string{"Files/ 0755 0:0", "Hives/ 0755 0:0", "Files/ko-app/ 0555 0:0", "Files/ko-app/app.exe 0555 0:0"})
		if got := entries(t, list[0]); !slices.Contains(got, "Files/var/run/ko/x 0555 0:0 x\n") {
			t.Errorf("kodata: %q", got)
		}
	}
	a, b := layers(r.Stacks[0]), layers(r.Stacks[1])
	if a[1].Descriptor().Digest != b[1].Descriptor().Digest {
		t.Error("two versions have two layers")
	}
}

// Several programs are in one image, a layer each, with the data of all.
func TestTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := module(t, app+`
-- cmd/app/kodata/a --
a
-- cmd/tool/main.go --
package main

func main() {}
-- cmd/tool/kodata/b --
b
-- other/app/main.go --
package main

func main() {}
-- other/three/main.go --
package main

func main() {}
-- other/three/kodata/a --
another
`)
	r, b := w.must(dir, []string{"./cmd/tool", "./cmd/..."}, golang.Options{}, build.Want{})
	if b.Name() != "example.com/m/cmd/tool" {
		t.Errorf("the first is %s", b.Name())
	}
	s := r.Stacks[0]
	c, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "entrypoint", c.Config.Entrypoint, []string{"/ko-app/tool"})
	list := layers(s)
	if len(list) != 3 || !slices.Contains(entries(t, list[0]), "var/run/ko/a 0555 0:0 a\n") || !slices.Contains(entries(t, list[0]), "var/run/ko/b 0555 0:0 b\n") {
		t.Errorf("%d layers: %q", len(list), entries(t, list[0]))
	}
	for patterns, want := range map[string]string{
		"./cmd/app ./other/app":   "two programs of the image would be /ko-app/app: example.com/m/cmd/app and example.com/m/other/app",
		"./cmd/app ./other/three": "another kodata/a",
	} {
		if _, _, err := w.build(dir, strings.Fields(patterns), golang.Options{}, build.Want{}); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", patterns, err, want)
		}
	}
}

// The same source makes the same image wherever it is, whatever the modes of its
// files and directories are, and whether something is remembered or not.
func TestSameAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("base", w.image("linux/amd64", nil, "var/", "var/run -> /run"))
	var want []oci.Digest
	for n, mode := range []os.FileMode{0o600, 0o644, 0o666} {
		dir := module(t, app+"-- cmd/app/kodata/a/b.txt --\nb\n-- cmd/app/kodata/a/a.txt --\na\n")
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.Chmod(path, mode|0o100)
			}
			at := time.Unix(int64(1e9*(n+1)), 0)
			return errors.Join(os.Chmod(path, mode), os.Chtimes(path, at, at))
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			w.cache = ""
		}
		r, _ := w.must(dir, []string{"./cmd/app"}, golang.Options{}, build.Want{From: []string{"base"}})
		var got []oci.Digest
		for _, l := range layers(r.Stacks[0]) {
			got = append(got, l.Descriptor().Digest)
		}
		got = append(got, oci.FromBytes(r.Stacks[0].RawConfig()))
		if want == nil {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("copy %d: %v, want %v", n, got, want)
		}
	}
}

// Which platforms are built, and on what.
func TestTargets(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	w.name("many", w.image("linux/s390x", nil), w.image("linux/amd64", nil), w.image("linux/arm64", nil))
	w.name("one", w.image("linux/arm64", nil))
	w.name("mips", w.image("linux/arm/v9", nil))
	for _, c := range []struct {
		name string
		o    golang.Options
		want build.Want
		got  string
	}{
		{"default", golang.Options{}, build.Want{From: []string{"many"}}, "linux/amd64"},
		{"of the environment", golang.Options{Platforms: platforms(t, "linux/arm64")}, build.Want{From: []string{"many"}}, "linux/arm64"},
		{"of the file", golang.Options{Config: golang.Config{Platforms: platforms(t, "linux/arm64", "linux/amd64")}}, build.Want{From: []string{"many"}}, "linux/amd64 linux/arm64"},
		{"all of the file", golang.Options{Config: golang.Config{AllPlatforms: true}}, build.Want{From: []string{"many"}}, "linux/s390x linux/amd64 linux/arm64"},
		{"flags before the file", golang.Options{Config: golang.Config{AllPlatforms: true}}, build.Want{From: []string{"many"}, Platforms: platforms(t, "linux/s390x")}, "linux/s390x"},
		{"single base", golang.Options{}, build.Want{From: []string{"one"}}, "linux/arm64"},
		{"base of the file", golang.Options{Config: golang.Config{Base: "many"}}, build.Want{}, "linux/amd64"},
		{"base for the program", golang.Options{Config: golang.Config{Base: "many", Overrides: map[string]string{"example.com/m/cmd/app": "one"}}}, build.Want{}, "linux/arm64"},
		{"no such platform", golang.Options{}, build.Want{From: []string{"many"}, Platforms: platforms(t, "linux/386")}, "! no image for linux/386"},
		{"no such variant", golang.Options{}, build.Want{From: []string{"mips"}}, `! go has no variant "v9" of arm`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := c.o
			o.Dir, o.Env = dir, quiet
			programs, err := golang.Find(t.Context(), []string{"./cmd/app"}, oci.Platform{OS: "linux", Architecture: "amd64"}, o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := golang.New(programs, o)
			if err != nil {
				t.Fatal(err)
			}
			targets, err := b.Targets(t.Context(), w.engine(), c.want)
			var got []string
			for _, x := range targets {
				got = append(got, oci.FormatPlatform(x.Platform))
			}
			if want, bad := strings.CutPrefix(c.got, "! "); bad && (err == nil || !strings.Contains(err.Error(), want)) || !bad && strings.Join(got, " ") != c.got {
				t.Errorf("%q, %v, want %s", got, err, c.got)
			}
		})
	}
}

// What the go command says is shown as it is, before an error that names program
// and platform.
func TestBroken(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	write(t, filepath.Join(dir, "cmd/app/main.go"), "package main\n\nfunc main() { undefined() }\n")
	var said bytes.Buffer
	_, _, err := w.build(dir, []string{"./cmd/app"}, golang.Options{Stderr: &said}, build.Want{})
	if err == nil || err.Error() != "example.com/m/cmd/app for linux/amd64: go build: exit status 1" {
		t.Errorf("error: %v", err)
	}
	if got := said.String(); got != "# example.com/m/cmd/app\ncmd/app/main.go:3:15: undefined: undefined\n" {
		t.Errorf("go says %q", got)
	}
	for _, c := range []struct {
		o    golang.Options
		want string
	}{
		{golang.Options{Flags: []string{"-toolexec=/bin/true"}}, "flags: -toolexec is not allowed"},
		{golang.Options{Flags: []string{"--toolexec", "/bin/true"}}, "flags: -toolexec is not allowed"},
		{golang.Options{Env: []string{"GOFLAGS=-mod=mod -toolexec=/bin/true"}}, "GOFLAGS: -toolexec is not allowed"},
		{golang.Options{Config: golang.Config{Env: []string{"GOFLAGS='-toolexec=/bin/true'"}}}, "GOFLAGS: -toolexec is not allowed"},
		{golang.Options{Flags: []string{"{{.Env.NOT_SET_ANYWHERE}}"}}, `map has no entry for key "NOT_SET_ANYWHERE"`},
		{golang.Options{Ldflags: []string{"{{.Git"}}, "unclosed action"},
		{golang.Options{Flags: []string{"-n"}}, "flags: with -n go build does not make the program"},
		{golang.Options{Env: []string{"GOFLAGS=-n"}}, "GOFLAGS: with -n"},
		{golang.Options{Flags: []string{"-buildmode=c-archive"}}, "go build has made no program"},
		{golang.Options{Capabilities: []string{"fly"}}, "there is no capability"},
		{golang.Options{Go: "/nowhere/go"}, "/nowhere/go"},
		{golang.Options{Go: "no-such-go"}, `"no-such-go" is not on PATH`},
	} {
		dir := module(t, app)
		if _, _, err := w.build(dir, []string{"./cmd/app"}, c.o, build.Want{}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
	}
}

// The linker is not called again for what has not changed; what a killed process
// left half written is not used; a change is seen.
func TestCache(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	digest := func() oci.Digest {
		t.Helper()
		r, _ := w.must(dir, []string{"./cmd/app"}, golang.Options{}, build.Want{})
		return layers(r.Stacks[0])[0].Descriptor().Digest
	}
	first := digest()
	out := filepath.Join(only(t, filepath.Join(w.cache, "go")), "out")
	before, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(out, old, old); err != nil {
		t.Fatal(err)
	}
	if digest() != first {
		t.Error("the same program has another layer")
	}
	if after, err := os.Stat(out); err != nil || !os.SameFile(before, after) {
		t.Error("it was linked again")
	}
	for _, damage := range []func(*os.File) error{
		func(f *os.File) error { _, err := f.WriteAt(make([]byte, 4096), before.Size()/2); return err },
		func(f *os.File) error { return f.Truncate(before.Size() / 2) },
	} {
		f, err := os.OpenFile(out, os.O_RDWR, 0)
		if err == nil {
			err = errors.Join(damage(f), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if digest() != first {
			t.Error("a damaged program was used")
		}
	}
	if err := os.Truncate(out, before.Size()/2); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(out), "done")); err != nil {
		t.Fatal(err)
	}
	if digest() != first {
		t.Error("half a program was used")
	}
	write(t, filepath.Join(dir, "lib", "lib.go"), "package lib\n\nconst Name = \"changed\"\n")
	if digest() == first {
		t.Error("a change was not seen")
	}
}

func only(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v: %v", list, err)
	}
	return filepath.Join(dir, list[0].Name())
}

// Many build at the same time, with one cache.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	var wg sync.WaitGroup
	digests := make([]oci.Digest, 6)
	for n := range digests {
		wg.Go(func() {
			r, _, err := w.build(dir, []string{"./cmd/app"}, golang.Options{}, build.Want{})
			if err != nil {
				t.Error(err)
				return
			}
			digests[n] = layers(r.Stacks[0])[0].Descriptor().Digest
		})
	}
	wg.Wait()
	for _, d := range digests {
		if d != digests[0] || d == "" {
			t.Errorf("not the same: %v", digests)
		}
	}
}

// Watch names all that a program is made of, and nothing else.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := module(t, app+"-- unused/u.go --\npackage unused\n-- cmd/app/kodata/x --\n-- data/x --\n")
	o := golang.Options{Dir: dir, Env: quiet, Files: []golang.File{{From: "data", To: "/data"}}}
	programs, err := golang.Find(t.Context(), []string{"./cmd/app"}, oci.Platform{OS: "linux", Architecture: "amd64"}, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := golang.New(programs, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.(build.Watcher).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"cmd/app", "cmd/app/kodata", "data", "go.mod", "lib"} {
		want = append(want, filepath.Join(dir, filepath.FromSlash(name)))
	}
	same(t, "watched", got, want)
}
