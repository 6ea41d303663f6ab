// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A plan is what the places mean: all that there is to be put into images.
type plan struct{ items []*item }

// An item is a file or directory that is put into the images of a platform, or
// into all.
type item struct {
	*found
	path, to string
	platform oci.Platform // zero: all
	dir      bool
	in       *input.Input // shared by all targets, so that it is read once
}

// group names what has to be in every image: where it is put.
func (i *item) group() string { return strings.TrimSuffix(path.Clean("/"+i.to), ".exe") }

// read finds out what there is.
func (b *builder) read(ctx context.Context, e *build.Engine) (*plan, error) {
	p := &plan{}
	for _, place := range b.places {
		sources := []source{{path: place.From, bare: bareName(filepath.Base(place.From))}}
		if IsTemplate(place.From) {
			all, err := expand(place.From)
			if err != nil {
				return nil, err
			}
			if sources = withImages(all, e.Note); len(sources) == 0 {
				return nil, noneFound(place.From)
			}
		}
		if IsTemplate(place.To) {
			return nil, oci.Errorf(oci.ErrInvalid, "%s: words in braces stand for platforms in a source, not in the image", oci.Quote(place.To))
		}
		for _, s := range sources {
			i, err := b.item(ctx, e, place, s)
			if err != nil {
				return nil, err
			}
			p.items = append(p.items, i)
		}
	}
	return p, nil
}

func (b *builder) item(ctx context.Context, e *build.Engine, place Place, s source) (*item, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() { // reading a pipe would wait for somebody who writes
		return nil, oci.Errorf(oci.ErrInvalid, "%s is neither a file nor a directory", s.path)
	}
	i := &item{path: s.path, to: withoutDrive(place.To), dir: info.IsDir(), found: &found{}}
	if !b.o.Plain {
		if i.found, err = look(ctx, s.path); err != nil {
			return nil, err
		}
	}
	if err := i.settle(s); err != nil {
		return nil, err
	}
	if err := i.place(place, s); err != nil {
		return nil, err
	}
	rules, err := i.rules(place, e)
	if err != nil {
		return nil, err
	}
	i.in = input.Dir(i.path, i.to, rules)
	return i, nil
}

// settle decides for which platform the item is: its programs know it, and its
// name must not say another.
func (i *item) settle(s source) error {
	i.platform = s.platform
	if i.found.platform.OS == "" {
		if s.platform.OS != "" && s.platform.Architecture == "" {
			return oci.Errorf(oci.ErrInvalid, "%s: neither the name nor a program says for which architecture it is: {arch} is missing", i.path)
		}
		return nil
	}
	if s.platform.OS == "" {
		i.platform = i.found.platform
		return nil
	}
	if i.platform.Architecture == "" {
		i.platform.Architecture, i.platform.Variant = i.found.platform.Architecture, i.found.platform.Variant
	}
	if !runsOn(i.found.platform, i.platform) {
		return oci.Errorf(oci.ErrInvalid, "%s is for %s, and its name says %s", i.path, oci.FormatPlatform(i.found.platform), oci.FormatPlatform(i.platform))
	}
	return nil
}

// place decides where the item is put.
func (i *item) place(p Place, s source) error {
	exe := s.platform.OS == "windows" && strings.HasSuffix(i.path, ".exe")
	switch {
	case p.To != "":
		if exe && !i.dir && path.Ext(i.to) == "" && !strings.HasSuffix(i.to, "/") {
			i.to += ".exe"
		}
		return nil
	case i.dir:
		i.to = "/"
		return nil
	case len(i.programs) == 0 || s.bare == "":
		return oci.Errorf(oci.ErrInvalid, "%s: say where it goes in the image: %s:DEST", i.path, i.path)
	}
	i.to = "/app/" + s.bare
	if strings.HasSuffix(i.path, ".exe") {
		i.to += ".exe"
	}
	return nil
}

// withoutDrive is a path of Windows as one from the root.
func withoutDrive(to string) string {
	if len(to) > 2 && to[1] == ':' && (to[2] == '/' || to[2] == '\\') {
		to = strings.ReplaceAll(to[2:], `\`, "/")
	}
	return to
}

// plainModes are those of files that belong to nobody in particular.
const plainModes = "u+rwX,go+rX,go-w"

// rules are those for what the item becomes in a layer.
func (i *item) rules(p Place, e *build.Engine) (layer.CreateOptions, error) {
	r := p.Rules
	if r.Time.IsZero() {
		r.Time = e.Options().Time
	}
	asked := r.Mode.String()
	octal := asked != "" && asked[0] >= '0' && asked[0] <= '9'
	if len(i.idle) > 0 && len(i.programs) == 0 {
		e.Note("%s in %s is a program that nobody may execute, so it is a file like others", strings.Join(i.idle, ", "), i.path)
	}
	if p.KeepModes || octal {
		return r, nil
	}
	mode := plainModes
	if len(i.idle) > 0 && !i.dir {
		mode += ",a+x"
		e.Note("%s is a program that nobody may execute: it is made executable", i.path)
	}
	if asked != "" {
		mode += "," + asked
	}
	var err error
	r.Mode, err = layer.ParseMode(mode)
	return r, err
}

// offers are the platforms that there is something for, in order.
func (p *plan) offers() (all []oci.Platform) {
	for _, i := range p.items {
		same := func(o oci.Platform) bool { return oci.MatchPlatform(i.platform, o) }
		if i.platform.OS != "" && !slices.ContainsFunc(all, same) {
			all = append(all, i.platform)
		}
	}
	return all
}

// pick takes what belongs into the image for a platform: what is for all, and
// of each group what is for the latest variant that runs there. ErrInvalid if
// a group has nothing.
func (p *plan) pick(on oci.Platform) (out []*item, err error) {
	best := map[string]oci.Platform{}
	for _, i := range p.items {
		if i.platform.OS != "" && runsOn(i.platform, on) {
			if old, ok := best[i.group()]; !ok || rank(old) < rank(i.platform) {
				best[i.group()] = i.platform
			}
		}
	}
	for _, i := range p.items {
		b, ok := best[i.group()]
		switch {
		case i.platform.OS != "" && !ok:
			return nil, p.lacks(i, on)
		case i.platform.OS == "" || oci.MatchPlatform(b, i.platform):
			out = append(out, i)
		}
	}
	return out, nil
}

// lacks is the error for a platform that there is nothing for.
func (p *plan) lacks(i *item, on oci.Platform) error {
	var group plan
	for _, other := range p.items {
		if other.group() == i.group() {
			group.items = append(group.items, other)
		}
	}
	if len(group.items) == 1 {
		return oci.Errorf(oci.ErrInvalid, "%s is for %s, not for %s", i.path, oci.FormatPlatform(i.platform), oci.FormatPlatform(on))
	}
	return oci.Errorf(oci.ErrInvalid, "for %s there is nothing that becomes %s, only for %s", oci.FormatPlatform(on), i.group(), platformsText(group.offers()))
}
