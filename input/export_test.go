// SPDX-License-Identifier: Apache-2.0

package input

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Key is the key of an input.
func Key(d oci.Digest, size int64) key { return key{d, size} }

// EncodeNote is a file of the cache.
func EncodeNote(k key, how string, asked []layer.Answer) []byte {
	d := oci.FromBytes([]byte("a layer"))
	return encodeNote(note{k.digest, []outcome{{How: how, Asked: asked, Digest: d, Size: 7, DiffID: d, MediaType: oci.MediaLayerGzip}}})
}

// CheckNote reads a file of the cache; what comes out must make sense, and stay
// the same when it is written and read again.
func CheckNote(t *testing.T, raw []byte, k key) {
	t.Helper()
	list := parseNote(raw, k)
	for _, o := range list {
		d := o.descriptor(&Input{})
		if err := oci.CheckDescriptor(d); err != nil || !oci.IsLayer(d.MediaType) {
			t.Errorf("%+v: %v", d, err)
		}
		for _, a := range o.Asked {
			if !fs.ValidPath(a.Dir) || !fs.ValidPath(a.Place.Path) {
				t.Errorf("asked %+v", a)
			}
		}
	}
	if len(list) == 0 {
		return
	}
	if again := parseNote(encodeNote(note{k.digest, list}), k); len(again) != len(list) {
		a, _ := json.Marshal(list)
		t.Errorf("%s becomes %d layers", a, len(again))
	}
}
