// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/oci"
)

const koYAML = `
defaultBaseImage: base.example/static
baseImageOverrides:
  example.com/M/cmd/App: base.example/other
defaultPlatforms: [linux/amd64, "linux/arm64,linux/arm/v7"]
DefaultEnv:
- A=b
defaultFlags: -v -x
defaultLdflags:
- -s -w
- -X main.v={{.Git.Tag}}
future: 1
builds:
- id: app
  dir: .
  main: ./cmd/app
  env: [GOFLAGS=-mod=mod]
  flags: -tags netgo
  ldflags: -X main.version=of the file
  linux_capabilities: net_raw chown=ep
  goos: [linux]
- main: cmd/other/main.go
  flags: ["-tags=a b"]
`

func TestReadConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, ".ko.yaml")
	write(t, path, koYAML)
	want := golang.Config{
		Path: path, Base: "base.example/static", Overrides: map[string]string{"example.com/m/cmd/app": "base.example/other"},
		Platforms: platforms(t, "linux/amd64", "linux/arm64", "linux/arm/v7"), Env: []string{"A=b"}, Flags: []string{"-v", "-x"},
		Ldflags: []string{"-s -w", "-X main.v={{.Git.Tag}}"},
		Builds: []golang.Build{
			{ID: "app", Dir: ".", Main: "./cmd/app", Env: []string{"GOFLAGS=-mod=mod"}, Flags: []string{"-tags", "netgo"},
				Ldflags: []string{"-X main.version=of the file"}, Caps: []string{"net_raw", "chown=ep"}},
			{Main: "cmd/other/main.go", Flags: []string{"-tags=a b"}},
		},
		Notes: []string{path + `:12: ko and dray know no key "future"`, path + `:21: ko and dray know no key "goos"`},
	}
	for _, given := range []string{path, dir} {
		if c, err := golang.ReadConfig(given, "", nil); err != nil || !reflect.DeepEqual(c, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", given, err, c, want)
		}
	}
	if c, err := golang.ReadConfig("", dir, nil); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%v: %+v", err, c)
	}
	env := map[string]string{"KO_DEFAULTBASEIMAGE": "of.env/base", "KO_DEFAULTPLATFORMS": "all", "KO_DEFAULTFLAGS": "-a -b", "KO_DEFAULTLDFLAGS": "-s", "KO_DEFAULTENV": "X=y",
		"KO_BASEIMAGEOVERRIDES": `{"example.com/M/x":"of.env/x"}`}
	want.Base, want.Platforms, want.AllPlatforms, want.Flags, want.Ldflags, want.Env = "of.env/base", nil, true, []string{"-a", "-b"}, []string{"-s"}, []string{"X=y"}
	want.Overrides = map[string]string{"example.com/m/x": "of.env/x"}
	want.UntoldFlags, want.UntoldLdflags = true, true
	if c, err := golang.ReadConfig("", dir, func(k string) string { return env[k] }); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, c, want)
	}
	if c, err := golang.ReadConfig("", t.TempDir(), nil); err != nil || c.Path != "" || c.Base != "" {
		t.Errorf("none: %v, %+v", err, c)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a: b\nc: [":                           "line 2",
		"defaultBaseImage: [a]":                "line 1: want text",
		"builds: 7":                            "line 1: builds: want a list",
		"builds:\n- flags: {a: b}":             "line 2: flags: want text or a list of it",
		"builds:\n- flags:\n  - a\n  - [b]":    "line 4: want text",
		"builds: [7]":                          "line 1: want keys with values",
		"defaultPlatforms: [linux/am d64]":     "line 1: ",
		"- a":                                  "line 1: want keys with values",
		"x: " + strings.Repeat("a", 2<<20):     "more than",
		"a: &a [b]\nbuilds:\n- flags: *nobody": "unknown anchor",
	} {
		path := filepath.Join(t.TempDir(), ".ko.yaml")
		write(t, path, text)
		_, err := golang.ReadConfig(path, "", nil)
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := golang.ReadConfig(filepath.Join(t.TempDir(), "none.yaml"), "", nil); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if _, err := golang.ReadConfig(t.TempDir(), "", nil); !os.IsNotExist(err) {
		t.Errorf("no file in a directory: %v", err)
	}
	for _, name := range []string{"KO_BASEIMAGEOVERRIDES", "KO_DEFAULTPLATFORMS"} {
		_, err := golang.ReadConfig("", t.TempDir(), func(k string) string { return map[string]string{name: "no way!"}[k] })
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadConfig(f *testing.F) {
	f.Add(koYAML)
	f.Add("a: &a [*a]")
	f.Add("builds: &b\n- flags: &f [x]\n- ldflags: *f\n- *b")
	f.Add("defaultPlatforms: {a: b}\nbaseImageOverrides: [c]\n<<: {x: y}")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), ".ko.yaml")
		write(t, path, text)
		if _, err := golang.ReadConfig(path, "", nil); err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Error(err)
		}
	})
}

// A build of the file is for the program of its package, whichever way that is
// named, and is built where the file says; the command line counts more.
func TestBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := module(t, app+`
-- services/api/go.mod --
module example.com/api

go 1.26
-- services/api/cmd/main.go --
package main

var version = "none"

func main() { println(version) }
`)
	c := golang.Config{Path: ".ko.yaml", Flags: []string{"-tags=default"}, Ldflags: []string{"-X main.version=default"}, Builds: []golang.Build{
		{ID: "api", Dir: "services/api", Main: "cmd/main.go", Flags: []string{"-tags=api"}, Ldflags: []string{"-X main.version=api"}, Caps: []string{"net_raw"}},
	}}
	for _, x := range []struct{ pattern, tags, caps string }{
		{"./services/api/cmd", "-tags=api", " caps 0000000200200000"},
		{"example.com/api/cmd", "-tags=api", " caps 0000000200200000"},
		{"ko://example.com/api/cmd", "-tags=api", " caps 0000000200200000"},
		{"./cmd/app", "-tags=default", ""},
	} {
		r, b, err := w.build(dir, []string{x.pattern}, golang.Options{Config: c}, build.Want{})
		if err != nil {
			t.Errorf("%s: %v", x.pattern, err)
			continue
		}
		about, err := b.(build.Describer).Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, x.pattern, about.Parameters["programs"].([]any)[0].(map[string]any)["flags"].([]string), []string{x.tags})
		if got := entries(t, layers(r.Stacks[0])[0]); !strings.Contains(got[1]+"0000", x.caps) || x.caps == "" && strings.Contains(got[1], "caps") {
			t.Errorf("%s: %q", x.pattern, got)
		}
	}
	_, b := w.must(dir, []string{"./services/api/cmd"}, golang.Options{Config: c, Flags: []string{"-tags=flag"}}, build.Want{})
	about, err := b.(build.Describer).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "flag", about.Parameters["programs"].([]any)[0].(map[string]any)["flags"].([]string), []string{"-tags=flag"})
	c.Builds[0].Main = "nowhere"
	if _, _, err := w.build(dir, []string{"./cmd/app"}, golang.Options{Config: c}, build.Want{}); !os.IsNotExist(err) && (err == nil || !strings.Contains(err.Error(), `builds: "api"`)) {
		t.Errorf("no such package: %v", err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := module(t, app+`
-- cmd/zero/main.go --
package main

func main() {}
-- cmd/windows/main_windows.go --
package main

func main() {}
-- nested/go.mod --
module example.com/nested

go 1.26
-- nested/a/main.go --
package main

func main() {}
-- broken/x.go --
package main

import "example.com/nothing/here"

func main() {}
-- docs/readme.txt --
`)
	amd64 := oci.Platform{OS: "linux", Architecture: "amd64"}
	for patterns, want := range map[string]string{
		"./cmd/zero ./cmd/app":              "example.com/m/cmd/zero example.com/m/cmd/app",
		"./cmd/app ./cmd/... ./cmd/app":     "example.com/m/cmd/app example.com/m/cmd/zero",
		"example.com/m/cmd/app":             "example.com/m/cmd/app",
		"ko://example.com/m/cmd/app":        "example.com/m/cmd/app",
		filepath.Join(dir, "cmd", "zero"):   "example.com/m/cmd/zero",
		"./cmd/app/":                        "example.com/m/cmd/app",
		"./nested/a ./cmd/app ./nested/...": "example.com/nested/a example.com/m/cmd/app",
		"./lib":                             `! "./lib" is no program: its package is lib, not main`,
		"./lib/...":                         `! "./lib/...": there are no programs`,
		"./docs":                            "! no Go files in",
		"./docs/...":                        "! there are no programs",
		"./none":                            "! none",
		"./cmd/app/main.go":                 "! want the import path or the directory",
		"-json":                             "! want the import path or the directory",
		"example.com/none":                  "! no required module provides package example.com/none",
		"fmt":                               `! "fmt" is no program`,
	} {
		list, err := golang.Find(t.Context(), strings.Fields(patterns), amd64, golang.Options{Dir: dir, Env: quiet})
		var got []string
		for _, p := range list {
			got = append(got, p.ImportPath)
		}
		if text, bad := strings.CutPrefix(want, "! "); bad && (err == nil || !strings.Contains(err.Error(), text)) || !bad && (err != nil || strings.Join(got, " ") != want) {
			t.Errorf("%s: %q, %v, want %s", patterns, got, err, want)
		}
	}
	list, err := golang.Find(t.Context(), []string{"./cmd/..."}, oci.Platform{OS: "windows", Architecture: "amd64"}, golang.Options{Dir: dir, Env: quiet})
	if err != nil || len(list) != 3 || list[1].Name != "windows" {
		t.Errorf("for Windows: %+v, %v", list, err)
	}
}
