// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// FuzzOutline reads any entries as those of an outline whose digest fits:
// nothing panics, names are what Reader lets pass, and what was understood
// comes back from a layer and an outline of it.
func FuzzOutline(f *testing.F) {
	o := outlines(f, strange()[2:])[0]
	raw := o.OutlineFile()
	start := bytes.Index(raw, []byte("}\n")) + 2
	z, err := zstd.NewReader(nil)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := z.DecodeAll(raw[start:len(raw)-32], nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, o.Len)
	f.Add([]byte("5\x01a\x00\x00\x00\x00\x00\x00\x00\x00"), 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, entries []byte, n int) {
		if len(entries) > 1<<16 {
			return
		}
		d := oci.FromBytes(nil)
		head := fmt.Sprintf(`{"layer":%q,"diffID":%q,"plainSize":1,"entries":%d}`+"\n", d, d, n)
		o, err := layer.ParseOutline(layer.SignOutline(head, encoder().EncodeAll(entries, nil)), layer.Limits{})
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		before := changes(t, o)
		again, err := layer.ParseOutline(o.OutlineFile(), layer.Limits{})
		if err != nil || !slices.Equal(changes(t, again), before) {
			t.Fatal(err)
		}
		for e := range o.Entries() {
			if e.Name == "" || e.Name[0] == '/' || e.Name == ".." || len(e.Name) > 3 && e.Name[:3] == "../" {
				t.Fatalf("the name %q", e.Name)
			}
		}
		if _, err := layer.MergeOutlines([]*layer.Outline{o, o}, layer.Limits{}); err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
		if _, err := layer.Collide([]*layer.Outline{o}, nil, []*layer.Outline{o}, layer.Limits{}); err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
	})
}

// FuzzOutlineFile reads any bytes as the whole file.
func FuzzOutlineFile(f *testing.F) {
	f.Add(outlines(f, strange()[2:])[0].OutlineFile())
	f.Add(layer.SignOutline("{}\n", nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := layer.ParseOutline(raw, layer.Limits{})
		if err != nil {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		changes(t, o)
		if !bytes.Equal(o.OutlineFile(), raw) {
			t.Error("another file comes of it")
		}
	})
}
