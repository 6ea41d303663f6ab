// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/json"

	"github.com/dray-tools/dray/oci"
)

// A document is JSON to be edited: every byte outside of what is set or
// removed stays as it is, with unknown members, their order and white space.
// Places are named by keys and array indexes: get("layers", 0, "digest").
// Edits take time for the objects and arrays on the way, not for the whole
// document, which is written once, by bytes.
type document struct{ root *node }

// A node is a value. What is in it is looked up when it is asked for.
type node struct {
	raw     []byte // as it was read, or as it was set; no space around it
	opened  bool
	items   []item // of an object or array
	changed bool   // something in it is
	tail    []byte // what follows the last item up to the closing bracket
}

// An item is a member of an object or an element of an array.
type item struct {
	before []byte // space and comma before it, with the key and its colon after that
	gap    int    // how much of before is space and comma
	key    string // of members
	value  *node
	added  bool
}

// parseDocument reads JSON strictly: ErrInvalid if it is broken or two readers
// could understand it differently.
func parseDocument(raw []byte) (*document, error) {
	if err := oci.CheckJSON(raw); err != nil {
		return nil, err
	}
	return &document{&node{raw: raw}}, nil
}

// bytes writes the document.
func (d *document) bytes() []byte {
	var out bytes.Buffer
	d.root.write(&out)
	return out.Bytes()
}

// get returns the value at a place as it would be written, or nil.
func (d *document) get(path ...any) json.RawMessage {
	n := d.root
	for _, step := range path {
		i := n.find(step)
		if i < 0 {
			return nil
		}
		n = n.items[i].value
	}
	var out bytes.Buffer
	n.write(&out)
	return bytes.TrimSpace(out.Bytes())
}

// set puts a value at a place: in the place of what is there, or as a new
// member after the others of an object, or as a new element if the index is the
// length of an array. json.RawMessage is written as it is. ErrInvalid if the
// object or array around the place is not there, or the value is no JSON.
func (d *document) set(value any, path ...any) error {
	raw, err := encode(value)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "%w", err)
	}
	if len(path) == 0 {
		d.root = &node{raw: raw}
		return nil
	}
	way, i := d.way(path)
	if way == nil {
		return oci.Errorf(oci.ErrInvalid, "JSON has no place %v", path)
	}
	n := way[len(way)-1]
	if i >= 0 {
		n.items[i].value = &node{raw: raw}
	} else if !n.add(path[len(path)-1], raw) {
		return oci.Errorf(oci.ErrInvalid, "JSON has no place %v", path)
	}
	for _, n := range way {
		n.changed = true
	}
	return nil
}

// remove takes out what is at a place, with its key; false if nothing is.
func (d *document) remove(path ...any) bool {
	if len(path) == 0 {
		return false
	}
	way, i := d.way(path)
	if way == nil || i < 0 {
		return false
	}
	way[len(way)-1].remove(i)
	for _, n := range way {
		n.changed = true
	}
	return true
}

// way returns the nodes around a place, the root first, and the index of the
// place in the last one, -1 if it is not there. nil if there is no way.
func (d *document) way(path []any) ([]*node, int) {
	way := []*node{d.root}
	for n := d.root; ; {
		i := n.find(path[len(way)-1])
		if len(way) == len(path) {
			return way, i
		}
		if i < 0 {
			return nil, -1
		}
		n = n.items[i].value
		way = append(way, n)
	}
}

// encode is json.Marshal that leaves <, > and & alone.
func encode(value any) ([]byte, error) {
	if raw, ok := value.(json.RawMessage); ok {
		if !json.Valid(raw) {
			return nil, oci.Errorf(oci.ErrInvalid, "value is no JSON")
		}
		return bytes.TrimSpace(raw), nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(value)
	return bytes.TrimSpace(out.Bytes()), err
}
