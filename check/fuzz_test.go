// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"testing"

	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Whatever manifest, config and layer are, the check ends, without an error
// that is not a finding.
func FuzzGraph(f *testing.F) {
	p := newPlace()
	i := newImage(f, p).tar("d/ d/f=1 d/f=2 l->d h=>d/f .wh.x= d/.wh..wh..opq=")
	root := i.put()
	f.Add(p.blobs[root.Digest], p.blobs[i.manifest.Config.Digest], p.blobs[i.manifest.Layers[0].Digest])
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), []byte("{}"), tarOf(f, "a=>b"))
	f.Fuzz(func(t *testing.T, manifest, config, packed []byte) {
		p := newPlace()
		i := newImage(t, p)
		i.manifest.Config = p.put(oci.MediaConfig, config)
		i.manifest.Layers = []oci.Descriptor{p.put(oci.MediaLayer, packed)}
		i.config.RootFS.DiffIDs = []oci.Digest{oci.FromBytes(packed)}
		root := p.index(t, p.put(oci.MediaManifest, manifest), i.put(), newImage(t, p).put())
		if _, _, err := check.Graph(t.Context(), p, root, check.Options{Limits: layer.Limits{Bytes: 1 << 20}}); err != nil {
			t.Fatal(err)
		}
	})
}
