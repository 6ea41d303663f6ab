// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// A source of a layer, and where it is already, if it is.
type layerSource struct {
	*input.Input
	from oci.Source
}

// inputs opens what layers are made of.
func (a *appending) inputs(ctx context.Context) ([]layerSource, error) {
	o := a.o
	io := input.Options{Repack: o.Packing != nil, Clamp: o.Time, Blind: o.Blind, Exact: o.Exact, CacheDir: a.c.env.CacheDir, TempDir: a.c.env.TempDir}
	if o.Packing != nil {
		io.Packing = *o.Packing
	}
	all := make([]layerSource, len(o.Layers))
	for n, l := range o.Layers {
		switch {
		case l.Blob != "":
			s, b, err := a.blob(ctx, l.Blob)
			if err != nil {
				return nil, err
			}
			all[n] = layerSource{input.Blob(b), s}
		case l.Dir != "":
			all[n].Input = input.Dir(l.Dir, l.At, l.Rules)
		case l.File == "-":
			all[n].Input = input.Stream("stdin", a.c.env.In)
		default:
			all[n].Input = input.File(l.File)
		}
	}
	if o.Packs != nil {
		number := map[*input.Input]int{}
		for n, in := range all {
			number[in.Input] = n
		}
		io.Progress = func(in *input.Input, n int) { o.Packs(number[in], n) }
	}
	a.maker = input.New(io)
	a.c.closeLater(a.maker)
	return all, nil
}

// blob finds a layer by its digest.
func (a *appending) blob(ctx context.Context, name string) (oci.Source, oci.Blob, error) {
	r, err := ref.ParseAny(name)
	if err == nil && r.Digest == "" {
		err = oci.Errorf(oci.ErrInvalid, "%s: a layer is named by its digest: want REPOSITORY@DIGEST", oci.Quote(name))
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := a.c.opened(a.at, "from ", r, a.o.From, false)
	if err != nil {
		return nil, nil, err
	}
	d, err := st.Stat(ctx, oci.Descriptor{Digest: r.Digest})
	if err != nil {
		return nil, nil, err
	}
	return st, oci.From(st, d), nil
}

// appendAll puts the layers and changes on all images of the bases.
func (a *appending) appendAll(ctx context.Context, inputs []layerSource, bases []base) error {
	to, err := a.early()
	if err != nil {
		return err
	}
	a.engine = build.NewEngine(build.Options{Maker: a.maker, Outlines: a.c.outlines(), To: to, Deep: a.o.Deep, Created: a.o.Created, CacheDir: a.c.env.CacheDir})
	var stacks []*build.Stack
	for _, b := range bases {
		for _, i := range edit.Images(b.node) {
			stacks = append(stacks, a.engine.NewStack(i, nil))
		}
		if a.o.BaseLayers == ForeignBase && b.ref != (ref.Ref{}) {
			if err := a.refer(b); err != nil {
				return err
			}
		}
		if !a.o.NoBaseAnnotations {
			if err := b.annotate(); err != nil {
				return err
			}
		}
	}
	return oci.Parallel(ctx, len(stacks), func(ctx context.Context, n int) error { return a.onto(ctx, stacks[n], inputs) })
}

// early is where layers are sent while they are packed; nil: nowhere.
func (a *appending) early() (oci.Sink, error) {
	if a.o.NoUpload || a.o.NoClobber {
		return nil, nil
	}
	for _, r := range a.targets {
		if r.Scheme == ref.Registry {
			a.first = r
			return a.c.opened(a.at, "to ", r, a.o.To, true)
		}
	}
	return nil, nil
}

// onto makes the changes of one image, and puts the layers on it.
func (a *appending) onto(ctx context.Context, s *build.Stack, inputs []layerSource) error {
	was := string(s.Get("created"))
	if err := s.Apply(a.o.Changes...); err != nil {
		return err
	}
	created, err := a.created(s.Image, was)
	if err != nil {
		return err
	}
	for _, in := range inputs {
		h := edit.History{Created: created, Comment: a.o.Comment}
		if _, err := s.Add(ctx, in.Input, build.AddOptions{From: in.from, By: "dray append ", History: h}); err != nil {
			return err
		}
	}
	return nil
}

// created is when the new layers are said to have been made. It is also set in
// the image, if that was asked for and its own time is still what it was.
func (a *appending) created(i *edit.Image, was string) (*time.Time, error) {
	if t := a.o.Created; !t.IsZero() && string(i.Get("created")) == was {
		t = t.UTC()
		return &t, i.Set(t, "created")
	}
	c, err := i.Config()
	return c.Created, err
}

// wasSent reports whether the layers that were sent while they were packed went
// to the place of a target.
func (a *appending) wasSent(target string, d oci.Digest) bool {
	r, err := ref.ParseAny(target)
	return err == nil && a.engine.Sent(d) && r.Scheme == a.first.Scheme && r.Host == a.first.Host && r.Repository == a.first.Repository
}
