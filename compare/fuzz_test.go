// SPDX-License-Identifier: Apache-2.0

package compare_test

import (
	"encoding/json"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/compare"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Whatever configs and layers are, comparing ends; an image that is packed
// beside the same one does not differ from it.
func FuzzGraphs(f *testing.F) {
	f.Add([]byte(`{"Env":["A=1","A=2","B"],"Labels":{"a.b":"1","a":{"b":2}}}`), []byte(`{"a":[{}],"b":null}`), tarOf(f, []entry{dir("d"), file("d/f", "1"), link("l", "d"), file("l/.wh.f", "")}))
	f.Add([]byte(`{}`), []byte(`[]`), tarOf(f, []entry{file("var/lib/dpkg/status", "Package: a\n"), file("var/lib/rpm/Packages", "x")}))
	f.Fuzz(func(t *testing.T, x, y, packed []byte) {
		p := newPlace()
		image := func(config []byte, author string) oci.Graph {
			l := p.put(oci.MediaLayer, packed)
			c := map[string]any{"author": author, "rootfs": map[string]any{"type": "layers", "diff_ids": []oci.Digest{l.Digest}}}
			if json.Valid(config) {
				c["x"] = json.RawMessage(config)
			}
			m := v1.Manifest{MediaType: oci.MediaManifest, Config: p.putJSON(t, oci.MediaConfig, c), Layers: []oci.Descriptor{l}}
			m.SchemaVersion = 2
			if author == "second" {
				m.Layers = append(m.Layers, l)
				c["rootfs"] = map[string]any{"type": "layers", "diff_ids": []oci.Digest{l.Digest, l.Digest}}
				m.Config = p.putJSON(t, oci.MediaConfig, c)
			}
			return p.graph(p.putJSON(t, oci.MediaManifest, m))
		}
		o := compare.Options{Limits: layer.Limits{Bytes: 1 << 20}}
		_, _ = compare.Graphs(t.Context(), image(x, "first"), image(y, "second"), o)
		r, err := compare.Graphs(t.Context(), image(x, "first"), image(x, "other"), o)
		if err != nil || len(r.Images) != 1 || len(r.Images[0].Config) != 1 || r.Images[0].Config[0].Path != "author" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
