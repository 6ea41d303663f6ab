// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"slices"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A Stack is an image that is being built: layers with a config, at first those
// of a base. What will run commands one day adds the layer that they leave
// behind with Add, like all others. It is not safe for concurrent use.
type Stack struct {
	*edit.Image
	Base *Base // that it began with

	// What the image is made of, beside the base, for Documents.
	Components []Component
	Materials  []Material

	e     *Engine
	was   oci.Platform // of the image that it began with
	taken func(top string) bool
	below []oci.Blob // layers of the base
	made  []oci.Blob // layers that were put on it
	files *image.Files
}

// NewStack begins with an image as it is now.
func (e *Engine) NewStack(i *edit.Image, b *Base) *Stack {
	return &Stack{Image: i, Base: b, e: e, was: i.Platform(), taken: taken(i), below: blobs(i)}
}

// blobs are the layers of an image as they are now.
func blobs(i *edit.Image) (all []oci.Blob) {
	for _, l := range i.Layers() {
		if l.Blob != nil {
			all = append(all, l.Blob)
		} else {
			all = append(all, oci.From(l.From, l.Descriptor))
		}
	}
	return all
}

// Clone is another stack with the same layers and config, which goes its own way.
func (s *Stack) Clone() (*Stack, error) {
	i, err := s.Image.Clone()
	if err != nil {
		return nil, err
	}
	c := *s
	c.Image, c.made, c.files = i, slices.Clone(s.made), nil
	c.Components, c.Materials = slices.Clone(s.Components), slices.Clone(s.Materials)
	return &c, nil
}

// AddOptions say how a layer is put on a stack.
type AddOptions struct {
	// Link leaves paths as they are: nothing of what lies below is read.
	Link bool
	// From has a layer that is in a repository already; nil: it was made here.
	From oci.Source
	By   string // what the line of history begins with that says what the layer was made of; "": dray build
	// History is the line of the layer. Without CreatedBy it says what the layer was
	// made of, without Created the time of the engine or that of the base.
	History edit.History
}

// Add makes a layer of an input and puts it on top.
func (s *Stack) Add(ctx context.Context, in *input.Input, o AddOptions) (*input.Layer, error) {
	onto := input.Onto{Windows: s.Platform().OS == "windows"}
	g := s.ground()
	if !o.Link {
		onto.Ground = g
	}
	l, err := s.e.o.Maker.Layer(ctx, in, onto, s.e.o.To)
	if err != nil {
		return nil, err
	}
	s.e.noteRead(g.whole.Read(), s.below)
	s.e.noteMade(l, s.IsDocker())
	h := o.History
	if h.CreatedBy == "" {
		h.CreatedBy = cmp.Or(o.By, "dray build ") + l.CreatedBy
	}
	if h.Created == nil {
		if h.Created, err = s.created(); err != nil {
			return nil, err
		}
	}
	add := edit.Layer{Descriptor: l.Descriptor(), DiffID: l.DiffID, Blob: l}
	if o.From != nil {
		add.Blob, add.From = nil, o.From
	}
	s.made, s.files = append(s.made, l), nil
	return l, s.Apply(edit.Append(add, h))
}

// AddEmpty adds lines to the history that are of no layer.
func (s *Stack) AddEmpty(createdBy ...string) error {
	created, err := s.created()
	if err != nil {
		return err
	}
	var lines []edit.History
	for _, by := range createdBy {
		lines = append(lines, edit.History{Created: created, CreatedBy: by, EmptyLayer: true})
	}
	n := len(s.Layers())
	return s.Splice(n, n, nil, lines)
}

// Dir tells where a directory really is, as layer.Base does.
func (s *Stack) Dir(ctx context.Context, dir string) (layer.Place, error) {
	g := s.ground()
	p, err := g.Dir(ctx, dir)
	s.e.noteRead(g.whole.Read(), s.below)
	return p, err
}

// Tree is all files of the stack, without extended attributes; layers that were
// not read before are read for it, foreign ones too. It must not be changed.
func (s *Stack) Tree(ctx context.Context) (*layer.Tree, error) {
	b := s.whole(true)
	t, err := b.Tree(ctx)
	s.e.noteRead(b.Read(), s.below)
	return t, err
}

// Outlines are those of the layers that were put on the base, the lowest first,
// with the digests of their files.
func (s *Stack) Outlines(ctx context.Context) ([]*layer.Outline, error) {
	return layer.NewBase(s.made, layer.BaseOptions{Deep: true, Outlines: s.e.o.Outlines, Limits: s.e.o.Limits}).Outlines(ctx)
}

// Blobs are all layers, the lowest first, as the nodes of Tree number them.
func (s *Stack) Blobs() []oci.Blob { return slices.Concat(s.below, s.made) }

// Files opens the stack's files. No more layers are read than a file needs.
func (s *Stack) Files() *image.Files {
	if s.files == nil {
		s.files = image.FilesOf(s.Blobs(), s.e.o.Limits)
	}
	return s.files
}

// whole is the ground that all layers are.
func (s *Stack) whole(deep bool) *layer.Base {
	return layer.NewBase(s.Blobs(), layer.BaseOptions{Deep: deep || s.e.o.Deep, Taken: s.taken, Outlines: s.e.o.Outlines, Limits: s.e.o.Limits})
}

// A ground is that of a base and of layers that were made for it before. Below
// names that the base cannot have at its top it is not read; but the layers made
// here may have brought links there.
type ground struct {
	whole, made *layer.Base
}

func (s *Stack) ground() ground {
	g := ground{whole: s.whole(false)}
	if len(s.made) > 0 {
		g.made = layer.NewBase(s.made, layer.BaseOptions{Deep: true, Outlines: s.e.o.Outlines, Limits: s.e.o.Limits})
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
