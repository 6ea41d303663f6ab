// SPDX-License-Identifier: Apache-2.0

// Package rebase moves images from one base to another: the layers, and what
// the config has of the base.
//
// What comes out is what building the application again on the new base would
// give, as far as that can be told from manifests and configs. What the
// application has set is its own, what it has left as the old base had it
// becomes what the new base has.
package rebase

import (
	"encoding/json"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

// Options say what Image cannot see in the images.
type Options struct {
	// Layers is how many of the lowest layers are the old base's, if there is no
	// image of it.
	Layers int
	// From has the layers of the new base.
	From oci.Source
	// Old and New are the names of the bases, which tell kinds of Windows apart.
	Old, New string
	// Reference is the name of the new base with its digest, for the label in which
	// buildpacks record it.
	Reference string
	// Force does what only seems wrong; see [ErrRefused].
	Force bool
}

// A Report says what came from where.
type Report struct {
	Old      int      `json:"oldLayers"`           // of the old base
	New      int      `json:"newLayers"`           // of the new one
	Own      int      `json:"ownLayers"`           // the application's
	Repacked int      `json:"repacked,omitempty"`  // of the old base that were the same only when unpacked
	Already  bool     `json:"unchanged,omitempty"` // nothing was done, as the image is on the new base
	Changes  []Change `json:"changes"`
	Warnings []string `json:"warnings,omitempty"`
}

// A Change is what happened to a field of the config. The values are shortened;
// "" is none. Those of variables are [Hidden], as they may be secrets, and
// reports get into logs; PATH is shown.
type Change struct {
	Field    string `json:"field"` // as in "env PATH"
	Old      string `json:"old,omitempty"`
	App      string `json:"app,omitempty"`
	New      string `json:"new,omitempty"`
	Took     Took   `json:"took"`
	Conflict bool   `json:"conflict,omitempty"` // the application and the new base had both changed it
}

// Hidden is in the place of a value that is not shown.
const Hidden = "***"

// Took tells whose value a field has now.
type Took string

// The values of Took.
const (
	Base Took = "base" // the new base's, or none if it has none
	App  Took = "app"  // the application's
	Both Took = "both" // one that was made of both
)

// Image moves an image from its old base to a new one. The old base's layers
// must be its lowest ones, all of them, as [Match] tells; they go, and the new
// base's come in their place as they are written there, with their history.
// Without old, the config of the old base counts as empty: all that the image
// has is its own.
//
// ErrInvalid if old is not the base, or if the platforms are different;
// [ErrRefused] besides where Force would do it. After an error the image is of
// no use.
func Image(app *edit.Image, old, onto *image.Image, o Options) (*Report, error) {
	r := &Report{Old: o.Layers, New: len(onto.DiffIDs), Changes: []Change{}}
	if old != nil {
		p, err := Match(app.Layers(), old)
		if err != nil && on(app, 0, nil, onto) {
			return already(app, onto), nil
		} else if err != nil {
			return nil, err
		}
		r.Old, r.Repacked = p.Layers, p.Repacked
	} else if r.Old < 0 || r.Old > len(app.Layers()) {
		return nil, oci.Errorf(oci.ErrInvalid, "image has %d layers, not %d", len(app.Layers()), r.Old)
	}
	r.Own = len(app.Layers()) - r.Old
	if on(app, r.Old, old, onto) {
		return already(app, onto), nil
	}
	if err := refuse(app, old, onto, o); err != nil {
		return nil, err
	}
	m := &merger{app: app, report: r, known: old != nil}
	m.windows = app.Platform().OS == "windows"
	if err := m.config(old, onto); err != nil {
		return nil, err
	}
	if err := app.Graft(r.Old, old, onto, o.From); err != nil {
		return nil, err
	}
	return r, record(app, onto, o.Reference)
}

// on reports whether an image is on a base already: the two bases are one, or
// the new one is in the image and goes further than the old one, by a layer
// that the old one has nowhere. Without such a layer the application could have
// put one there itself that is the same, so that the old base counts.
func on(app *edit.Image, layers int, old, onto *image.Image) bool {
	if old != nil && old.Manifest.Descriptor.Digest == onto.Manifest.Descriptor.Digest {
		return true
	}
	if _, err := Match(app.Layers(), onto); err != nil || len(onto.DiffIDs) <= layers {
		return false
	}
	return slices.ContainsFunc(onto.DiffIDs[layers:], func(id oci.Digest) bool {
		return !slices.ContainsFunc(app.Layers()[:layers], func(l edit.Layer) bool { return l.DiffID == id })
	})
}

func already(app *edit.Image, onto *image.Image) *Report {
	n := len(onto.DiffIDs)
	return &Report{Old: n, New: n, Own: len(app.Layers()) - n, Already: true, Changes: []Change{}}
}

// A Prefix says how the layers of a base are in an image.
type Prefix struct {
	Layers   int // of the base
	Repacked int // of those, how many have another digest in the image
}

// Match checks that the lowest layers of an image are those of a base, all of
// them: by their diff IDs, which packing them in another way leaves alone.
// ErrInvalid otherwise, also if a layer with one digest has two diff IDs.
func Match(app []edit.Layer, base *image.Image) (Prefix, error) {
	p := Prefix{Layers: len(base.DiffIDs)}
	for n, id := range base.DiffIDs {
		d := base.Manifest.Layers[n].Digest
		switch {
		case n >= len(app):
			return p, oci.Errorf(oci.ErrInvalid, "image has %d layers, and the base %d", len(app), p.Layers)
		case app[n].DiffID == id && app[n].Descriptor.Digest != d:
			p.Repacked++
		case app[n].DiffID == id:
		case app[n].Descriptor.Digest == d:
			return p, oci.Errorf(oci.ErrInvalid, "layer %s unpacks to %s, says the image, and to %s, says the base", d, app[n].DiffID, id)
		default:
			return p, oci.Errorf(oci.ErrInvalid, "layer %d of the image is not layer %d of the base", n+1, n+1)
		}
	}
	return p, nil
}

// Scratch is the base of images without one: no layers, and a platform.
func Scratch(p oci.Platform) (*image.Image, error) {
	raw, err := json.Marshal(v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}})
	return &image.Image{Manifest: &oci.Manifest{}, Config: raw, Platform: p}, err
}
