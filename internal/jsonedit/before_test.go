// SPDX-License-Identifier: Apache-2.0

package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/dray-tools/dray/internal/jsonedit"
)

func TestSetBefore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, before, want string }{
		{`{}`, "b", `{"a":1}`},
		{`{ }`, "", `{"a":1}`},
		{`{"b":2}`, "b", `{"a":1,"b":2}`},
		{`{ "b": 2 }`, "b", `{ "a": 1, "b": 2 }`},
		{`{"b":2,"c":3}`, "b", `{"a":1,"b":2,"c":3}`},
		{`{"b":2,"c":3}`, "c", `{"b":2,"a":1,"c":3}`},
		{`{"b":2,"c":3}`, "x", `{"b":2,"c":3,"a":1}`},
		{"{\n  \"b\": 2,\n  \"c\": 3\n}", "b", "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}"},
		{"{\n  \"b\": 2,\n  \"c\": 3\n}", "c", "{\n  \"b\": 2,\n  \"a\": 1,\n  \"c\": 3\n}"},
		{"{\n  \"b\": 2\n}", "b", "{\n  \"a\": 1,\n  \"b\": 2\n}"},
		{`{"b":2,"a":0}`, "b", `{"b":2,"a":1}`},
	} {
		d, err := jsonedit.Parse([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.SetBefore(c.before, 1, "a"); err != nil || string(d.Bytes()) != c.want {
			t.Errorf("%s before %s: %s, %v; want %s", c.in, c.before, d.Bytes(), err, c.want)
		}
	}
	d, _ := jsonedit.Parse([]byte(`{"o":{"b":1,"a":2},"l":[1]}`))
	if got := d.Keys("o"); !slices.Equal(got, []string{"b", "a"}) || d.Keys("l") != nil || d.Keys("x") != nil {
		t.Errorf("%q, %q", got, d.Keys("l"))
	}
	if err := d.SetBefore("x", 1, "none", "a"); err == nil {
		t.Error("no error where there is no object")
	}
}

// Many members put before others, and taken out again, leave the document as it
// was.
func FuzzSetBefore(f *testing.F) {
	f.Add([]byte(`{"b": 1, "c":{"x":2}}`), []byte{1, 0, 2})
	f.Add([]byte("{\n\t\"b\": 1\n}"), []byte{0, 0})
	f.Fuzz(func(t *testing.T, raw, places []byte) {
		d, err := jsonedit.Parse(raw)
		if err != nil || len(d.Keys()) == 0 {
			return
		}
		before := d.Bytes()
		var added []string
		for _, p := range places[:min(len(places), 8)] {
			key := string(rune('a'+p%26)) + "-new"
			if d.Get(key) != nil {
				return
			}
			was := d.Keys()
			at := was[int(p)%len(was)]
			if err := d.SetBefore(at, int(p), key); err != nil {
				t.Fatal(err)
			}
			if want := slices.Insert(was, slices.Index(was, at), key); !slices.Equal(d.Keys(), want) || !json.Valid(d.Bytes()) {
				t.Fatalf("%s: %q, want %q", d.Bytes(), d.Keys(), want)
			}
			added = append(added, key)
		}
		for _, key := range added {
			d.Remove(key)
		}
		if !bytes.Equal(d.Bytes(), before) {
			t.Fatalf("%s, want %s", d.Bytes(), before)
		}
	})
}
