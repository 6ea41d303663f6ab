// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Build implements build.Builder.
func (b *builder) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	b.mu.Lock()
	p := b.plan
	b.mu.Unlock()
	items, err := p.pick(t.Platform)
	if err != nil {
		return nil, err
	}
	s, err := e.Stack(ctx, t.Base)
	if err != nil {
		return nil, err
	}
	if err := checkBase(ctx, s, items); err != nil {
		return nil, err
	}
	var programs []placed
	for _, i := range items {
		at, err := i.at(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, p := range i.programs {
			programs = append(programs, placed{p.program, path.Join(at, p.name), !i.dir})
		}
		if _, err := s.Add(ctx, i.in, build.AddOptions{}); err != nil {
			return nil, err
		}
	}
	if err := checkNeeds(ctx, e, s, items); err != nil {
		return nil, err
	}
	for _, p := range programs {
		if want := (oci.Platform{OS: t.Platform.OS, Architecture: t.Platform.Architecture, Variant: p.level}); p.level != "" && !runsOn(want, t.Platform) {
			e.Note("%s needs %s, which machines for %s need not be", p.at, oci.FormatPlatform(want), oci.FormatPlatform(t.Platform))
		}
	}
	if err := b.start(e, s, programs); err != nil {
		return nil, err
	}
	return s, describe(ctx, e, s, programs, len(items))
}

// A placed program is one with its path in the image.
type placed struct {
	program
	at    string
	named bool // by the user, not found in a directory
}

// at is where the item gets to in the image, on top of what the stack has: a
// directory's content below it.
func (i *item) at(ctx context.Context, s *build.Stack) (string, error) {
	at := path.Clean("/" + i.to)
	if i.dir || len(i.programs) == 0 {
		return at, nil
	}
	into := strings.HasSuffix(i.to, "/")
	if !into && s.Platform().OS != "windows" {
		there, err := s.Dir(ctx, strings.TrimPrefix(at, "/"))
		if err != nil {
			return "", err
		}
		into = there.There == layer.Present
	}
	if into {
		at = path.Join(at, filepath.Base(i.path))
	}
	return at, nil
}

// start makes the single program what is started, without the arguments of the
// base: the one that the user named, if there are others in directories.
func (b *builder) start(e *build.Engine, s *build.Stack, programs []placed) error {
	var named []placed
	for n, p := range programs {
		covered := slices.ContainsFunc(programs[n+1:], func(q placed) bool { return q.at == p.at })
		loads := slices.ContainsFunc(programs, func(q placed) bool { return path.Base(q.interpreter) == path.Base(p.at) })
		if p.named && !covered && !loads && !library(p.at) { // loaders and some libraries are programs too
			named = append(named, p)
		}
	}
	if len(named) == 0 {
		named = programs
	}
	switch len(named) {
	case 0:
		return nil
	case 1:
		at := named[0].at
		if s.Platform().OS == "windows" {
			at = `C:` + strings.ReplaceAll(at, "/", `\`)
		}
		return s.Apply(edit.SetEntrypoint(at), edit.Unset(edit.Cmd))
	}
	if !b.o.Started {
		e.Note("what is started stays as it is, for there are %d programs: say --entrypoint", len(named))
	}
	return nil
}
