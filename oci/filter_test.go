// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
)

func TestFilterIndex(t *testing.T) {
	t.Parallel()
	entry := func(n string) string { return desc(oci.MediaManifest, n, `, "x" : [ 1,2 ]`) }
	a, b, c := entry("1"), entry("2"), entry("3")
	pretty := "{\n  \"x-first\": {\"manifests\": [0, 1]},\n  \"manifests\": [\n    A,\n    B ,\n    C\n  ],\n\t\"annotations\": {\"z\": \"\\u00e9\", \"a\": \"1\"},\"subject\":" + entry("9") + "}\n"
	for _, test := range []struct{ in, keep, want string }{
		{pretty, "abc", pretty},
		{pretty, "ab", strings.Replace(pretty, "B ,\n    C", "B ", 1)},
		{pretty, "ac", strings.Replace(pretty, "\n    B ,", "", 1)},
		{pretty, "c", strings.Replace(pretty, "\n    A,\n    B ,", "", 1)},
		{pretty, "", strings.Replace(pretty, "\n    A,\n    B ,\n    C", "", 1)},
		{`{"manifests":[A,B,C]}`, "b", `{"manifests":[B]}`},
		{`{"manifests":[ ]}`, "", `{"manifests":[ ]}`},
	} {
		fill := strings.NewReplacer("A", a, "B", b, "C", c)
		m, err := oci.ParseManifest(oci.MediaIndex, []byte(fill.Replace(test.in)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := oci.FilterIndex(m, func(i int) bool { return strings.Contains(test.keep, string("abc"[i])) })
		want := fill.Replace(test.want)
		if err != nil || string(got.Raw) != want || got.Descriptor.Digest != oci.FromBytes([]byte(want)) || len(got.Manifests) != len(test.keep) {
			t.Errorf("keep %q: %v\ngot  %s\nwant %s", test.keep, err, got.Raw, want)
		}
		if string(m.Raw) != fill.Replace(test.in) {
			t.Error("the old index was changed")
		}
	}
	image, err := oci.ParseManifest("", []byte(imageJSON()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oci.FilterIndex(image, func(int) bool { return true }); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("an image: %v", err)
	}
}

func FuzzFilterIndex(f *testing.F) {
	for _, s := range manifestSeeds {
		f.Add([]byte(s), uint64(2))
	}
	f.Add([]byte("{ \"x\":[{}], \"manifests\" : [ "+desc("a", 1, "")+" ,\n"+desc("b", 2, "")+"] , \"y\":1}\n"), uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, keep uint64) {
		m, err := oci.ParseManifest("", raw)
		if err != nil || !m.IsIndex() {
			return
		}
		if all, err := oci.FilterIndex(m, func(int) bool { return true }); err != nil || string(all.Raw) != string(raw) {
			t.Fatalf("keep all: %v", err)
		}
		kept := func(i int) bool { return keep>>(i%64)&1 == 1 }
		got, err := oci.FilterIndex(m, kept)
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]any
		if json.Unmarshal(raw, &before) != nil || json.Unmarshal(got.Raw, &after) != nil {
			t.Fatal("not JSON")
		}
		list := []any{}
		for i, e := range before["manifests"].([]any) {
			if kept(i) {
				list = append(list, e)
			}
		}
		before["manifests"] = list
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%s became %s", raw, got.Raw)
		}
	})
}
