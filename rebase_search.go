// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
	"github.com/dray-tools/dray/ref"
)

// A tagged is a tag of a repository of bases, with the manifest that it has for
// a platform.
type tagged struct {
	name     string
	base     *rebaseBase
	manifest *oci.Manifest
}

// search finds the old base among the tags of the repository that the image
// names, or of the new base's: the one with the most layers of those that are
// all in the image. Configs are read only if digests do not decide.
func (r *rebasing) search(ctx context.Context, app *edit.Image, to *rebaseBase) (foundBase, error) {
	at := to.ref
	if name := r.annotation(app, annotationBaseName); name != "" && name != Scratch {
		if p, err := r.said(name); err == nil {
			at = p
		}
	}
	if at == (ref.Ref{}) {
		return foundBase{}, oci.Errorf(oci.ErrInvalid, "nothing says where it could be: it has to be named")
	}
	list, notes, err := r.tags(ctx, at, app)
	if err != nil {
		return foundBase{}, err
	}
	fits := slices.Clone(list)
	fits = slices.DeleteFunc(fits, func(t tagged) bool { return !below(app, t.manifest) })
	if len(fits) == 0 {
		fits = list
	}
	f, others, err := r.longest(ctx, app, fits)
	f.notes = notes
	if err != nil {
		return f, err
	}
	if f.image == nil {
		return f, oci.Errorf(oci.ErrNotFound, "none of the %d tags of %s that were looked at has just the image's lowest layers: it has to be named", len(list), at.Repo())
	}
	if others > 0 {
		f.notes = append(f.notes, fmt.Sprintf("%d other images in %s have the layers of the old base too", others, at.Repo()))
	}
	return f, nil
}

// below reports whether all layers of a manifest are the lowest ones of an image
// by digest.
func below(app *edit.Image, m *oci.Manifest) bool {
	for n, l := range m.Layers {
		if n >= len(app.Layers()) || app.Layers()[n].Descriptor.Digest != l.Digest {
			return false
		}
	}
	return true
}

// longest reads the images that may be the base, those with the most layers
// first, until one is. others counts those that are as good.
func (r *rebasing) longest(ctx context.Context, app *edit.Image, list []tagged) (f foundBase, others int, err error) {
	slices.SortStableFunc(list, func(a, b tagged) int { return cmp.Compare(len(b.manifest.Layers), len(a.manifest.Layers)) })
	for len(list) > 0 {
		n := len(list[0].manifest.Layers)
		same, rest := list, []tagged(nil)
		if at := slices.IndexFunc(list, func(t tagged) bool { return len(t.manifest.Layers) != n }); at >= 0 {
			same, rest = list[:at], list[at:]
		}
		images := make([]*image.Image, len(same))
		if err := oci.Parallel(ctx, len(same), func(ctx context.Context, k int) error {
			i, err := same[k].base.read(ctx, same[k].manifest.Descriptor)
			if err == nil {
				if _, err := rebase.Match(app.Layers(), i); err == nil {
					images[k] = i
				}
			} else if !unfit(err) {
				return err
			}
			return nil
		}); err != nil {
			return f, 0, err
		}
		best := -1
		for k, i := range images {
			if i == nil {
				continue
			}
			others++
			if score := likeness(app, i); score > best {
				best = score
				f = foundBase{used: BaseUsed{same[k].name, i.Manifest.Descriptor.Digest, BySearch}, base: same[k].base, image: i}
			}
		}
		if f.image != nil {
			return f, others - 1, nil
		}
		list = rest
	}
	return f, 0, nil
}

// likeness tells which of several images with the same layers is more likely the
// base: that of the image's os.version, and one whose history it begins with.
func likeness(app *edit.Image, i *image.Image) (score int) {
	if app.Platform().OSVersion == i.Platform.OSVersion {
		score += 2
	}
	have := app.History()
	if len(i.History) <= len(have) && reflect.DeepEqual(i.History, have[:len(i.History)]) {
		score++
	}
	return score
}

// unfit reports whether an error is about one image, so that the others may
// still be looked at.
func unfit(err error) bool {
	return errors.Is(err, oci.ErrCorrupt) || passable(err) && !errors.Is(err, oci.ErrUnauthorized)
}

// tags reads the manifests of a repository's tags that could be the base: each
// once, with not more layers than the image and at least one. Those that cannot
// be read are passed over.
func (r *rebasing) tags(ctx context.Context, at ref.Ref, app *edit.Image) (list []tagged, notes []string, err error) {
	names, err := r.tagNames(ctx, at, app.Platform().OSVersion)
	if err != nil {
		return nil, nil, err
	}
	if len(names) > mostTags {
		notes = append(notes, fmt.Sprintf("only %d of the %d tags of %s were looked at for the old base", mostTags, len(names), at.Repo()))
		names = names[:mostTags]
	}
	found, errs := make([]tagged, len(names)), make([]error, len(names))
	if err := oci.Parallel(ctx, len(names), func(ctx context.Context, n int) error {
		found[n], errs[n] = r.tag(ctx, at.WithTag(names[n]).String(), app)
		if errs[n] != nil && !unfit(errs[n]) {
			return errs[n]
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	if bad := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(bad) > 0 {
		notes = append(notes, fmt.Sprintf("%d of the tags of %s could not be looked at for the old base, such as: %v", len(bad), at.Repo(), bad[0]))
	}
	seen := map[oci.Digest]bool{app.Was().Digest: true}
	for _, t := range found {
		if t.base == nil || seen[t.manifest.Descriptor.Digest] || t.manifest.IsIndex() || t.manifest.Config == nil ||
			len(t.manifest.Layers) == 0 || len(t.manifest.Layers) > len(app.Layers()) {
			continue
		}
		seen[t.manifest.Descriptor.Digest] = true
		list = append(list, t)
	}
	return list, notes, nil
}

// tag reads the manifest that a tag has for an image's platform; nothing if
// there is none.
func (r *rebasing) tag(ctx context.Context, name string, app *edit.Image) (tagged, error) {
	b, err := r.base(ctx, name)
	if err != nil {
		return tagged{}, oci.Wrap("", name, err)
	}
	all, _, err := b.candidates(app.Platform())
	if err != nil {
		return tagged{}, nil
	}
	m := b.root
	if all[0].Digest != m.Descriptor.Digest {
		if m, err = oci.Fetch(ctx, b.store, all[0]); err != nil {
			return tagged{}, oci.Wrap("", name, err)
		}
	}
	return tagged{name, b, m}, nil
}

// tagNames lists tags: the one that is a version of Windows first, then what
// looks newest.
func (r *rebasing) tagNames(ctx context.Context, at ref.Ref, version string) (names []string, err error) {
	for t, err := range r.c.Tags(ctx, at.Repo().String(), r.o.From) {
		if err != nil {
			return nil, err
		}
		if !companionTag.MatchString(t) {
			names = append(names, t)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if (a == version) != (b == version) {
			return map[bool]int{true: -1, false: 1}[a == version]
		}
		return newer(a, b)
	})
	return names, nil
}

// newer compares tags, the one that looks newer first: numbers in them count as
// such, and latest is before all.
func newer(a, b string) int {
	if (a == "latest") != (b == "latest") {
		return map[bool]int{true: -1, false: 1}[a == "latest"]
	}
	x, y := pieces(a), pieces(b)
	for n := range min(len(x), len(y)) {
		p, q := strings.TrimLeft(x[n], "0"), strings.TrimLeft(y[n], "0")
		if isNumber(x[n]) && isNumber(y[n]) && len(p) != len(q) {
			return cmp.Compare(len(q), len(p))
		}
		if c := cmp.Compare(q, p); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(b, a)) // 12 before 12-slim
}

func isNumber(s string) bool { return s != "" && unicode.IsDigit(rune(s[0])) }

// pieces splits a tag into numbers and what is between them.
func pieces(s string) (out []string) {
	start := 0
	for n := 1; n <= len(s); n++ {
		if n == len(s) || isNumber(s[n:]) != isNumber(s[n-1:]) {
			out = append(out, s[start:n])
			start = n
		}
	}
	return out
}
