// SPDX-License-Identifier: Apache-2.0

package rebase_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// chance makes a base with random members.
func chance(r *rand.Rand, name string, docker, pretty bool) part {
	p := part{docker: docker, pretty: pretty, config: map[string]any{}, outer: map[string]any{}}
	maybe := func() bool { return r.IntN(2) == 0 }
	for n := range r.IntN(4) {
		for range r.IntN(2) {
			p.lines = append(p.lines, "-"+name)
		}
		p.layers = append(p.layers, fmt.Sprint(name, n))
		p.lines = append(p.lines, fmt.Sprint(name, n))
	}
	for range r.IntN(3) {
		p.lines = append(p.lines, "-CMD "+name)
	}
	if maybe() && len(p.layers) > 0 {
		p.lines = nil // nobody knows it
	}
	env := []string{"PATH=/" + name + "/bin:/bin"}
	for _, k := range []string{"A", "B", "C"} {
		if maybe() {
			env = append(env, k+"="+name)
		}
	}
	p.config["Env"] = env
	for _, k := range []string{"User", "WorkingDir", "StopSignal"} {
		if maybe() {
			p.config[k] = name
		} else if docker && k != "StopSignal" {
			p.config[k] = ""
		}
	}
	for _, k := range []string{"Entrypoint", "Cmd", "OnBuild", "Shell"} {
		if maybe() {
			p.config[k] = []string{k, name}
		} else if docker && k != "Shell" {
			p.config[k] = nil
		}
	}
	for _, k := range []string{"Labels", "Volumes", "ExposedPorts"} {
		set := map[string]any{}
		for _, member := range []string{"a", "c", "e"} {
			if maybe() {
				set[member] = map[string]any{}
				if k == "Labels" {
					set[member] = name
				}
			}
		}
		if len(set) > 0 {
			p.config[k] = set
		} else if docker && k != "ExposedPorts" {
			p.config[k] = nil
		}
	}
	if maybe() {
		p.outer["os.features"] = []string{name}
	}
	if docker {
		p.config["Hostname"] = "" // which nothing takes away
	}
	return p
}

// build makes an application on a base, as builders do.
func build(r *rand.Rand, base part) part {
	p := base
	p.layers, p.config = slices.Clone(base.layers), maps.Clone(base.config)
	p.lines = slices.Clone(base.lines)
	whole := len(base.layers) == 0 || base.lines != nil
	for n := range 1 + r.IntN(3) {
		p.layers = append(p.layers, fmt.Sprint("app", n))
		if whole {
			p.lines = append(p.lines, "-app", fmt.Sprint("app", n))
		}
	}
	maybe := func() bool { return r.IntN(3) == 0 }
	env := slices.Clone(base.config["Env"].([]string))
	if maybe() {
		env[0] = "PATH=/app:" + env[0][len("PATH="):] + ":/after"
	}
	if maybe() && len(env) > 1 {
		env[1] = env[1][:2] + "app"
	}
	if maybe() {
		env = append(env, "OWN=1", "D=app")
	}
	p.config["Env"] = env
	for _, k := range []string{"User", "WorkingDir", "StopSignal"} {
		if maybe() {
			p.config[k] = "app"
		}
	}
	for _, k := range []string{"Entrypoint", "Cmd", "OnBuild", "Shell"} {
		if maybe() {
			p.config[k] = []string{"app"}
		}
	}
	if set, _ := base.config["Labels"].(map[string]any); maybe() {
		set = maps.Clone(set)
		if set == nil {
			set = map[string]any{}
		}
		set["b"], set["f"] = "app", "app"
		if set["a"] != nil {
			set["a"] = "app"
		}
		p.config["Labels"] = set
	}
	return p
}

// What a rebase has changed another one changes back, to the byte; and two in a
// row are as good as one.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := shelf{}
		docker, pretty := r.IntN(2) == 0, r.IntN(2) == 0
		a := chance(r, "old", docker, pretty)
		base := a.put(s)
		app := build(r, a).put(s)
		other := chance(r, "new", docker, pretty).put(s)
		third := chance(r, "third", docker, pretty).put(s)
		there, report := move(t, s, app, base, other)
		if back, _ := move(t, s, there, other, base); back.Digest != app.Digest {
			t.Fatalf("seed %d: %+v\n%s\n%s\n%s\n%s", seed, report, text(s, app), text(s, other), text(s, there), text(s, back))
		}
		direct, _ := move(t, s, app, base, third)
		if twice, _ := move(t, s, there, other, third); twice.Digest != direct.Digest {
			t.Fatalf("seed %d:\n%s\n%s\n%s\n%s\n%s", seed, text(s, app), text(s, there), text(s, third), text(s, twice), text(s, direct))
		}
		if same, report := move(t, s, app, base, base); same.Digest != app.Digest || !report.Already {
			t.Fatalf("seed %d: to the same base: %s, %+v", seed, same.Digest, report)
		}
	}
}
