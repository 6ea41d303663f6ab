// SPDX-License-Identifier: Apache-2.0

// Package jsonedit changes JSON and leaves every byte alone that is not changed.
package jsonedit

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// A Document is JSON to be edited: every byte outside of what is set or
// removed stays as it is, with unknown members, their order and white space.
// Places are named by keys and array indexes: Get("layers", 0, "digest").
// Edits take time for the objects and arrays on the way, not for the whole
// document, which is written once, by Bytes. What does not edit may be called by
// several goroutines at once.
type Document struct{ root *node }

// A node is a value. What is in it is looked up when it is asked for.
type node struct {
	raw     []byte // as it was read, or as it was set; no space around it
	opened  sync.Once
	items   []item // of an object or array, once it is opened
	changed bool   // something in it is
	tail    []byte // what follows the last item up to the closing bracket
	empty   []byte // what is between the brackets when there are no items
}

// An item is a member of an object or an element of an array.
type item struct {
	before []byte // space and comma before it, with the key and its colon after that
	gap    int    // how much of before is space and comma
	key    string // of members
	value  *node
}

// Parse reads JSON strictly: ErrInvalid if it is broken or two readers
// could understand it differently.
func Parse(raw []byte) (*Document, error) {
	if err := oci.CheckJSON(raw); err != nil {
		return nil, err
	}
	return &Document{&node{raw: raw}}, nil
}

// Bytes writes the document.
func (d *Document) Bytes() []byte {
	var out bytes.Buffer
	d.root.write(&out)
	return out.Bytes()
}

// Get returns the value at a place as it would be written, or nil.
func (d *Document) Get(path ...any) json.RawMessage {
	n := d.root
	for _, step := range path {
		i := n.find(step)
		if i < 0 {
			return nil
		}
		n = n.items[i].value
	}
	return slices.Clone(n.text())
}

// Set puts a value at a place: in the place of what is there, or as a new
// member after the others of an object, or as a new element if the index is the
// length of an array. json.RawMessage is written as it is. ErrInvalid if the
// object or array around the place is not there, or the value is no JSON.
func (d *Document) Set(value any, path ...any) error {
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

// SetBefore is Set, but a member that is not there yet comes before another one
// of its object, if that is there.
func (d *Document) SetBefore(before string, value any, path ...any) error {
	was := d.Get(path...)
	if err := d.Set(value, path...); err != nil || was != nil || len(path) == 0 {
		return err
	}
	way, i := d.way(path)
	n := way[len(way)-1]
	if to := n.find(before); to >= 0 && to < i {
		n.move(to)
	}
	return nil
}

// Remove takes out what is at a place, with its key; false if nothing is.
func (d *Document) Remove(path ...any) bool {
	if len(path) == 0 {
		return false
	}
	way, i := d.way(path)
	if way == nil || i < 0 {
		return false
	}
	way[len(way)-1].put(i, i+1)
	for _, n := range way {
		n.changed = true
	}
	return true
}

// Splice puts values in the place of the elements from up to to of an array, in
// the style of the others, whose bytes stay. json.RawMessage is written as it
// is. ErrInvalid if there is no such array or part of it, or a value is no JSON.
func (d *Document) Splice(from, to int, values []any, path ...any) error {
	items := make([]item, len(values))
	for i, v := range values {
		raw, err := encode(v)
		if err != nil {
			return oci.Errorf(oci.ErrInvalid, "%w", err)
		}
		items[i].value = &node{raw: raw}
	}
	way, _ := d.way(append(path[:len(path):len(path)], 0))
	if way == nil || !way[len(way)-1].is('[') || from < 0 || to < from || to > len(way[len(way)-1].items) {
		return oci.Errorf(oci.ErrInvalid, "JSON has no array %v with elements %d to %d", path, from, to)
	}
	way[len(way)-1].put(from, to, items...)
	for _, n := range way {
		n.changed = true
	}
	return nil
}

// Len is the number of elements of an array or members of an object, -1 of
// anything else.
func (d *Document) Len(path ...any) int {
	way, _ := d.way(append(path[:len(path):len(path)], 0))
	if way == nil {
		return -1
	}
	n := way[len(way)-1]
	if !n.is('[') && !n.is('{') {
		return -1
	}
	return len(n.items)
}

// Elements are those of an array, as they would be written; none of anything
// else. They are not to be changed.
func (d *Document) Elements(path ...any) iter.Seq2[int, json.RawMessage] {
	return func(yield func(int, json.RawMessage) bool) {
		if d.Len(path...) < 1 {
			return
		}
		way, _ := d.way(append(path[:len(path):len(path)], 0))
		n := way[len(way)-1]
		if n.is('{') {
			return
		}
		for k, i := range n.items {
			raw := i.value.raw
			if i.value.changed {
				raw = i.value.text()
			}
			if !yield(k, raw) {
				return
			}
		}
	}
}

// Lines reports whether the document was written on several lines.
func (d *Document) Lines() bool { return bytes.IndexByte(d.root.raw, '\n') >= 0 }

// Keys are the members of an object, in their order; nil of anything else.
func (d *Document) Keys(path ...any) (keys []string) {
	if d.Len(path...) < 1 {
		return nil
	}
	way, _ := d.way(append(path[:len(path):len(path)], 0))
	n := way[len(way)-1]
	for _, i := range n.items {
		if n.is('{') {
			keys = append(keys, i.key)
		}
	}
	return keys
}

// way returns the nodes around a place, the root first, and the index of the
// place in the last one, -1 if it is not there. nil if there is no way.
func (d *Document) way(path []any) ([]*node, int) {
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
