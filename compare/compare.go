// SPDX-License-Identifier: Apache-2.0

// Package compare says what differs between two images: their manifests and
// configs member by member, their layers, the packages that dpkg, apk and rpm
// know of, and their files.
package compare

import (
	"context"
	"errors"
	"slices"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/packages"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A Section is one part of a report.
type Section string

// The sections. Only Files and Packages need the bytes of layers.
const (
	Manifest Section = "manifest"
	Config   Section = "config"
	Layers   Section = "layers"
	Packages Section = "packages"
	Files    Section = "files"
)

// Sections are all sections, in the order of a report.
var Sections = [...]Section{Manifest, Config, Layers, Packages, Files}

// Options say what to compare. The zero value compares everything.
type Options struct {
	Only []Section // empty: all
	// Limits bound what a layer may unpack to. Bytes is 64 GiB if it is 0, or
	// four times the packed size where that is more.
	Limits layer.Limits
}

func (o Options) wants(s Section) bool { return len(o.Only) == 0 || slices.Contains(o.Only, s) }

// An Op is what happened to something on the way from A to B.
type Op string

// The ops.
const (
	Added   Op = "added"
	Removed Op = "removed"
	Changed Op = "changed"
)

// A Report is what differs between A and B. Its texts can have any characters.
type Report struct {
	A        oci.Digest `json:"a"`
	B        oci.Digest `json:"b"`
	Manifest []Change   `json:"manifest,omitempty"` // of indexes
	Images   []Image    `json:"images,omitempty"`   // that differ, by platform; or the two themselves
}

// Same reports whether nothing that was compared differs.
func (r *Report) Same() bool { return len(r.Manifest) == 0 && len(r.Images) == 0 }

// An Image is what differs in one image.
type Image struct {
	Platform string          `json:"platform,omitempty"` // "" if A and B are no indexes
	Op       Op              `json:"op"`                 // of a platform that only one has nothing else is said
	A        oci.Digest      `json:"a,omitempty"`
	B        oci.Digest      `json:"b,omitempty"`
	Manifest []Change        `json:"manifest,omitempty"`
	Config   []Change        `json:"config,omitempty"`
	Layers   []LayerChange   `json:"layers,omitempty"`
	Packages []PackageChange `json:"packages,omitempty"`
	Files    []FileChange    `json:"files,omitempty"`
	Notes    []string        `json:"notes,omitempty"` // what could not be compared
}

func (i *Image) same() bool {
	return len(i.Manifest)+len(i.Config)+len(i.Layers)+len(i.Packages)+len(i.Files)+len(i.Notes) == 0
}

// A Change is of one member of a JSON document. Path names it with dots
// between; environment variables are members by their names.
type Change struct {
	Op   Op     `json:"op"`
	Path string `json:"path"`
	A    string `json:"a,omitempty"`
	B    string `json:"b,omitempty"`
}

// A LayerChange is of a layer. One that holds the same but is packed in another
// way is changed.
type LayerChange struct {
	Op Op     `json:"op"`
	A  *Layer `json:"a,omitempty"`
	B  *Layer `json:"b,omitempty"`
}

// A Layer is one layer of one image.
type Layer struct {
	Number  int        `json:"number"` // 1 is the lowest
	Digest  oci.Digest `json:"digest"`
	DiffID  oci.Digest `json:"diffID,omitempty"`
	Size    int64      `json:"size"`
	History string     `json:"history,omitempty"` // what made it
}

// A PackageChange is of an installed package.
type PackageChange struct {
	Op      Op     `json:"op"`
	Manager string `json:"manager"`
	Name    string `json:"name"`
	Arch    string `json:"arch,omitempty"`
	A       string `json:"a,omitempty"` // version
	B       string `json:"b,omitempty"`
}

// Graphs compares two images, or two indexes platform by platform. Layers are
// read only for the sections that need them, and only where the images differ;
// see readBoth for which. Equal images and equal platforms cost nothing but
// their manifests. Of artifacts only manifest and layers are compared.
func Graphs(ctx context.Context, a, b oci.Graph, o Options) (*Report, error) {
	r := &Report{A: a.Root.Digest, B: b.Root.Digest}
	if r.A == r.B {
		return r, nil
	}
	ma, err := oci.Fetch(ctx, a.Source, a.Root)
	if err != nil {
		return nil, err
	}
	mb, err := oci.Fetch(ctx, b.Source, b.Root)
	if err != nil {
		return nil, err
	}
	if !ma.IsIndex() && !mb.IsIndex() {
		i, err := images(ctx, pair[oci.Source]{a.Source, b.Source}, pair[*oci.Manifest]{ma, mb}, o)
		if err != nil {
			return nil, err
		}
		r.add(i)
		return r, nil
	}
	if o.wants(Manifest) && ma.IsIndex() && mb.IsIndex() {
		r.Manifest = manifests(ma, mb)
	}
	return r, r.platforms(ctx, pair[oci.Graph]{a, b}, pair[*oci.Manifest]{ma, mb}, o)
}

// A pair is the same thing of A and of B.
type pair[T any] struct{ a, b T }

func (r *Report) add(i *Image) {
	if !i.same() {
		r.Images = append(r.Images, *i)
	}
}

// images compares two manifests that are no indexes.
func images(ctx context.Context, from pair[oci.Source], m pair[*oci.Manifest], o Options) (*Image, error) {
	out := &Image{Op: Changed, A: m.a.Descriptor.Digest, B: m.b.Descriptor.Digest}
	if o.wants(Manifest) {
		out.Manifest = manifests(m.a, m.b)
	}
	a, err := image.Of(ctx, from.a, m.a)
	if err == nil {
		var b *image.Image
		if b, err = image.Of(ctx, from.b, m.b); err == nil {
			return out, out.compare(ctx, a, b, o)
		}
	}
	if !errors.Is(err, oci.ErrUnsupported) {
		return nil, err
	}
	if o.wants(Layers) { // an artifact has its layers, and that is all
		out.Layers = layers(described(m.a.Layers), described(m.b.Layers))
	}
	return out, nil
}

func (i *Image) compare(ctx context.Context, a, b *image.Image, o Options) (err error) {
	if o.wants(Config) {
		if i.Config, err = configs(a.Config, b.Config); err != nil {
			return err
		}
	}
	if o.wants(Layers) {
		i.Layers = layers(layersOf(a), layersOf(b))
	}
	if !o.wants(Files) && !o.wants(Packages) || sameLayers(a, b) {
		return nil
	}
	both, err := readBoth(ctx, a, b, o)
	if err != nil {
		return err
	}
	if o.wants(Packages) {
		if i.Packages, err = both.packages(&i.Notes); err != nil {
			return err
		}
	}
	if o.wants(Files) {
		i.Files = both.files()
	}
	return nil
}

// sameLayers reports whether two images have the same file system. Diff IDs do
// not count: they are what a config says.
func sameLayers(a, b *image.Image) bool {
	return sharedLayers(a, b) == max(len(a.DiffIDs), len(b.DiffIDs))
}

// sharedLayers counts the lowest layers that two images share.
func sharedLayers(a, b *image.Image) int {
	x, y := a.Manifest.Layers, b.Manifest.Layers
	n := 0
	for n < min(len(x), len(y)) && x[n].Digest == y[n].Digest {
		n++
	}
	return n
}

// packageChanges compares sorted lists. A package can be there in several
// versions, as kernels are.
func packageChanges(a, b []packages.Package) []PackageChange {
	type key struct{ manager, name, arch string }
	versions := map[key]*pair[[]string]{}
	var order []key
	note := func(p packages.Package, list func(*pair[[]string]) *[]string) {
		k := key{p.Manager, p.Name, p.Arch}
		if versions[k] == nil {
			versions[k] = &pair[[]string]{}
			order = append(order, k)
		}
		l := list(versions[k])
		*l = append(*l, p.Version)
	}
	for _, p := range a {
		note(p, func(v *pair[[]string]) *[]string { return &v.a })
	}
	for _, p := range b {
		note(p, func(v *pair[[]string]) *[]string { return &v.b })
	}
	slices.SortFunc(order, func(x, y key) int {
		return slices.Compare([]string{x.manager, x.name, x.arch}, []string{y.manager, y.name, y.arch})
	})
	var out []PackageChange
	for _, k := range order {
		v := versions[k]
		gone := without(v.a, v.b)
		came := without(v.b, v.a)
		for n := range max(len(gone), len(came)) {
			c := PackageChange{Op: Changed, Manager: k.manager, Name: k.name, Arch: k.arch}
			switch {
			case n >= len(gone):
				c.Op, c.B = Added, came[n]
			case n >= len(came):
				c.Op, c.A = Removed, gone[n]
			default:
				c.A, c.B = gone[n], came[n]
			}
			out = append(out, c)
		}
	}
	return out
}

func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}
