// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// Scratch is the name of the base that has nothing in it.
const Scratch = "scratch"

// A LayerInput is what one layer is made of: a File, a Dir, or a Blob.
type LayerInput struct {
	// File is a tar, packed or not; "-" is Env.In.
	File string
	// Dir is a directory or a file, which At says where to put in the image, and
	// Rules says what its entries look like.
	Dir, At string
	Rules   layer.CreateOptions
	// Blob is a layer of another image, REPOSITORY@DIGEST, which is taken as it is.
	Blob string
}

// What becomes of the layers of a base.
const (
	ReferenceBase = "reference" // foreign ones stay where their URLs say
	CopyBase      = "copy"      // foreign ones are copied too
	ForeignBase   = "foreign"   // those of another registry become foreign ones, with a URL there
)

// AppendOptions say what Append puts on what.
type AppendOptions struct {
	// EditOptions has Platforms that choose the images of the bases that get the
	// layers: the result has no others. With the base scratch they are the
	// platforms to make.
	EditOptions
	// Bases are images and indexes, or Scratch alone. The result of several is an
	// index of all their images.
	Bases  []string
	Layers []LayerInput // the lowest first

	Packing *layer.Packing // of all layers; nil: what is not compressed yet gets gzip
	Blind   bool           // paths stay as they are, and no layer of a base is read for its links
	Deep    bool           // layers of bases are read also where no link is to be expected
	Exact   bool           // the tars are layers, with whiteouts, and stay as they are
	// BaseLayers is one of the words above; "": ReferenceBase.
	BaseLayers string

	// Time is the latest time that a new layer may have in it; zero: times stay.
	Time time.Time
	// Changes are made of each image of the bases, before it gets the layers, and
	// Index of the index that the result is: ErrInvalid if it is none.
	Changes []edit.Edit
	Index   []edit.IndexEdit
	// Created is when the image is said to have been made, unless Changes have set
	// that; zero: as the base, so that the same inputs always make the same image.
	// It is also that of the new lines of history.
	Created time.Time
	Comment string // of the new lines of history
	// NoBaseAnnotations leaves out the annotations of OCI images that say which
	// base they have.
	NoBaseAnnotations bool

	// NoUpload keeps layers from being sent while they are packed: for dry runs.
	NoUpload bool
	// Packs, if given, is called when a layer begins to be read, with 0, and with
	// the number of bytes each time some have been read. Several goroutines call it.
	Packs func(layer, n int)
}

// Append works out images with more layers. Each layer is made once for all
// bases that it looks the same on; large ones are sent to the first target while
// they are packed.
func (c *Client) Append(ctx context.Context, o AppendOptions) (*Edited, error) {
	a := &appending{c: c, o: o, at: opening{map[string]oci.Store{}, map[string]oci.Source{}}}
	if err := a.check(); err != nil {
		return nil, err
	}
	inputs, err := a.inputs(ctx)
	if err != nil {
		return nil, err
	}
	bases, err := a.bases(ctx)
	if err != nil {
		return nil, err
	}
	node, err := a.join(bases)
	if err == nil {
		err = toFamily(node, o.MediaTypes)
	}
	if err != nil {
		return nil, err
	}
	if err := a.appendAll(ctx, inputs, bases); err != nil {
		return nil, err
	}
	for _, e := range o.Index {
		x, ok := node.(*edit.Index)
		if !ok {
			return nil, oci.Errorf(oci.ErrInvalid, "the result is a single image, not an index")
		}
		if err := e(x); err != nil {
			return nil, err
		}
	}
	o.Foreign = o.Foreign || o.BaseLayers == CopyBase
	o.sent = a.wasSent
	e, err := c.edited(ctx, node, strings.Join(o.Bases, ", "), o.EditOptions)
	if err == nil {
		e.Notes = slices.Concat(a.notes, a.engine.Notes(), e.Notes)
	}
	return e, err
}

// An appending is one run of Append.
type appending struct {
	c       *Client
	o       AppendOptions
	at      opening
	targets []ref.Ref

	maker  *input.Maker
	engine *build.Engine
	first  ref.Ref // the target that layers are sent to while they are packed
	notes  []string
}

// check refuses what can be known to be wrong before anything is asked or made.
func (a *appending) check() error {
	o := &a.o
	switch {
	case len(o.Layers) == 0:
		return oci.Errorf(oci.ErrInvalid, "nothing to append")
	case len(o.Bases) == 0:
		return oci.Errorf(oci.ErrInvalid, "a base is missing: an image, or %s", Scratch)
	case slices.Contains(o.Bases, Scratch) && len(o.Bases) > 1:
		return oci.Errorf(oci.ErrInvalid, "%s goes with no other base", Scratch)
	case slices.Contains(o.Bases, Scratch) && len(o.Platforms) == 0:
		return oci.Errorf(oci.ErrInvalid, "the base %s has no platform: say which are to be made", Scratch)
	case !slices.Contains([]string{"", ReferenceBase, CopyBase, ForeignBase}, o.BaseLayers):
		return oci.Errorf(oci.ErrInvalid, "base layers %s: want %s, %s or %s", oci.Quote(o.BaseLayers), ReferenceBase, CopyBase, ForeignBase)
	case len(o.Targets) == 0:
		return oci.Errorf(oci.ErrInvalid, "the result needs a name")
	}
	for _, name := range o.Targets {
		r, err := ref.ParseAny(name)
		if err != nil {
			return err
		}
		a.targets = append(a.targets, r)
	}
	stdin := 0
	for _, l := range o.Layers {
		if l.File == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return oci.Errorf(oci.ErrInvalid, "two layers from stdin, which can only be read once")
	}
	if stdin == 1 && a.c.env.In == nil {
		return oci.Errorf(oci.ErrInvalid, "there is no stdin to read")
	}
	return nil
}

func (a *appending) note(text string) { a.notes = append(a.notes, text) }
