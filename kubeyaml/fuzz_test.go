// SPDX-License-Identifier: Apache-2.0

package kubeyaml_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/kubeyaml"
)

// Whatever is in a file, without images it keeps its bytes, and with images all
// that a parser sees is the same but for the references.
func FuzzReplace(f *testing.F) {
	for _, c := range replaced {
		f.Add([]byte(c.in))
	}
	f.Add([]byte(bomb()))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := kubeyaml.Parse("f.yaml", in, kubeyaml.Options{Schemes: schemes})
		if err != nil {
			return
		}
		if same := write(t, nil, file); same != string(in) && squeeze(same) != squeeze(string(in)) {
			t.Fatalf("without images %q became %q", in, same)
		}
		out := write(t, images(file), file)
		was, err := trees(in)
		if err != nil { // JSON that is no YAML
			return
		}
		now, err := trees([]byte(out))
		if err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		n := 0
		if !slices.EqualFunc(was, now, func(a, b *yaml.Node) bool { return alike(a, b, false, &n) }) {
			t.Fatalf("%q became %q", in, out)
		}
		if n != len(file.Refs) {
			t.Fatalf("%q: %d references, found %v", in, n, file.Refs)
		}
	})
}

// squeeze leaves out what separates JSON values.
func squeeze(s string) string {
	return strings.NewReplacer("---", "", "\n", "", " ", "").Replace(s)
}

func trees(data []byte) (list []*yaml.Node, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		if err := dec.Decode(&n); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, &n)
	}
}

// alike compares trees, and counts references that have become images.
func alike(a, b *yaml.Node, key bool, n *int) bool {
	value := a.Value
	if a.Kind == yaml.ScalarNode && !key && (strings.HasPrefix(value, "ko://") || strings.HasPrefix(value, "dray://")) {
		value = image
		*n++
	}
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Anchor != b.Anchor || value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !alike(a.Content[i], b.Content[i], key || a.Kind == yaml.MappingNode && i%2 == 0, n) {
			return false
		}
	}
	return true
}

// Selecting keeps whole documents and items, and what is left is YAML.
func FuzzSelect(f *testing.F) {
	f.Add([]byte("kind: List\nitems:\n- a: ko://x\n- metadata: {labels: {app: x}}\n  b: ko://y\n"), true)
	f.Add([]byte(`{"kind":"List","items":[{"a":"ko://x"},{"metadata":{"labels":{"app":"x"}},"b":"ko://y"}]}`), true)
	f.Add([]byte("# c\n---\nmetadata: {labels: {app: x}}\n...\na: ko://x\n"), false)
	f.Fuzz(func(t *testing.T, in []byte, has bool) {
		o := kubeyaml.Options{Schemes: schemes, Select: func(l map[string]string) bool { return (l["app"] == "x") == has }}
		file, err := kubeyaml.Parse("f.yaml", in, o)
		if err != nil {
			return
		}
		out := write(t, nil, file)
		again, err := kubeyaml.Parse("f.yaml", []byte(out), o)
		if err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		if !slices.EqualFunc(file.Refs, again.Refs, func(a, b kubeyaml.Ref) bool { return a.Text == b.Text }) {
			t.Fatalf("%q became %q: %v, %v", in, out, file.Refs, again.Refs)
		}
		if twice := write(t, nil, again); twice != out && squeeze(twice) != squeeze(out) {
			t.Fatalf("%q became %q, then %q", in, out, twice)
		}
	})
}
