// SPDX-License-Identifier: Apache-2.0

package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/internal/jsonedit"
)

// What came behind the only item has its comma, whatever comes before it later.
func TestCommaAfterTheOnlyItem(t *testing.T) {
	t.Parallel()
	d := parse(t, `{"b":1}`)
	if err := d.Set(2, "z"); err != nil {
		t.Fatal(err)
	}
	if err := d.SetBefore("b", 0, "a"); err != nil || string(d.Bytes()) != `{"a":0,"b":1,"z":2}` {
		t.Errorf("%s, %v", d.Bytes(), err)
	}
	d = parse(t, `[ 1 ]`)
	if err := d.Set(5, 1); err != nil {
		t.Fatal(err)
	}
	if err := d.Splice(0, 1, []any{0, 1}); err != nil || string(d.Bytes()) != `[ 0, 1, 5 ]` {
		t.Errorf("%s, %v", d.Bytes(), err)
	}
}

// A pair is a member of the model of a document, or, without a key, an element.
type pair struct{ key, raw string }

// Random edits of random documents give what a model says: the same items in
// the same order, values that are not edited as they are written, and not a
// byte changed outside.
func TestRandomEdits(t *testing.T) {
	t.Parallel()
	keys := []string{"a", "b", "c", "", `"\,`, "z"}
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		space := func() string { return []string{"", "", " ", "\n  ", "\t"}[r.IntN(5)] }
		object := r.IntN(2) == 0
		var model []pair
		inner := space()
		for n := range r.IntN(4) {
			p := pair{raw: []string{"1.50e3", `"\u0061, ]"`, `{ "x":[1 ,2]}`, "[ ]", "null"}[r.IntN(5)]}
			if n > 0 {
				inner += space() + "," + space()
			}
			if object {
				p.key = keys[n]
				k, _ := json.Marshal(p.key)
				inner += string(k) + space() + ":" + space()
			}
			model = append(model, p)
			inner += p.raw
		}
		brackets := "[]"
		if object {
			brackets = "{}"
		}
		head, tail := "\n{ \"x\" : [1 ,2] ,\"t\":  ", " ,\n\"y\":{ } }\n"
		source := head + brackets[:1] + inner + space() + brackets[1:] + tail
		d := parse(t, source)
		log := source
		for step := range 1 + r.IntN(8) {
			var text string
			if object {
				model, text = editObject(t, r, d, model, keys, step)
			} else {
				model, text = editArray(t, r, d, model, step)
			}
			log += "\n" + text
			got := d.Bytes()
			if !json.Valid(got) || !strings.HasPrefix(string(got), head) || !strings.HasSuffix(string(got), tail) {
				t.Fatalf("%s\nbecame %s", log, got)
			}
			if now := read(t, got, object); !slices.Equal(now, model) {
				t.Fatalf("%s\nbecame %q, want %q", log, now, model)
			}
		}
	}
}

func editObject(t *testing.T, r *rand.Rand, d *jsonedit.Document, model []pair, keys []string, step int) ([]pair, string) {
	k, before := keys[r.IntN(len(keys))], keys[r.IntN(len(keys))]
	find := func(k string) int { return slices.IndexFunc(model, func(p pair) bool { return p.key == k }) }
	p, at := pair{k, fmt.Sprint(step)}, find(k)
	what := r.IntN(3)
	switch what {
	case 0:
		if d.Remove("t", k) != (at >= 0) {
			t.Errorf("remove %q", k)
		}
		if at >= 0 {
			model = slices.Delete(model, at, at+1)
		}
		return model, fmt.Sprintf("remove %q", k)
	case 1:
		before = k
		if err := d.Set(step, "t", k); err != nil {
			t.Error(err)
		}
	case 2:
		if err := d.SetBefore(before, step, "t", k); err != nil {
			t.Error(err)
		}
	}
	if to := find(before); at >= 0 {
		model[at] = p
	} else if to >= 0 {
		model = slices.Insert(model, to, p)
	} else {
		model = append(model, p)
	}
	return model, fmt.Sprintf("set %q before %q", k, before)
}

func editArray(t *testing.T, r *rand.Rand, d *jsonedit.Document, model []pair, step int) ([]pair, string) {
	n := len(model)
	at := r.IntN(n + 1)
	switch r.IntN(3) {
	case 0:
		if d.Remove("t", at) != (at < n) {
			t.Errorf("remove %d of %d", at, n)
		}
		if at < n {
			model = slices.Delete(model, at, at+1)
		}
		return model, fmt.Sprint("remove ", at)
	case 1:
		if err := d.Set(step, "t", at); err != nil {
			t.Error(err)
		}
		return slices.Replace(model, at, min(at+1, n), pair{raw: fmt.Sprint(step)}), fmt.Sprint("set ", at)
	}
	to := at + r.IntN(n-at+1)
	var values []any
	var pairs []pair
	for k := range r.IntN(4) {
		values, pairs = append(values, k), append(pairs, pair{raw: fmt.Sprint(k)})
	}
	if err := d.Splice(at, to, values, "t"); err != nil {
		t.Error(err)
	}
	return slices.Replace(model, at, to, pairs...), fmt.Sprintf("splice %d %d: %v", at, to, values)
}

// read gives the items of the member t, with values as they are written.
func read(t *testing.T, raw []byte, object bool) (out []pair) {
	var doc struct{ T json.RawMessage }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(doc.T))
	_, _ = dec.Token()
	for dec.More() {
		var p pair
		if object {
			k, _ := dec.Token()
			p.key = k.(string)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		p.raw = string(value)
		out = append(out, p)
	}
	return out
}

// Several goroutines may read one document.
func TestReadByMany(t *testing.T) {
	t.Parallel()
	d := parse(t, `{"a":{"b":[1,{"c":"x"}]}}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := string(d.Get("a", "b", 1, "c")); got != `"x"` || d.Len("a", "b") != 2 || !slices.Equal(d.Keys("a"), []string{"b"}) {
				t.Errorf("%s", got)
			}
			for n, raw := range d.Elements("a", "b") {
				if n == 0 && string(raw) != "1" {
					t.Errorf("%s", raw)
				}
			}
		})
	}
	wg.Wait()
	for range d.Elements("a") {
		t.Error("an object has elements")
	}
}
