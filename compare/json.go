// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// manifests compares what manifests say beside what they list.
func manifests(a, b *oci.Manifest) []Change {
	return changes(said(a), said(b))
}

func said(m *oci.Manifest) map[string]string {
	var doc map[string]any
	if decode(m.Raw, &doc) != nil { // it has been parsed already
		return nil
	}
	doc["mediaType"] = m.Descriptor.MediaType // of old OCI manifests too, which do not say it
	for _, key := range []string{"layers", "blobs", "manifests", "config"} {
		delete(doc, key)
	}
	if m.Config != nil {
		doc["config"] = map[string]any{"mediaType": m.Config.MediaType}
	}
	return flatten(doc)
}

// configs compares configs member by member. Layers are not looked at, and of
// the history only how long it is and whether it is the same.
func configs(a, b []byte) ([]Change, error) {
	var docs [2]map[string]any
	var past [2]any
	for i, raw := range [][]byte{a, b} {
		if err := decode(raw, &docs[i]); err != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "config: %w", err)
		}
		past[i] = docs[i]["history"]
		delete(docs[i], "history")
		delete(docs[i], "rootfs")
	}
	out := changes(flatten(docs[0]), flatten(docs[1]))
	if text(past[0]) != text(past[1]) {
		out = append(out, Change{Changed, "history", entries(past[0]), entries(past[1])})
	}
	return out, nil
}

func entries(v any) string {
	list, _ := v.([]any)
	return fmt.Sprintf("%d entries", len(list))
}

func decode(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(v)
}

// maxPath is how long a path may be for what is below it to have paths of its
// own: without a limit a small document could have large ones.
const maxPath = 64

// flatten maps the path of each member to its value. Lists are values, except
// those of environment variables; null is the same as nothing.
func flatten(doc map[string]any) map[string]string {
	out := map[string]string{}
	leaf := func(path, value string) {
		if old, twice := out[path]; twice { // a variable set twice, a key with a dot in it
			value = old + " " + value
		}
		out[path] = value
	}
	var visit func(path string, v any)
	visit = func(path string, v any) {
		switch v := v.(type) {
		case nil:
			return
		case map[string]any:
			if len(v) == 0 || len(path) > maxPath {
				break
			}
			for _, k := range slices.Sorted(maps.Keys(v)) {
				visit(path+"."+k, v[k])
			}
			return
		case []any:
			if !strings.HasSuffix(path, ".Env") || len(path) > maxPath {
				break
			}
			for _, x := range v {
				name, value, _ := strings.Cut(text(x), "=")
				leaf(path[1:]+"."+name, value)
			}
			return
		}
		leaf(path[1:], text(v))
	}
	for _, k := range slices.Sorted(maps.Keys(doc)) {
		visit("."+k, doc[k])
	}
	return out
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // it came from JSON
	return strings.TrimSpace(b.String())
}

func changes(a, b map[string]string) []Change {
	var out []Change
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		x, before := a[k]
		y, after := b[k]
		switch {
		case !before:
			out = append(out, Change{Op: Added, Path: k, B: y})
		case !after:
			out = append(out, Change{Op: Removed, Path: k, A: x})
		case x != y:
			out = append(out, Change{Changed, k, x, y})
		}
	}
	return out
}
