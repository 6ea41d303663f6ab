// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"bytes"
	"encoding/json"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// maxIndex bounds what is read as index.json: some 200,000 entries.
const maxIndex = 64 << 20

// The keys of index.json whose spelling matters.
var indexKeys = []string{"schemaVersion", "mediaType", "manifests", "digest", "size", "annotations", "platform", "data"}

// An entry is one descriptor of index.json, kept byte for byte in raw.
type entry struct {
	raw json.RawMessage
	d   oci.Descriptor
	err error // what is wrong with it; nothing but its bytes may be used then
}

func (e *entry) name() string { return e.d.Annotations[v1.AnnotationRefName] }

// bare reports whether the entry says nothing but what it points at.
func (e *entry) bare() bool {
	list, err := members(e.raw)
	return err == nil && e.err == nil && len(list) == 3
}

// An index is index.json: its entries, and what is around them byte for byte.
// It is not changed once others can see it.
type index struct {
	before, after []byte
	entries       []entry
	dirty         bool
}

// parseIndex reads index.json. ErrCorrupt if it is not one; an entry that is
// wrong in itself only makes that entry useless.
func parseIndex(raw []byte) (*index, error) {
	if err := oci.CheckJSON(raw, indexKeys...); err != nil {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s: %w", indexFile, err)
	}
	var head struct {
		SchemaVersion *int               `json:"schemaVersion"`
		MediaType     string             `json:"mediaType"`
		Manifests     *[]json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s is not an index: %w", indexFile, err)
	}
	if head.MediaType != "" && !oci.IsIndex(head.MediaType) || head.SchemaVersion != nil && *head.SchemaVersion != 2 {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s is not an index: it calls itself %s", indexFile, oci.Quote(head.MediaType))
	}
	x := &index{}
	if head.Manifests != nil {
		x.entries = make([]entry, len(*head.Manifests))
		for i, m := range *head.Manifests {
			x.entries[i] = parseEntry(m)
		}
	}
	var err error
	x.before, x.after, err = cut(raw)
	return x, err
}

func parseEntry(raw json.RawMessage) entry {
	e := entry{raw: raw}
	if e.err = json.Unmarshal(raw, &e.d); e.err != nil {
		e.err = oci.Errorf(oci.ErrInvalid, "%s has an entry that is no descriptor: %w", indexFile, e.err)
	} else if e.err = oci.CheckDescriptor(e.d); e.err != nil {
		e.err = oci.Wrap("", indexFile, e.err)
	}
	return e
}

// cut splits the document around the value of manifests. Where there is none,
// one is put in front of the closing bracket.
func cut(raw []byte) (before, after []byte, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, nil, oci.Errorf(oci.ErrCorrupt, "%s is not a JSON object", indexFile)
	}
	comma := ""
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, nil, oci.Errorf(oci.ErrCorrupt, "%s: %w", indexFile, err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, nil, oci.Errorf(oci.ErrCorrupt, "%s: %w", indexFile, err)
		}
		if key == "manifests" {
			end := int(dec.InputOffset())
			return raw[:end-len(value)], raw[end:], nil
		}
		comma = ","
	}
	end := int(dec.InputOffset())
	before = slices.Concat(raw[:end], []byte(comma+`"manifests":`))
	return before, raw[end:], nil
}

// bytes writes the document again: untouched parts as they were.
func (x *index) bytes() []byte {
	var b bytes.Buffer
	b.Write(x.before)
	b.WriteByte('[')
	for i, e := range x.entries {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(e.raw)
	}
	b.WriteByte(']')
	b.Write(x.after)
	return b.Bytes()
}

// clone makes a copy that can be changed.
func (x *index) clone() *index {
	return &index{before: x.before, after: x.after, entries: slices.Clone(x.entries), dirty: x.dirty}
}

// add appends an entry for d with these annotations.
func (x *index) add(d oci.Descriptor, annotations map[string]string) error {
	d.Annotations = annotations
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	x.entries = append(x.entries, entry{raw: raw, d: d})
	x.dirty = true
	return nil
}

// rename gives entry i the name, or takes its name if name is empty.
func (x *index) rename(i int, name string) error {
	raw, err := setName(x.entries[i].raw, name)
	if err != nil {
		return err
	}
	x.entries[i] = parseEntry(raw)
	x.dirty = true
	return x.entries[i].err
}

// remove drops the entries for which drop returns true.
func (x *index) remove(drop func(*entry) bool) (removed int) {
	n := len(x.entries)
	x.entries = slices.DeleteFunc(x.entries, func(e entry) bool { return drop(&e) })
	if removed = n - len(x.entries); removed > 0 {
		x.dirty = true
	}
	return removed
}

// has reports whether an entry has the digest.
func (x *index) has(d oci.Digest) bool {
	return slices.ContainsFunc(x.entries, func(e entry) bool { return e.d.Digest == d })
}

// A member is one key and value of a JSON object.
type member struct {
	key   string
	value json.RawMessage
}

// setName changes the reference name in a descriptor and leaves the other
// members as they are.
func setName(raw json.RawMessage, name string) (json.RawMessage, error) {
	desc, err := members(raw)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(desc, func(m member) bool { return m.key == "annotations" })
	var notes []member
	if at >= 0 && !bytes.Equal(desc[at].value, []byte("null")) {
		if notes, err = members(desc[at].value); err != nil {
			return nil, err
		}
	}
	quoted := quote(name)
	i := slices.IndexFunc(notes, func(m member) bool { return m.key == v1.AnnotationRefName })
	switch {
	case name == "": // containerd's name goes with it: it means the same
		notes = slices.DeleteFunc(notes, func(m member) bool { return m.key == v1.AnnotationRefName || m.key == containerdName })
	case i >= 0:
		notes[i].value = quoted
	default:
		notes = append(notes, member{v1.AnnotationRefName, quoted})
	}
	switch {
	case len(notes) == 0 && at >= 0:
		desc = slices.Delete(desc, at, at+1)
	case at >= 0:
		desc[at].value = object(notes)
	case len(notes) > 0:
		desc = append(desc, member{"annotations", object(notes)})
	}
	return object(desc), nil
}

func members(raw json.RawMessage) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var out []member
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, oci.Errorf(oci.ErrInvalid, "%s: not a JSON object", indexFile)
		}
		var m json.RawMessage
		if err := dec.Decode(&m); err != nil {
			return nil, err
		}
		out = append(out, member{key, m})
	}
	return out, nil
}

func object(list []member) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(m.key))
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// quote writes a JSON string without the escapes that only HTML needs.
func quote(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
