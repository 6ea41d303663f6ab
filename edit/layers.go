// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// History is one line of how an image came to be (image-spec, config.md).
type History = v1.History

// unknownLayer is the history of layers of which nobody knows it. It is put
// where lines are missing, so that there is one for each layer.
var unknownLayer = History{CreatedBy: "unknown", Comment: "the image had no history"}

// Append puts a layer on top, with a line of history.
func Append(l Layer, h History) Edit {
	return func(i *Image) error { return i.Splice(len(i.layers), len(i.layers), []Layer{l}, []History{h}) }
}

// RemoveLayer takes out a layer, with its line of history; n counts from 0, the
// lowest.
func RemoveLayer(n int) Edit {
	return func(i *Image) error {
		if n < 0 || n >= len(i.layers) {
			return oci.Errorf(oci.ErrInvalid, "image has %d layers, there is no number %d", len(i.layers), n+1)
		}
		return i.Splice(n, n+1, nil, nil)
	}
}

// Splice puts layers in the place of those from up to to, with their history:
// lines for these layers in their order, between which there may be lines for
// empty ones. Of what goes, the lines of empty layers go that are before the
// last one of them; from the lowest layer on, also those before the first. If
// there is no line for each layer now, the layers that stay get one that says so.
func (i *Image) Splice(from, to int, layers []Layer, history []History) error {
	if i.config == nil {
		return oci.Errorf(oci.ErrUnsupported, "an artifact, which has no image config")
	}
	if from < 0 || to < from || to > len(i.layers) {
		return oci.Errorf(oci.ErrInvalid, "image has %d layers, there are no layers %d to %d", len(i.layers), from, to)
	}
	if n := filled(history); n != len(layers) {
		return oci.Errorf(oci.ErrInvalid, "%d lines of history for %d layers", n, len(layers))
	}
	if err := i.spliceHistory(from, to, history); err != nil {
		return err
	}
	descriptors, ids := make([]any, len(layers)), make([]any, len(layers))
	layers = slices.Clone(layers)
	for n := range layers {
		l := &layers[n]
		if _, err := oci.ParseDigest(string(l.DiffID)); err != nil {
			return oci.Errorf(oci.ErrInvalid, "diff ID of a layer: %w", err)
		}
		kind, err := i.family(l.Descriptor.MediaType)
		if err != nil {
			return err
		}
		l.Descriptor.MediaType = kind
		descriptors[n], ids[n] = l.Descriptor, l.DiffID
	}
	return i.replaceLayers(from, to, layers, descriptors, ids)
}

// replaceLayers puts layers, and what is written of them in manifest and config,
// in the place of those from up to to.
func (i *Image) replaceLayers(from, to int, layers []Layer, descriptors, ids []any) error {
	for _, key := range []string{"type", "diff_ids"} {
		var empty any = "layers"
		if key == "diff_ids" {
			empty = []string{}
		}
		if isNull(i.config.Get("rootfs", key)) {
			if err := set(i.config, empty, "rootfs", key); err != nil {
				return err
			}
		}
	}
	if err := i.config.Splice(from, to, ids, "rootfs", "diff_ids"); err != nil {
		return err
	}
	if isNull(i.manifest.Get("layers")) {
		if err := i.manifest.Set([]string{}, "layers"); err != nil {
			return err
		}
	}
	if err := i.manifest.Splice(from, to, descriptors, "layers"); err != nil {
		return err
	}
	i.layers = slices.Concat(i.layers[:from], layers, i.layers[to:])
	return i.tidyHistory()
}

// family is a layer's media type among those that the manifest has.
func (i *Image) family(mediaType string) (string, error) {
	if !i.IsDocker() {
		return oci.ToOCI(mediaType), nil
	}
	to, ok := oci.ToDocker(mediaType)
	if !ok {
		return to, oci.Errorf(oci.ErrUnsupported, "%s is no media type of Docker's, which the image has", oci.Quote(mediaType))
	}
	return to, nil
}

// filled counts the lines that are not of empty layers.
func filled(h []History) (n int) {
	for _, x := range h {
		if !x.EmptyLayer {
			n++
		}
	}
	return n
}

// History is the history as it is now.
func (i *Image) History() []History {
	var h []History
	_ = json.Unmarshal(i.Get("history"), &h)
	return h
}

// Whole reports whether the history has one line for each layer.
func (i *Image) Whole() bool { return filled(i.History()) == len(i.layers) }

func (i *Image) spliceHistory(from, to int, add []History) error {
	old := i.History()
	if filled(old) != len(i.layers) {
		if len(old) > 0 {
			i.note(misfit)
		}
		if err := i.config.Set(slices.Repeat([]History{unknownLayer}, len(i.layers)), "history"); err != nil {
			return err
		}
		old = i.History()
	}
	if len(old)+len(add) == 0 {
		return nil
	}
	if isNull(i.config.Get("history")) {
		if err := i.config.Set([]string{}, "history"); err != nil {
			return err
		}
	}
	a, b := lines(old, from, to)
	values := make([]any, len(add))
	for n, h := range add {
		values[n] = h
	}
	return i.config.Splice(a, b, values, "history")
}

// lines finds the lines of history for layers from up to to. With the lowest
// layer go the empty lines before it, and with others those between them; what
// is on top of the last layer stays.
func lines(h []History, from, to int) (a, b int) {
	if from == to {
		if from == filled(h) {
			return len(h), len(h)
		}
		a = at(h, from)
		return a, a
	}
	if a = at(h, from); from == 0 {
		a = 0
	}
	return a, at(h, to-1) + 1
}

// at is the index of the line for layer n.
func at(h []History, n int) int {
	for k, x := range h {
		if x.EmptyLayer {
			continue
		}
		if n == 0 {
			return k
		}
		n--
	}
	return len(h)
}
