// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"slices"
)

// FilterIndex takes entries out of an index. Every other byte is kept, so that
// unknown members, their order and the layout survive; the result is a new
// index with a digest of its own. keep is asked by the position in m.Manifests.
func FilterIndex(m *Manifest, keep func(i int) bool) (*Manifest, error) {
	if !m.IsIndex() {
		return nil, Errorf(ErrInvalid, "not an index: it is %s", Quote(m.Descriptor.MediaType))
	}
	entries, start, end, err := manifestEntries(m.Raw)
	if err != nil {
		return nil, err
	}
	var kept [][]byte
	for i, e := range entries {
		if keep(i) {
			kept = append(kept, e)
		}
	}
	raw := slices.Concat(m.Raw[:start], bytes.Join(kept, []byte(",")), m.Raw[end:])
	return ParseManifest(m.Descriptor.MediaType, raw)
}

// manifestEntries cuts the array "manifests" at its commas. The first entry
// begins at start, after the bracket that opens the array, the last one ends
// at end. Space belongs to the entry before the next comma; what follows the
// last entry belongs to none.
func manifestEntries(raw []byte) (entries [][]byte, start, end int, err error) {
	defer func() {
		if err != nil {
			err = Errorf(ErrInvalid, "not an index: %w", err)
		}
	}()
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err = dec.Token(); err != nil { // {
		return nil, 0, 0, err
	}
	var value json.RawMessage
	for {
		key, err := dec.Token()
		if err != nil {
			return nil, 0, 0, err
		}
		if key == "manifests" {
			break
		}
		if err := dec.Decode(&value); err != nil {
			return nil, 0, 0, err
		}
	}
	if _, err = dec.Token(); err != nil { // [
		return nil, 0, 0, err
	}
	start = int(dec.InputOffset())
	end = start
	for from := start; dec.More(); from = end + 1 {
		if err := dec.Decode(&value); err != nil {
			return nil, 0, 0, err
		}
		end = int(dec.InputOffset())
		if dec.More() {
			end += bytes.IndexByte(raw[end:], ',')
		}
		entries = append(entries, raw[from:end])
	}
	return entries, start, end, nil
}
