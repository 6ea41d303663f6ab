// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
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
	var images []*edit.Image
	var below [][]oci.Blob
	for _, b := range bases {
		for _, i := range edit.Images(b.node) {
			images, below = append(images, i), append(below, blobs(i))
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
	to, err := a.early()
	if err != nil {
		return err
	}
	a.outlines = a.c.outlines()
	return oci.Parallel(ctx, len(images), func(ctx context.Context, n int) error {
		return a.onto(ctx, images[n], below[n], inputs, to)
	})
}

// blobs are the layers of an image as they are now.
func blobs(i *edit.Image) (all []oci.Blob) {
	for _, l := range i.Layers() {
		all = append(all, oci.From(l.From, l.Descriptor))
	}
	return all
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
func (a *appending) onto(ctx context.Context, i *edit.Image, below []oci.Blob, inputs []layerSource, to oci.Sink) error {
	was, taken := string(i.Get("created")), taken(i)
	if err := i.Apply(a.o.Changes...); err != nil {
		return err
	}
	var made []oci.Blob
	created, err := a.created(i, was)
	if err != nil {
		return err
	}
	for _, in := range inputs {
		g := a.ground(below, made, taken)
		l, err := a.maker.Layer(ctx, in.Input, input.Onto{Ground: g, Windows: i.Platform().OS == "windows"}, to)
		if err != nil {
			return err
		}
		a.wasRead(g.whole.Read(), below)
		a.tell(l, i.IsDocker())
		made = append(made, l)
		h := edit.History{Created: created, CreatedBy: "dray append " + l.CreatedBy, Comment: a.o.Comment}
		add := edit.Layer{Descriptor: l.Descriptor(), DiffID: l.DiffID, Blob: l}
		if in.from != nil {
			add.Blob, add.From = nil, in.from
		}
		if err := i.Apply(edit.Append(add, h)); err != nil {
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

// A ground is that of a base and of layers that were made for it before. Below
// names that the base cannot have at its top it is not read; but the layers made
// here may have brought links there.
type ground struct {
	whole, made *layer.Base
}

func (a *appending) ground(below, made []oci.Blob, taken func(string) bool) ground {
	all := append(below[:len(below):len(below)], made...)
	g := ground{whole: layer.NewBase(all, layer.BaseOptions{Deep: a.o.Deep, Taken: taken, Outlines: a.outlines})}
	if len(made) > 0 {
		g.made = layer.NewBase(made, layer.BaseOptions{Deep: true, Outlines: a.outlines})
	}
	return g
}

// Dir implements layer.Ground.
func (g ground) Dir(ctx context.Context, dir string) (layer.Place, error) {
	p, err := g.whole.Dir(ctx, dir)
	if err != nil || p.There != layer.Unknown || g.made == nil {
		return p, err
	}
	switch q, err := g.made.Dir(ctx, dir); {
	case err != nil:
		return q, err
	case q.Path != dir:
		return g.whole.Dir(ctx, q.Path)
	case q.There == layer.Present || q.There == layer.Blocked:
		return q, nil
	}
	return p, nil
}

// wasRead notes the layers of a base that were read.
func (a *appending) wasRead(read []oci.Descriptor, below []oci.Blob) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ours := map[oci.Digest]bool{}
	for _, b := range below {
		ours[b.Descriptor().Digest] = true
	}
	for _, d := range read {
		if ours[d.Digest] {
			a.read[d.Digest] = d
		}
	}
}

// tell notes what is worth to be known of a layer that was made.
func (a *appending) tell(l *input.Layer, docker bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.Sent() {
		a.sent[l.Descriptor().Digest] = true
	}
	if docker && l.Descriptor().MediaType == oci.MediaLayerZstd {
		a.noteOnce("layers packed with zstd are not read by Docker engines before 23")
	}
	if n := l.KeptCount; n > 0 {
		names := strings.Join(l.Kept, ", ")
		if more := n - len(l.Kept); more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		what := "keeps its"
		if n > 1 {
			what = "keep their"
		}
		a.noteOnce(fmt.Sprintf("the base's %s %s mode and owner (--exact takes the tar as it is)", names, what))
	}
}

func (a *appending) noteOnce(text string) {
	if !slices.Contains(a.notes, text) {
		a.note(text)
	}
}

// wasSent reports whether the layers that were sent while they were packed went
// to the place of a target.
func (a *appending) wasSent(target string, d oci.Digest) bool {
	r, err := ref.ParseAny(target)
	return err == nil && a.sent[d] && r.Scheme == a.first.Scheme && r.Host == a.first.Host && r.Repository == a.first.Repository
}
