// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"context"
	"slices"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

// A conversionRun converts one graph.
type conversionRun struct {
	c    *Converter
	old  map[oci.Digest]*oci.Manifest // as they were, by that digest
	new  map[oci.Digest]*oci.Manifest // as they are, by the digest that they had
	imgs map[oci.Digest]*image.Image  // those with layers to convert
}

// convert converts a graph and returns its new root.
func (c *Converter) convert(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if _, err := c.mediaType(oci.MediaManifest); err != nil {
		return d, err
	}
	if c.o.Packing != nil {
		if err := c.o.Packing.Check(); err != nil {
			return d, err
		}
	}
	t, err := c.load(ctx, d)
	if err != nil {
		return d, err
	}
	r := &conversionRun{c: c, old: map[oci.Digest]*oci.Manifest{}, new: map[oci.Digest]*oci.Manifest{}, imgs: map[oci.Digest]*image.Image{}}
	for _, m := range t.Manifests[:len(t.Manifests)-1] {
		r.old[m.Descriptor.Digest] = m
	}
	r.old[d.Digest] = t.Root() // also if it is smaller now
	if err := r.layers(ctx, t.Manifests); err != nil {
		return d, err
	}
	for _, m := range t.Manifests[:len(t.Manifests)-1] {
		if _, err := r.manifest(m.Descriptor.Digest); err != nil {
			return d, err
		}
	}
	root, err := r.manifest(d.Digest)
	if err != nil {
		return d, err
	}
	for old, m := range r.new {
		if m.Descriptor.Digest != old {
			c.keep(m.Blob())
		}
	}
	if root.Descriptor.Digest == d.Digest {
		return d, nil
	}
	return root.Descriptor, nil
}

// load reads the manifests that are wanted. The root is last, narrowed.
func (c *Converter) load(ctx context.Context, d oci.Descriptor) (*oci.Tree, error) {
	g := oci.Graph{Root: d, Source: c.s}
	if c.o.Keep == nil || !oci.IsIndex(d.MediaType) {
		return g.Load(ctx, nil)
	}
	top, err := oci.Fetch(ctx, c.s, d)
	if err != nil {
		return nil, err
	}
	if len(top.Raw) <= oci.MaxData {
		g.Root.Data = top.Raw // read once is enough
	}
	keep, err := c.o.Keep(top)
	if err != nil {
		return nil, err
	}
	if len(keep) != len(top.Manifests) {
		return nil, oci.Errorf(oci.ErrInvalid, "%d answers for the %d entries of an index", len(keep), len(top.Manifests))
	}
	if !slices.Contains(keep, false) {
		return g.Load(ctx, nil)
	}
	narrow, err := oci.FilterIndex(top, func(i int) bool { return keep[i] })
	if err != nil {
		return nil, err
	}
	wanted := map[oci.Digest]bool{} // of the root's entries; below them everything is
	for i, x := range top.Manifests {
		wanted[x.Digest] = wanted[x.Digest] || keep[i]
	}
	t, err := g.Load(ctx, func(x oci.Descriptor) bool {
		is, entry := wanted[x.Digest]
		return is || !entry
	})
	if err != nil {
		return nil, err
	}
	t.Manifests[len(t.Manifests)-1] = narrow
	return t, nil
}

// layers makes known what becomes of all layers that have to be converted, and
// checks them against the configs.
func (r *conversionRun) layers(ctx context.Context, all []*oci.Manifest) error {
	var todo []*conversion
	var bytes int64
	for _, m := range all {
		img, err := r.image(ctx, m)
		if err != nil {
			return err
		}
		if img == nil {
			continue
		}
		r.imgs[m.Descriptor.Digest] = img
		for i, d := range m.Layers {
			if want, _ := r.c.wants(d); !want {
				continue
			}
			v := r.c.conversion(d)
			if r.c.recall(v, img.DiffIDs[i]); !v.known() && !slices.Contains(todo, v) {
				todo = append(todo, v)
				bytes += min(d.Size, 1<<50)
			}
		}
	}
	if r.c.o.NoWork && len(todo) > 0 {
		return oci.Errorf(oci.ErrUnsupported, "%w: %d layers with %d bytes would have to be read and packed", ErrNotRemembered, len(todo), bytes)
	}
	if err := oci.Parallel(ctx, len(todo), func(ctx context.Context, i int) error { return r.c.resolve(ctx, todo[i]) }); err != nil {
		return err
	}
	return r.checkDiffIDs()
}

// image reads the config of an image that has layers to convert.
func (r *conversionRun) image(ctx context.Context, m *oci.Manifest) (*image.Image, error) {
	if m.IsIndex() || m.Config == nil || !oci.IsConfig(m.Config.MediaType) {
		return nil, nil
	}
	any := false
	for _, d := range m.Layers {
		want, err := r.c.wants(d)
		if err != nil {
			return nil, err
		}
		any = any || want
	}
	if !any {
		return nil, nil
	}
	return image.Of(ctx, r.c.s, m)
}

func (r *conversionRun) checkDiffIDs() error {
	for _, img := range r.imgs {
		for i, d := range img.Manifest.Layers {
			if want, _ := r.c.wants(d); !want {
				continue
			}
			if got := r.c.conversion(d).result().Source; got != img.DiffIDs[i] {
				return oci.Errorf(oci.ErrCorrupt, "layer %s has the diff ID %s, but its config says %s", d.Digest, got, img.DiffIDs[i])
			}
		}
	}
	return nil
}
