// SPDX-License-Identifier: Apache-2.0

package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

func parse(t testing.TB, s string) *jsonedit.Document {
	t.Helper()
	d, err := jsonedit.Parse([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d
}

func TestDocument(t *testing.T) {
	t.Parallel()
	set := func(v any, path ...any) func(*jsonedit.Document) error {
		return func(d *jsonedit.Document) error { return d.Set(v, path...) }
	}
	remove := func(path ...any) func(*jsonedit.Document) error {
		return func(d *jsonedit.Document) error {
			if !d.Remove(path...) {
				return errors.New("nothing removed")
			}
			return nil
		}
	}
	for _, c := range []struct {
		in    string
		edits []func(*jsonedit.Document) error
		want  string
	}{
		{`{"a":1}`, nil, `{"a":1}`},
		{" {\"a\" : [ 1 ,2 ] } \n", []func(*jsonedit.Document) error{set("x", "a", 1)}, " {\"a\" : [ 1 ,\"x\" ] } \n"},
		{`{"a":{"b":"\"}{","c":1.50e3}}`, []func(*jsonedit.Document) error{set(2, "a", "c")}, `{"a":{"b":"\"}{","c":2}}`},
		{`{"a":1}`, []func(*jsonedit.Document) error{set("<&>", "b")}, `{"a":1,"b":"<&>"}`},
		{"{\n  \"a\": 1,\n  \"b\": 2\n}\n", []func(*jsonedit.Document) error{set(3, "c"), set(4, "d")}, "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3,\n  \"d\": 4\n}\n"},
		{"{\n  \"a\": 1\n}", []func(*jsonedit.Document) error{set(3, "c")}, "{\n  \"a\": 1,\n  \"c\": 3\n}"},
		{`{ }`, []func(*jsonedit.Document) error{set(3, "c")}, `{"c":3}`},
		{`[]`, []func(*jsonedit.Document) error{set(1, 0), set(2, 1)}, `[1,2]`},
		{`[1, 2]`, []func(*jsonedit.Document) error{set(3, 2)}, `[1, 2, 3]`},
		{`[1, 2, 3]`, []func(*jsonedit.Document) error{remove(1)}, `[1, 3]`},
		{`[1, 2, 3]`, []func(*jsonedit.Document) error{remove(2)}, `[1, 2]`},
		{`[1, 2, 3]`, []func(*jsonedit.Document) error{remove(0), remove(0)}, `[3]`},
		{`[ 1, 2 ]`, []func(*jsonedit.Document) error{remove(0), remove(0)}, `[]`},
		{`[ 1, 2 ]`, []func(*jsonedit.Document) error{remove(0), set(5, 1)}, `[ 2, 5 ]`},
		{"{\n \"a\": 1,\n \"b\": 2}", []func(*jsonedit.Document) error{remove("a")}, "{\n \"b\": 2}"},
		{`{"a":{"x":1},"b":2}`, []func(*jsonedit.Document) error{remove("a", "x"), set(1, "a", "y")}, `{"a":{"y":1},"b":2}`},
		{`{"a":1}`, []func(*jsonedit.Document) error{set(json.RawMessage(` {"b":[]} `), "a"), set(1, "a", "b", 0)}, `{"a":{"b":[1]}}`},
		{`{"\u0061":1}`, []func(*jsonedit.Document) error{set(2, "a")}, `{"\u0061":2}`},
		{`7`, []func(*jsonedit.Document) error{set("x")}, `"x"`},
	} {
		d := parse(t, c.in)
		for _, e := range c.edits {
			if err := e(d); err != nil {
				t.Errorf("%s: %v", c.in, err)
			}
		}
		if got := string(d.Bytes()); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.in, got, c.want)
		}
	}
}

func TestDocumentRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "{", `{"a":1}x`, `{"a":1,"a":2}`, "\xff", `{"a":NaN}`, strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if _, err := jsonedit.Parse([]byte(s)); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
	d := parse(t, `{"a":[1],"b":"x"}`)
	for _, path := range [][]any{{"a", 2}, {"a", -1}, {"a", "x"}, {"b", "x"}, {"b", 0}, {"c", "d"}, {0}, {1.5}} {
		if err := d.Set(1, path...); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("set %v: %v", path, err)
		}
		if d.Remove(path...) || d.Get(path...) != nil {
			t.Errorf("%v is there", path)
		}
	}
	if err := d.Set(json.RawMessage(`{`), "a"); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("set to broken JSON: %v", err)
	}
	if got := string(d.Bytes()); got != `{"a":[1],"b":"x"}` {
		t.Errorf("became %s", got)
	}
}

// FuzzDocument edits at every place that a document has, and compares with
// what encoding/json makes of the result.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}],"c":"x"}`, "{\n \"a\" : { } ,\n \"b\": [ ] }\n", `[]`, `"\\\""`, `-1.5e+3`, `[[[true]],{"":false}]`} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, pick uint8) {
		d, err := jsonedit.Parse(raw)
		if err != nil {
			return
		}
		var model any
		if err := json.Unmarshal(raw, &model); err != nil {
			t.Skip() // a number out of range
		}
		all := places(model, nil)
		path := all[int(pick)%len(all)]
		if err := d.Set(json.RawMessage(d.Get(path...)), path...); err != nil || !bytes.Equal(d.Bytes(), raw) {
			if len(path) > 0 || !bytes.Equal(bytes.TrimSpace(raw), d.Bytes()) {
				t.Fatalf("set %v to itself: %v, %q becomes %q", path, err, raw, d.Bytes())
			}
		}
		if err := d.Set("new", path...); err != nil {
			t.Fatalf("set %v of %q: %v", path, raw, err)
		}
		check(t, d, edit(model, path, "new", false))
		if len(path) > 0 {
			if !d.Remove(path...) {
				t.Fatalf("remove %v of %q: nothing", path, raw)
			}
			model = edit(model, path, nil, true)
			check(t, d, model)
			outer := path[:len(path)-1]
			if _, ok := path[len(path)-1].(string); ok {
				if err := d.Set(1.0, path...); err != nil {
					t.Fatalf("add %v: %v", path, err)
				}
				check(t, d, edit(model, path, 1.0, false))
			} else if d.Get(outer...) == nil {
				t.Fatalf("%v is gone", outer)
			}
		}
	})
}

func check(t *testing.T, d *jsonedit.Document, want any) {
	t.Helper()
	var got any
	if err := json.Unmarshal(d.Bytes(), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q, want %#v: %v", d.Bytes(), want, err)
	}
}

// places lists the paths of all values.
func places(v any, at []any) [][]any {
	out := [][]any{append([]any{}, at...)}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, places(v[k], append(append([]any{}, at...), k))...)
		}
	case []any:
		for i, x := range v {
			out = append(out, places(x, append(append([]any{}, at...), i))...)
		}
	}
	return out
}

// edit is the same edit on a copy of decoded JSON.
func edit(v any, path []any, value any, remove bool) any {
	if len(path) == 0 {
		return value
	}
	last := len(path) == 1
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = x
		}
		k := path[0].(string)
		if last && remove {
			delete(out, k)
		} else {
			out[k] = edit(v[k], path[1:], value, remove)
		}
		return out
	case []any:
		i := path[0].(int)
		out := append([]any{}, v...)
		if last && remove {
			return append(out[:i], out[i+1:]...)
		}
		out[i] = edit(v[i], path[1:], value, remove)
		return out
	}
	return v
}

func TestSplice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       string
		from, to int
		values   []any
		want     string
	}{
		{`{"a":[1,2,3]}`, 0, 1, []any{8, 9}, `{"a":[8,9,2,3]}`},
		{`{"a":[1,2,3]}`, 1, 3, nil, `{"a":[1]}`},
		{`{"a":[1,2,3]}`, 3, 3, []any{"x"}, `{"a":[1,2,3,"x"]}`},
		{`{"a":[1,2]}`, 0, 2, nil, `{"a":[]}`},
		{`{"a":[ ]}`, 0, 0, []any{json.RawMessage(`{"x": 1}`), 2}, `{"a":[{"x": 1},2]}`},
		{`{"a":[7]}`, 0, 0, []any{6}, `{"a":[6,7]}`},
		{"{\"a\": [\n  1,\n  2\n]}", 0, 1, []any{5, 6}, "{\"a\": [\n  5,\n  6,\n  2\n]}"},
		{"{\"a\": [\n  1\n]}", 1, 1, []any{5}, "{\"a\": [\n  1,\n  5\n]}"},
	} {
		d := parse(t, c.in)
		if err := d.Splice(c.from, c.to, c.values, "a"); err != nil || string(d.Bytes()) != c.want {
			t.Errorf("%s becomes %s, %v; want %s", c.in, d.Bytes(), err, c.want)
		}
	}
	d := parse(t, `{"a":[1],"b":"x","c":{"y":1,"z":2}}`)
	for _, bad := range []struct {
		from, to int
		path     string
	}{{0, 2, "a"}, {1, 0, "a"}, {-1, 0, "a"}, {0, 0, "b"}, {0, 0, "c"}, {0, 0, "d"}} {
		if err := d.Splice(bad.from, bad.to, nil, bad.path); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if a, b, c := d.Len("a"), d.Len("b"), d.Len("c"); a != 1 || b != -1 || c != 2 {
		t.Errorf("lengths %d %d %d", a, b, c)
	}
	if got := string(d.Bytes()); got != `{"a":[1],"b":"x","c":{"y":1,"z":2}}` {
		t.Errorf("became %s", got)
	}
}
