// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"path/filepath"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store/wrap"
	"github.com/dray-tools/dray/transfer"
)

// open finds a base. What was read of it before is not read again; a tag is
// looked up each time.
func (b *building) open(ctx context.Context, name string) (build.Opened, error) {
	r, err := ref.Parse(name)
	if err != nil {
		return build.Opened{}, err
	}
	b.mu.Lock()
	st, err := b.c.opened(b.at, "from ", r, b.o.From, false)
	b.mu.Unlock()
	if err != nil {
		return build.Opened{}, err
	}
	var src oci.Source = st
	if b.cacheDir() != "" {
		src = wrap.Cache(st, filepath.Join(b.cacheDir(), "manifests"))
	}
	out := build.Opened{Source: src}
	if out.Manifest, err = oci.Get(ctx, src, r.Target()); err != nil {
		return out, err
	}
	if r.Scheme == ref.Registry {
		out.Repository = r.Repo().String()
		if r.Name != "" {
			out.Ref = r.WithTag(r.Name).String()
		}
	}
	return out, nil
}

// target is the job that writes an image to a place.
func (b *building) target(sealed *edit.Sealed, name string) (transfer.Job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.c.target(b.at, sealed, name, "", false, b.o.EditOptions)
}

// outlines is what is known of the files of layers.
func (b *building) outlines() *layer.Outlines {
	if b.cacheDir() == "" {
		return &layer.Outlines{}
	}
	return b.c.outlines()
}

// samePlace reports whether two references are of one repository.
func samePlace(a, b ref.Ref) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host && a.Repository == b.Repository
}

// subject tells what was built to those who make documents about it.
func (b *building) subject(ctx context.Context, j BuildJob, r *build.Result, sealed *edit.Sealed) (s build.Subject, err error) {
	var about build.About
	if d, ok := j.Builder.(build.Describer); ok {
		if about, err = d.Describe(ctx); err != nil {
			return s, err
		}
	}
	name := j.name()
	for n, st := range r.Stacks {
		m, err := sealed.Of(st.Image)
		if err != nil {
			return s, err
		}
		i := build.Subject{Name: name, Descriptor: m.Descriptor, Platform: r.Targets[n].Platform, Base: r.Targets[n].Base, Components: st.Components, Materials: st.Materials, About: about, Layers: m.Layers}
		for _, l := range st.Layers() {
			i.DiffIDs = append(i.DiffIDs, l.DiffID)
		}
		s.Images = append(s.Images, i)
	}
	if len(s.Images) == 1 && s.Images[0].Descriptor.Digest == sealed.Root.Digest {
		one := s.Images[0]
		one.Images = s.Images
		return one, nil
	}
	s.Name, s.Descriptor, s.About, s.Base = name, sealed.Root, about, r.Base()
	return s, nil
}
