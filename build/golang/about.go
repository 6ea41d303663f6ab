// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"path"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
)

// components are the program, the modules that it was built from, and Go's own
// library.
func (m *made) components(windows bool) []build.Component {
	at := path.Join(appDir, m.name)
	if windows {
		at = windowsAppDir + `\` + m.name
	}
	return build.GoComponents(m.info, at, m.sum)
}

// materials are the modules that the program was built of, by the digests of
// their directories (in-toto, "DigestSet", dirHash1).
func (m *made) materials() (out []build.Material) {
	for _, c := range m.components(false) {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.Sums["h1"], "h1:"))
		if err == nil && len(raw) == 32 {
			out = append(out, build.Material{Name: "module", URI: c.PURL, Digest: map[string]string{"dirHash1": hex.EncodeToString(raw)}})
		}
	}
	return out
}

// dedupe leaves what several programs of an image have in common once.
func dedupe(s *build.Stack) {
	seen := map[string]bool{}
	s.Components = slices.DeleteFunc(s.Components, func(c build.Component) bool {
		key := c.PURL + " " + c.Name + " " + c.Version + " " + c.Path
		defer func() { seen[key] = true }()
		return seen[key]
	})
	had := map[string]bool{}
	s.Materials = slices.DeleteFunc(s.Materials, func(m build.Material) bool {
		defer func() { had[m.URI] = true }()
		return had[m.URI]
	})
}

// Describe implements build.Describer. Values of variables, local paths and what
// stands on a command line alone are left out.
func (b *builder) Describe(ctx context.Context) (build.About, error) {
	about := build.About{Type: "go"}
	var list []any
	for n, p := range b.programs {
		one := map[string]any{"importPath": p.ImportPath}
		if m := b.made[n].any(); m != nil {
			m.words.describe(one)
			one["go"] = build.GoVersion(m.info)
			if about.Source == nil {
				about.Source = p.source(ctx, m.info)
			}
		}
		if env := names(p.env(&b.o)); len(env) > 0 {
			one["env"] = env
		}
		if caps := b.made[n].terms(); len(caps) > 0 {
			one["capabilities"] = caps
		}
		list = append(list, one)
	}
	about.Parameters = map[string]any{"programs": list}
	if b.o.Plain {
		about.Parameters["optimizations"] = false
	}
	if b.o.Debug {
		about.Parameters["debugger"] = true
	}
	return about, nil
}

// any is one of those that were compiled, the same each time; nil: none.
func (x *program) any() *made {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := ""
	for key, m := range x.made {
		if m.info != nil && (first == "" || key < first) {
			first = key
		}
	}
	return x.made[first]
}

// assigned finds the variables that the linker sets.
var assigned = regexp.MustCompile(`-X[= ]\s*['"]?([^\s='"]+)=`)

// describe says which flags there were.
func (w words) describe(to map[string]any) {
	if len(w.flags) > 0 {
		to["flags"] = w.toldFlags()
	}
	switch {
	case len(w.ldflags) == 0:
	case w.untoldLdflags:
		var list []string
		for _, found := range assigned.FindAllStringSubmatch(strings.Join(w.ldflags, " "), -1) {
			list = append(list, found[1])
		}
		to["ldflagsVariables"] = list
	default:
		to["ldflags"] = w.ldflags
	}
}

// harmless are flags of go build whose values say nothing of a machine, and can
// hardly be secret.
var harmless = map[string]bool{"a": true, "asan": true, "buildmode": true, "buildvcs": true, "cover": true, "covermode": true, "compiler": true,
	"mod": true, "msan": true, "p": true, "race": true, "tags": true, "trimpath": true, "v": true, "x": true}

// toldFlags are the flags. Of those that are written down nowhere the values are
// told of few, and never those with a path.
func (w words) toldFlags() (out []string) {
	for _, f := range w.flags {
		name, value, _ := strings.Cut(f, "=")
		switch {
		case !w.untoldFlags:
		case !strings.HasPrefix(name, "-"):
			f = "…"
		case value != "" && (!harmless[strings.TrimLeft(name, "-")] || strings.ContainsAny(value, `/\\`)):
			f = name + "=…"
		}
		out = append(out, f)
	}
	return out
}

func names(env []string) (out []string) {
	for _, line := range env {
		k, _, _ := strings.Cut(line, "=")
		out = append(out, k)
	}
	return out
}

// source is the revision that a program was built from, and where it came from.
// What the go command did not write into the program git is asked for.
func (p *Program) source(ctx context.Context, info *debug.BuildInfo) *build.Material {
	revision, changed := setting(info, "vcs.revision"), setting(info, "vcs.modified") == "true"
	if revision == "" {
		if revision, _ = git(ctx, p.Dir, p.tool.env, "rev-parse", "--verify", "--quiet", "HEAD"); revision == "" {
			return nil
		}
		status, ok := git(ctx, p.Dir, p.tool.env, "status", "--porcelain")
		changed = status != "" || !ok
	}
	m := &build.Material{Name: "source", URI: remote(ctx, p.Dir, p.tool.env), Digest: map[string]string{"gitCommit": revision}, Changed: changed}
	switch kind := setting(info, "vcs"); kind {
	case "git", "":
	default:
		m.Digest, m.URI = map[string]string{kind + "Revision": revision}, ""
	}
	return m
}
