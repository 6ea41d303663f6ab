// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"slices"

	"github.com/dray-tools/dray/oci"
)

// misfit is the note about an image with another number of lines than layers.
const misfit = "the history did not fit the layers: lines for those are made up"

// told is what the history of an image was, before lines for its layers were
// made up. Zero: it had none.
type told struct {
	raw     json.RawMessage // nil if there was no such member
	lines   []History
	diffIDs []oci.Digest // of the layers
}

// tell is the history as it is now.
func (i *Image) tell() told {
	return told{i.Get("history"), i.History(), i.diffIDs()}
}

func (i *Image) diffIDs() []oci.Digest {
	ids := make([]oci.Digest, len(i.layers))
	for n, l := range i.layers {
		ids[n] = l.DiffID
	}
	return ids
}

// tidyHistory puts back what the history was, when nothing is left in it but
// lines that were made up: lines that did not fit the layers only if these are
// the same again. Lines that were made up by an earlier edit are taken out, too,
// unless there were no others at the start.
func (i *Image) tidyHistory() error {
	known := func(h History) bool { return h != unknownLayer }
	if slices.ContainsFunc(i.History(), known) {
		return nil
	}
	was := i.told
	fit := filled(was.lines) == len(was.diffIDs)
	switch {
	case fit && len(was.lines) > 0 && !slices.ContainsFunc(was.lines, known):
		return nil
	case len(was.lines) > 0 && (fit || !slices.Equal(was.diffIDs, i.diffIDs())), was.raw == nil:
		i.config.Remove("history")
		return nil
	}
	i.notes = slices.DeleteFunc(i.notes, func(s string) bool { return s == misfit })
	return i.config.Set(was.raw, "history")
}
