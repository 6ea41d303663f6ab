// SPDX-License-Identifier: Apache-2.0

// Package files builds images of plain files and of programs that are compiled
// already.
package files

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A Place is something that is put into an image.
type Place struct {
	// From is a file or directory. In it {os}, {arch} and {variant} stand for those of
	// a platform: then there is one for each of several images.
	From string
	// To is where it is put: a directory gets what is in From, a file becomes To, or
	// goes into it if that ends with a slash or is a directory of the base. "": a
	// directory's content goes to the root, a program becomes /app/NAME, NAME without
	// the platform that it may end with.
	To string
	// Rules say what entries look like; Packing and Prefix are not used. Modes become
	// 0644 and 0755 before Rules.Mode changes them, so that nobody's umask counts,
	// unless KeepModes.
	Rules     layer.CreateOptions
	KeepModes bool
}

// Options change what is done about programs.
type Options struct {
	// Plain takes programs for files like others: nothing is read of them, and the
	// platforms are the user's to say.
	Plain bool
	// Started says that the user sets what is started, so that nothing needs to be
	// said if it cannot be seen.
	Started bool
}

// New builds images with a layer for each place. Platforms are those of the
// programs in them, where there are any; what a place has for one platform goes
// to the image for that, and all else to every one.
//
// Targets is ErrInvalid for programs that cannot be in one image, and ErrNotFound
// if there is none for a platform that is wanted; Build is ErrInvalid if the base
// lacks what loads a program.
func New(places []Place, o Options) build.Builder { return &builder{places: places, o: o} }

type builder struct {
	places []Place
	o      Options

	mu   sync.Mutex
	plan *plan // of the last Targets
}

// Name implements build.Builder.
func (b *builder) Name() string { return b.places[0].From }

// Targets implements build.Builder.
func (b *builder) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	p, err := b.read(ctx, e)
	if err != nil {
		return nil, err
	}
	offers := p.offers()
	platforms := want.Platforms
	switch {
	case len(offers) > 0 && len(platforms) == 0:
		if platforms, err = fit(ctx, e, offers, want.From); err != nil {
			return nil, err
		}
	case len(offers) == 0 && len(platforms) == 0 && len(want.From) == 0:
		return nil, oci.Errorf(oci.ErrInvalid, "%s: no program says for which platform it is: say --platform linux/amd64,linux/arm64 or the like, or name a base with --from", b.Name())
	}
	for _, t := range platforms {
		if _, err := p.pick(t); err != nil {
			return nil, err
		}
		if t.OS == "windows" && len(want.From) == 0 {
			return nil, build.NeedsWindows(fmt.Sprintf("%s is for %s, which needs a base of its own", b.Name(), oci.FormatPlatform(t)), platforms)
		}
	}
	want = build.Want{From: want.From, Platforms: platforms, All: want.All && len(offers) == 0}
	targets, err := e.Targets(ctx, want, build.Default{From: build.Static, Linux: true})
	b.mu.Lock()
	b.plan = p
	b.mu.Unlock()
	return targets, err
}

// Watch implements build.Watcher.
func (b *builder) Watch(context.Context) (all []string, err error) {
	for _, p := range b.places {
		if IsTemplate(p.From) {
			p.From = fixed(p.From)
		}
		all = append(all, filepath.FromSlash(p.From))
	}
	return all, nil
}

// Describe implements build.Describer.
func (b *builder) Describe(context.Context) (build.About, error) {
	var list []any
	for _, p := range b.places {
		one := map[string]any{"from": filepath.Base(p.From), "to": p.To}
		if mode := p.Rules.Mode.String(); mode != "" {
			one["chmod"] = mode
		}
		if o := p.Rules.Owner; o != nil {
			one["uid"], one["gid"] = o.UID, o.GID
		}
		for name, on := range map[string]bool{"keepTimes": p.Rules.KeepTime, "keepOwner": p.Rules.KeepOwner, "keepModes": p.KeepModes} {
			if on {
				one[name] = true
			}
		}
		list = append(list, one)
	}
	return build.About{Type: "files", Parameters: map[string]any{"places": list}}, nil
}

// fit finds the platforms of the bases that programs run on: their own, or where
// there is no such image one of a later variant.
func fit(ctx context.Context, e *build.Engine, offers []oci.Platform, from []string) (out []oci.Platform, err error) {
	var bases []*build.Base
	for _, name := range from {
		list, err := e.Bases(ctx, name)
		if err != nil {
			return nil, err
		}
		bases = append(bases, list...)
	}
	for _, p := range offers {
		exact := func(b *build.Base) bool { return oci.MatchPlatform(p, b.Platform) }
		later := func(b *build.Base) bool { return runsOn(p, b.Platform) }
		if n := slices.IndexFunc(bases, later); n >= 0 && !slices.ContainsFunc(bases, exact) {
			p = bases[n].Platform
			p.OSVersion, p.OSFeatures = "", nil
		}
		if !slices.ContainsFunc(out, func(o oci.Platform) bool { return oci.MatchPlatform(p, o) }) {
			out = append(out, p)
		}
	}
	return out, nil
}

func platformsText(list []oci.Platform) string {
	var names []string
	for _, p := range list {
		names = append(names, oci.FormatPlatform(p))
	}
	return strings.Join(names, ", ")
}
