// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"slices"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// Graft puts all layers of another image, with their history, in the place of
// the n lowest, as they are written there; media types become those of the
// image's family. old is the image whose layers those were: all of its history
// goes with them, if the image begins with that. If old is nil or begins
// otherwise, the lines up to the one of layer n go. Where an image has no line
// for each of its layers, they get one that says so. from has the new layers.
func (i *Image) Graft(n int, old, onto *image.Image, from oci.Source) error {
	if i.config == nil {
		return oci.Errorf(oci.ErrUnsupported, "an artifact, which has no image config")
	}
	if n < 0 || n > len(i.layers) {
		return oci.Errorf(oci.ErrInvalid, "image has %d layers, not %d", len(i.layers), n)
	}
	layers, descriptors, ids := make([]Layer, len(onto.DiffIDs)), make([]any, len(onto.DiffIDs)), make([]any, len(onto.DiffIDs))
	for k, d := range onto.Manifest.Layers {
		kind, err := i.family(d.MediaType)
		if err != nil {
			return err
		}
		raw, err := writtenLayer(onto.Manifest, k, kind)
		if err != nil {
			return err
		}
		descriptors[k] = asIn(i.manifest, raw)
		d.MediaType = kind
		layers[k], ids[k] = Layer{Descriptor: d, DiffID: onto.DiffIDs[k], From: from}, onto.DiffIDs[k]
	}
	if err := i.graftHistory(n, old, onto); err != nil {
		return err
	}
	return i.replaceLayers(0, n, layers, descriptors, ids)
}

// writtenLayer is a descriptor as a manifest has it, with another media type.
func writtenLayer(m *oci.Manifest, n int, kind string) (json.RawMessage, error) {
	var doc struct{ Layers []json.RawMessage }
	if err := json.Unmarshal(m.Raw, &doc); err != nil || n >= len(doc.Layers) {
		return nil, oci.Errorf(oci.ErrInvalid, "manifest %s: no layers", m.Descriptor.Digest)
	}
	if m.Layers[n].MediaType == kind {
		return doc.Layers[n], nil
	}
	d, err := jsonedit.Parse(doc.Layers[n])
	if err == nil {
		err = set(d, kind, "mediaType")
	}
	if err != nil {
		return nil, err
	}
	return d.Bytes(), nil
}

func (i *Image) graftHistory(n int, old, onto *image.Image) error {
	now, add := i.History(), i.writtenLines(onto)
	if filled(now) != len(i.layers) {
		if len(now) > 0 {
			i.note(misfit)
		}
		now = slices.Repeat([]History{unknownLayer}, len(i.layers))
		if err := i.Insert(now, "history"); err != nil {
			return err
		}
	}
	if len(now)+len(add) == 0 {
		return nil
	}
	if isNull(i.config.Get("history")) {
		if err := i.Insert([]History{}, "history"); err != nil {
			return err
		}
	}
	return i.config.Splice(0, baseLines(now, n, old), add, "history")
}

// writtenLines is an image's history as it is written, made up if it does not
// fit the layers.
func (i *Image) writtenLines(m *image.Image) []any {
	var doc struct{ History []json.RawMessage }
	_ = json.Unmarshal(m.Config, &doc) // was read before
	if filled(m.History) != len(m.DiffIDs) {
		return slices.Repeat([]any{unknownLayer}, len(m.DiffIDs))
	}
	out := make([]any, len(doc.History))
	for n, raw := range doc.History {
		out[n] = asIn(i.config, raw)
	}
	return out
}

// baseLines counts the lines of history that are those of the n lowest layers.
func baseLines(h []History, n int, old *image.Image) int {
	to := 0
	if n > 0 {
		to = at(h, n-1) + 1
	}
	if old == nil || filled(old.History) != n || len(old.History) > len(h) {
		return to
	}
	for k, x := range old.History { // times may have been clamped
		if y := h[k]; x.CreatedBy != y.CreatedBy || x.Comment != y.Comment || x.EmptyLayer != y.EmptyLayer {
			return to
		}
	}
	return len(old.History)
}
