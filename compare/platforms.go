// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

// A leaf is a manifest of an index, or of an index within it, that is no index.
type leaf struct {
	d    oci.Descriptor
	name string // its platform, with a number if there are several; "" if it has none
}

// platforms compares what indexes list. An image beside an index is one of its
// own platform.
func (r *Report) platforms(ctx context.Context, g pair[oci.Graph], m pair[*oci.Manifest], o Options) error {
	a, err := leaves(ctx, g.a.Source, m.a)
	if err != nil {
		return err
	}
	b, err := leaves(ctx, g.b.Source, m.b)
	if err != nil {
		return err
	}
	if o.wants(Manifest) {
		r.Manifest = append(r.Manifest, unnamed(a, b)...)
	}
	find := func(list []leaf, name string) *leaf {
		if i := slices.IndexFunc(list, func(l leaf) bool { return l.name == name }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	for _, x := range a {
		y := find(b, x.name)
		switch {
		case x.name == "":
		case y == nil:
			r.Images = append(r.Images, Image{Platform: x.name, Op: Removed, A: x.d.Digest})
		case x.d.Digest != y.d.Digest:
			i, err := children(ctx, g, pair[oci.Descriptor]{x.d, y.d}, o)
			if err != nil {
				return oci.Wrap("", x.name, err)
			}
			i.Platform = x.name
			r.add(i)
		}
	}
	for _, y := range b {
		if y.name != "" && find(a, y.name) == nil {
			r.Images = append(r.Images, Image{Platform: y.name, Op: Added, B: y.d.Digest})
		}
	}
	return nil
}

func children(ctx context.Context, g pair[oci.Graph], d pair[oci.Descriptor], o Options) (*Image, error) {
	a, err := oci.Fetch(ctx, g.a.Source, d.a)
	if err != nil {
		return nil, err
	}
	b, err := oci.Fetch(ctx, g.b.Source, d.b)
	if err != nil {
		return nil, err
	}
	return images(ctx, pair[oci.Source]{g.a.Source, g.b.Source}, pair[*oci.Manifest]{a, b}, o)
}

// leaves lists the manifests of an index, or the image itself.
func leaves(ctx context.Context, s oci.Source, m *oci.Manifest) ([]leaf, error) {
	if !m.IsIndex() {
		i, err := image.Of(ctx, s, m)
		if err != nil {
			return nil, err
		}
		return []leaf{{m.Descriptor, oci.FormatPlatform(oci.NormalizePlatform(i.Platform))}}, nil
	}
	var out []leaf
	if err := collect(ctx, s, m, &out, 0); err != nil {
		return nil, err
	}
	seen := map[string]int{}
	for i := range out {
		if out[i].name == "" {
			continue
		}
		if seen[out[i].name]++; seen[out[i].name] > 1 {
			out[i].name = fmt.Sprintf("%s #%d", out[i].name, seen[out[i].name])
		}
	}
	return out, nil
}

func collect(ctx context.Context, s oci.Source, m *oci.Manifest, out *[]leaf, depth int) error {
	for _, d := range m.Manifests {
		switch {
		case len(*out) >= oci.MaxNodes || depth >= oci.MaxDepth:
			return oci.Errorf(oci.ErrInvalid, "%s leads to too many manifests", m.Descriptor.Digest)
		case oci.IsIndex(d.MediaType):
			inner, err := oci.Fetch(ctx, s, d)
			if err == nil {
				err = collect(ctx, s, inner, out, depth+1)
			}
			if err != nil {
				return err
			}
		default:
			l := leaf{d: d}
			if p := d.Platform; p != nil && p.OS != "unknown" {
				l.name = oci.FormatPlatform(oci.NormalizePlatform(*p))
			}
			*out = append(*out, l)
		}
	}
	return nil
}

// unnamed compares attestations and what else has no platform, by digest.
func unnamed(a, b []leaf) []Change {
	digests := func(list []leaf) (out []string) {
		for _, l := range list {
			if l.name == "" {
				out = append(out, strings.TrimSpace(string(l.d.Digest)+" "+l.d.ArtifactType+l.d.Annotations["vnd.docker.reference.type"]))
			}
		}
		return out
	}
	x, y := digests(a), digests(b)
	var out []Change
	for _, s := range without(x, y) {
		out = append(out, Change{Op: Removed, Path: "manifests", A: s})
	}
	for _, s := range without(y, x) {
		out = append(out, Change{Op: Added, Path: "manifests", B: s})
	}
	return out
}
