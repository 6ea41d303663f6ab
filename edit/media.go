// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// ToFamily gives a node, and all below it that is edited, OCI's media types or
// Docker's. ErrUnsupported if something has no such media type, or says what
// Docker's manifests cannot; annotations are left out of those, with a note.
func ToFamily(n Node, docker bool) error {
	switch n := n.(type) {
	case *Image:
		return n.toFamily(docker)
	case *Index:
		for _, e := range n.entries {
			if err := ToFamily(e.Node, docker); err != nil {
				return err
			}
		}
		return n.toFamily(docker)
	case *Other:
		if docker && !oci.IsDocker(n.Manifest.Descriptor.MediaType) {
			return oci.Errorf(oci.ErrUnsupported, "%s is no image, which Docker's media types are for", n.Manifest.Descriptor.Digest)
		}
	}
	return nil
}

func inFamily(mediaType string, docker bool) (string, error) {
	if !docker {
		return oci.ToOCI(mediaType), nil
	}
	to, ok := oci.ToDocker(mediaType)
	if !ok {
		return to, oci.Errorf(oci.ErrUnsupported, "%s is no media type of Docker's", oci.Quote(mediaType))
	}
	return to, nil
}

func (x *Index) toFamily(docker bool) (err error) {
	if docker && !x.IsDocker() {
		text, err := plainDocker(x.doc)
		if err != nil {
			return err
		}
		x.note(text)
	}
	if x.kind, err = inFamily(x.kind, docker); err != nil {
		return err
	}
	return setAt(x.doc, x.kind, "mediaType")
}

func (i *Image) toFamily(docker bool) (err error) {
	if docker && !i.IsDocker() {
		text, err := plainDocker(i.manifest)
		if err != nil {
			return err
		}
		i.note(text)
	}
	if i.kind, err = inFamily(i.kind, docker); err != nil {
		return err
	}
	if err := setAt(i.manifest, i.kind, "mediaType"); err != nil {
		return err
	}
	if err := changeType(i.manifest, docker, "config"); err != nil {
		return err
	}
	for n := range max(0, i.manifest.Len("layers")) {
		if err := changeType(i.manifest, docker, "layers", n); err != nil {
			return err
		}
	}
	for n := range i.layers {
		d := &i.layers[n].Descriptor
		if d.MediaType, err = inFamily(d.MediaType, docker); err != nil {
			return err
		}
	}
	return nil
}

// plainDocker takes out of a manifest what Docker's do not have: its annotations
// and those of what an index lists. text says which. ErrUnsupported if it refers
// to something or says what it is.
func plainDocker(doc *jsonedit.Document) (text string, err error) {
	for _, key := range []string{"subject", "artifactType"} {
		if !isNull(doc.Get(key)) {
			return "", oci.Errorf(oci.ErrUnsupported, "Docker's media types have no %s, only OCI's have", key)
		}
	}
	places := [][]any{{"annotations"}}
	for n := range max(0, doc.Len("manifests")) {
		places = append(places, []any{"manifests", n, "annotations"})
	}
	var keys []string
	for _, at := range places {
		keys = append(keys, doc.Keys(at...)...)
		doc.Remove(at...)
	}
	if len(keys) == 0 {
		return "", nil
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	const most = 10
	var more string
	if n := len(keys) - most; n > 0 {
		keys, more = keys[:most], fmt.Sprintf(" and %d more", n)
	}
	for n, k := range keys {
		keys[n] = oci.Quote(k)
	}
	return "annotations are left out, which Docker's media types do not have: " + strings.Join(keys, ", ") + more, nil
}

// changeType changes the media type of a descriptor in a manifest.
func changeType(doc *jsonedit.Document, docker bool, at ...any) error {
	at = append(at, "mediaType")
	var was string
	if err := json.Unmarshal(doc.Get(at...), &was); err != nil {
		return oci.Errorf(oci.ErrInvalid, "media type: %w", err)
	}
	now, err := inFamily(was, docker)
	if err != nil {
		return err
	}
	return setAt(doc, now, at...)
}
