// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// targets chooses the platforms, and the image that each of them begins with.
func (p *plan) targets(ctx context.Context, want build.Want) ([]build.Target, error) {
	if p.swap = len(want.From) > 0; p.swap {
		return p.choose(ctx, want, want.From)
	}
	if len(want.Platforms) == 0 {
		b, err := p.baseOf(p.o.Host)
		var list []build.Target
		switch {
		case err != nil:
			return nil, err
		case b.fixed != nil:
			list, err = p.single(ctx, b.name, *b.fixed)
		default:
			list, err = p.all(ctx, want, b.name)
		}
		return list, oci.Wrap("", b.at, err)
	}
	var out []build.Target
	for n, platform := range want.Platforms {
		if slices.ContainsFunc(want.Platforms[:n], func(q oci.Platform) bool { return oci.FormatPlatform(q) == oci.FormatPlatform(platform) }) {
			continue
		}
		b, err := p.baseOf(platform)
		if err != nil {
			return nil, err
		}
		var list []build.Target
		if b.fixed != nil {
			list, err = p.single(ctx, b.name, *b.fixed)
		} else {
			list, err = p.choose(ctx, build.Want{Platforms: []oci.Platform{platform}}, []string{b.name})
		}
		if err != nil {
			return nil, oci.Wrap("", b.at, err)
		}
		for _, t := range list {
			if !oci.MatchPlatform(platform, t.Platform) {
				return nil, oci.Errorf(oci.ErrInvalid, "%s: what it builds is for %s, whatever --platform says", p.name, oci.FormatPlatform(t.Platform))
			}
		}
		out = append(out, list...)
	}
	return out, nil
}

// all are the targets of a base, where no platforms are asked for or all of
// them. Its name must be the same for each.
func (p *plan) all(ctx context.Context, want build.Want, name string) ([]build.Target, error) {
	list, err := p.choose(ctx, want, []string{name})
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		other, err := p.baseOf(t.Platform)
		if err == nil && other.name != name {
			err = oci.Errorf(oci.ErrInvalid, "the base depends on the platform (%s, %s): name the platforms", name, other.name)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// single is the target of a base whose platform the file says.
func (p *plan) single(ctx context.Context, name string, platform oci.Platform) ([]build.Target, error) {
	b, err := p.e.Base(ctx, name, platform)
	if err != nil {
		return nil, err
	}
	return []build.Target{{Platform: b.Platform, Base: b}}, nil
}

// A fromLine is what a FROM says of the base of the target.
type fromLine struct {
	name  string
	fixed *oci.Platform // that it says; nil: none, or the one that is asked for
	at    string        // FILE:LINE
}

// baseOf is the base of the target for a platform.
func (p *plan) baseOf(platform oci.Platform) (b fromLine, err error) {
	x, err := p.evaluation(build.Target{Platform: platform}, nil)
	if err != nil {
		return b, err
	}
	o, err := x.root.origin()
	if err != nil {
		return b, err
	}
	b = fromLine{cmp.Or(o.image, build.Scratch), o.platform, x.root.at()}
	if b.fixed != nil && oci.FormatPlatform(*b.fixed) == oci.FormatPlatform(oci.NormalizePlatform(platform)) || b.name == build.Scratch {
		b.fixed = nil
	}
	return b, nil
}

// choose finds the images of bases that are wanted. If nothing is said: that for
// this machine, of a base that is an index; all of one for Windows, whose
// images differ in the version of Windows only; or the one that there is.
func (p *plan) choose(ctx context.Context, want build.Want, names []string) ([]build.Target, error) {
	want.From = names
	d := build.Default{Platforms: []oci.Platform{p.o.Host}}
	if len(want.Platforms) > 0 || want.All {
		return p.e.Targets(ctx, want, d)
	}
	var all []*build.Base
	for _, name := range names {
		list, err := p.e.Bases(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	here := func(b *build.Base) bool { return oci.MatchPlatform(p.o.Host, b.Platform) }
	elsewhere := func(b *build.Base) bool { return b.Platform.OS != "windows" }
	if len(all) > 0 && !slices.ContainsFunc(all, here) && !slices.ContainsFunc(all, elsewhere) {
		return p.e.Targets(ctx, want, build.Default{})
	}
	list, err := p.e.Targets(ctx, want, d)
	if err == nil && len(list) < len(all) && !p.checking {
		var others []string
		for _, b := range all {
			if text := oci.FormatPlatform(b.Platform); !here(b) && !slices.Contains(others, text) {
				others = append(others, text)
			}
		}
		p.e.Note("built for %s, as this machine is; --platform all builds for %s too", oci.FormatPlatform(p.o.Host), strings.Join(others, ", "))
	}
	return list, err
}
