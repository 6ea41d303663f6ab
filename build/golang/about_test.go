// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/oci"
)

// A description holds no secret, no path of the machine, and nothing of what was
// only said on a command line.
func TestDescribe(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	o := golang.Options{Env: []string{"TOKEN=verysecret"}, Untold: true,
		Config:  golang.Config{Flags: []string{"-tags={{.Env.TOKEN}}"}, Env: []string{"PASSWORD=verysecret"}},
		Ldflags: []string{"-X main.version=verysecret -s", "-X=main.other=verysecret"}}
	r, b := w.must(dir, []string{"./cmd/app"}, o, build.Want{})
	about, err := b.(build.Describer).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one := about.Parameters["programs"].([]any)[0].(map[string]any)
	same(t, "flags", one["flags"].([]string), []string{"-tags={{.Env.TOKEN}}"})
	same(t, "variables", one["ldflagsVariables"].([]string), []string{"main.version", "main.other"})
	same(t, "env", one["env"].([]string), []string{"PASSWORD"})
	if about.Type != "go" || one["importPath"] != "example.com/m/cmd/app" || one["go"] != strings.TrimPrefix(runtime.Version(), "go") {
		t.Errorf("%+v", about)
	}
	c := r.Stacks[0].Components
	if len(c) != 2 || c[0].Kind != "application" || c[0].Path != "/ko-app/app" || c[0].PURL != "pkg:golang/example.com/m#cmd/app" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(c[0].Hashes["sha256"]) {
		t.Errorf("%+v", c)
	}
	if c[1].Name != "stdlib" || c[1].PURL != "pkg:golang/stdlib@"+one["go"].(string) || !slices.Contains(c[0].Needs, c[1].PURL) {
		t.Errorf("%+v", c)
	}
	if sum := oci.FromBytes(content(t, layers(r.Stacks[0])[0], "ko-app/app")).Encoded(); sum != c[0].Hashes["sha256"] {
		t.Errorf("the program is %s, the component %s", sum, c[0].Hashes["sha256"])
	}
}

// Flags of the environment and the command line say what they are about, and not
// what may be secret or of the machine.
func TestUntold(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), module(t, app)
	c, err := golang.ReadConfig("", t.TempDir(), func(name string) string {
		return map[string]string{"KO_DEFAULTLDFLAGS": "-X main.version=verysecret", "KO_DEFAULTFLAGS": "-tags=netgo -gcflags=all=-trimpath=" + dir}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []golang.Options{{Config: c}, {Untold: true, Flags: c.Flags, Ldflags: c.Ldflags}} {
		_, b := w.must(dir, []string{"./cmd/app"}, o, build.Want{})
		about, err := b.(build.Describer).Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		one := about.Parameters["programs"].([]any)[0].(map[string]any)
		same(t, "flags", one["flags"].([]string), []string{"-tags=netgo", "-gcflags=…"})
		same(t, "variables", one["ldflagsVariables"].([]string), []string{"main.version"})
		if one["ldflags"] != nil {
			t.Errorf("%v", one)
		}
	}
}
