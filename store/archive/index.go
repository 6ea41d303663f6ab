// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"encoding/json"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// containerdName is the annotation for a full reference, where the reference
// name is a bare tag.
const containerdName = "io.containerd.image.name"

// The keys of index.json whose spelling matters.
var indexKeys = []string{"schemaVersion", "mediaType", "manifests", "digest", "size", "annotations", "platform", "data"}

// An entry is one name of one image, or an image without a name. It does not
// change once it is settled.
type entry struct {
	d     oci.Descriptor
	raw   json.RawMessage // as it is in index.json; nil if it is not from there
	name  string          // what it is called; empty if it has no name
	short string          // another name, that need not be its alone
	at    int             // the number of the image in the archive
	err   error           // why nothing but raw can be used
	image *dockerImage    // tells d; nil if d is known
}

// A document is index.json: its members in order, without the manifests.
type document struct {
	keys   []string
	values map[string]json.RawMessage
}

// decode reads a JSON document strictly; keys are those whose spelling matters.
func decode(name string, raw []byte, v any, keys ...string) error {
	err := oci.CheckJSON(raw, keys...)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "%s: %w", name, err)
	}
	return nil
}

// parseIndex reads index.json. An entry that is wrong in itself only makes that
// entry useless.
func parseIndex(raw []byte) (*document, []*entry, error) {
	var head struct {
		SchemaVersion *int              `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}
	if err := decode(indexName, raw, &head, indexKeys...); err != nil {
		return nil, nil, err
	}
	if head.MediaType != "" && !oci.IsIndex(head.MediaType) || head.SchemaVersion != nil && *head.SchemaVersion != 2 {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "%s is not an index: it calls itself %s", indexName, oci.Quote(head.MediaType))
	}
	doc := &document{values: map[string]json.RawMessage{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "%s is not a JSON object", indexName)
	}
	for dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			return nil, nil, oci.Errorf(oci.ErrInvalid, "%s: %w", indexName, err)
		}
		k, _ := key.(string)
		doc.keys = append(doc.keys, k)
		doc.values[k] = value
	}
	var entries []*entry
	for i, m := range head.Manifests {
		entries = append(entries, parseEntry(m, i))
	}
	return doc, entries, nil
}

func parseEntry(raw json.RawMessage, at int) *entry {
	e := &entry{raw: raw, at: at}
	if err := json.Unmarshal(raw, &e.d); err != nil {
		e.err = oci.Errorf(oci.ErrInvalid, "%s has an entry that is no descriptor: %w", indexName, err)
		return e
	}
	if err := oci.CheckDescriptor(e.d); err != nil {
		e.err = oci.Wrap("", indexName, err)
	}
	e.name, e.short = e.d.Annotations[containerdName], e.d.Annotations[v1.AnnotationRefName]
	if e.name == "" {
		e.name, e.short = e.short, ""
	}
	return e
}

// newIndex is the document of an archive that had none.
func newIndex() *document {
	return &document{[]string{"schemaVersion", "mediaType", "manifests"}, map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"), "mediaType": json.RawMessage(`"` + oci.MediaIndex + `"`)}}
}

// bytes writes index.json with other entries; the rest stays as it was.
func (x *document) bytes(entries []*entry) ([]byte, error) {
	list := make([][]byte, len(entries))
	for i, e := range entries {
		if list[i] = e.raw; e.raw == nil {
			var err error
			if list[i], err = json.Marshal(e.d); err != nil {
				return nil, err
			}
		}
	}
	keys := x.keys
	if !slices.Contains(keys, "manifests") {
		keys = append(slices.Clone(keys), "manifests")
	}
	var b bytes.Buffer
	for i, k := range keys {
		b.WriteByte("{,"[min(i, 1)])
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		if k == "manifests" {
			b.WriteByte('[')
			b.Write(bytes.Join(list, []byte(",")))
			b.WriteByte(']')
		} else {
			b.Write(x.values[k])
		}
	}
	b.WriteByte('}')
	if b.Len() > maxDocument {
		return nil, oci.Errorf(oci.ErrInvalid, "%s would have %d bytes, more than %d", indexName, b.Len(), maxDocument)
	}
	return b.Bytes(), nil
}
