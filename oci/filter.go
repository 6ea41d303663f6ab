// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
)

// FilterIndex takes entries out of an index. Every byte of what stays is kept,
// so that unknown members and their order survive; the result is a new index
// with a digest of its own. keep is asked by the position in m.Manifests.
func FilterIndex(m *Manifest, keep func(i int) bool) (*Manifest, error) {
	spans, start, end, err := manifestSpans(m.Raw)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Write(m.Raw[:start])
	for i, s := range spans {
		if !keep(i) {
			continue
		}
		if out.Len() > start {
			out.WriteByte(',')
		}
		out.Write(m.Raw[s[0]:s[1]])
	}
	out.Write(m.Raw[end:])
	return ParseManifest(m.Descriptor.MediaType, out.Bytes())
}

// manifestSpans finds where the entries of the member "manifests" are: from
// start, after the bracket that opens it, to end, the bracket that closes it.
func manifestSpans(raw []byte) (spans [][2]int, start, end int, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err = dec.Token(); err != nil {
		return nil, 0, 0, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, 0, 0, err
		}
		var value json.RawMessage
		if key != "manifests" {
			if err := dec.Decode(&value); err != nil {
				return nil, 0, 0, err
			}
			continue
		}
		if _, err := dec.Token(); err != nil { // [
			return nil, 0, 0, err
		}
		start = int(dec.InputOffset())
		for dec.More() {
			if err := dec.Decode(&value); err != nil {
				return nil, 0, 0, err
			}
			at := int(dec.InputOffset())
			spans = append(spans, [2]int{at - len(value), at})
		}
		if _, err := dec.Token(); err != nil { // ]
			return nil, 0, 0, err
		}
		return spans, start, int(dec.InputOffset()) - 1, nil
	}
	return nil, 0, 0, Errorf(ErrInvalid, "not an index: it has no manifests")
}
