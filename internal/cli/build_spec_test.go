// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/internal/cli"
)

// Each flag of a build is a key of dray.yaml, or the documentation says why not.
func TestSpecFlags(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "dray-yaml.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(raw), "## What stays on the command line")
	var stays []string
	for _, m := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(text, -1) {
		stays = append(stays, m[1])
	}
	flags, all := cli.BuildFlags(), []string{"schema"}
	for _, kind := range spec.Kinds {
		var keys []string
		for _, k := range spec.Keys {
			if k.Flag != "" && (len(k.Of) == 0 || slices.Contains(k.Of, kind)) && !(k.Form == spec.Places && kind == spec.Files) {
				keys = append(keys, k.Flag)
			}
		}
		for _, k := range keys {
			if !slices.Contains(flags[kind], k) {
				t.Errorf("%s: there is a key of --%s, and no such flag", kind, k)
			}
		}
		for _, f := range flags[kind] {
			if slices.Contains(keys, f) && f != "tag" == slices.Contains(stays, f) {
				t.Errorf("%s: --%s: is it a key or not?", kind, f)
			}
		}
		for _, f := range flags[kind] {
			if !slices.Contains(keys, f) && !slices.Contains(stays, f) {
				t.Errorf("%s: --%s is no key of dray.yaml, and nothing says why", kind, f)
			}
		}
		all = append(all, flags[kind]...)
	}
	for _, f := range stays {
		if !slices.Contains(all, f) {
			t.Errorf("--%s stays on the command line, and is no flag", f)
		}
	}
}

var flagName = regexp.MustCompile(`--([a-z][a-z-]*)`)

// Help is no longer than people read, and names every flag.
func TestBuildHelp(t *testing.T) {
	t.Parallel()
	flags := cli.BuildFlags()
	for _, words := range [][]string{{"build"}, {"resolve"}, {"run"}, {"build", spec.Go}, {"build", spec.Dockerfile}, {"build", spec.Files}, {"build", spec.Jar}} {
		var out bytes.Buffer
		w := cli.System()
		w.Out, w.Err = &out, &out
		if code := cli.Main(append(words, "--help"), w); code != 0 {
			t.Fatalf("%d: %s", code, &out)
		}
		if n := strings.Count(out.String(), "\n"); n > 100 {
			t.Errorf("help of %q has %d lines", words, n)
		}
		var named []string
		for _, m := range flagName.FindAllStringSubmatch(out.String(), -1) {
			named = append(named, m[1])
		}
		for kind, list := range flags {
			for _, f := range list {
				hidden := slices.Contains([]string{"history", "amend-history", "remove-history"}, f)
				other := words[0] != "build" && slices.Contains([]string{"format", "watch", "together"}, f)
				if (len(words) == 1 || words[1] == kind) && !hidden && !other && !slices.Contains(named, f) {
					t.Errorf("help of %q says nothing of --%s", words, f)
				}
			}
		}
	}
}
