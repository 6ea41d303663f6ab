// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

func described(list []oci.Descriptor) []Layer {
	out := make([]Layer, len(list))
	for i, d := range list {
		out[i] = Layer{Number: i + 1, Digest: d.Digest, Size: d.Size}
	}
	return out
}

// layersOf describes the layers of an image, with their history if it has an
// entry for each.
func layersOf(i *image.Image) []Layer {
	out := described(i.Manifest.Layers)
	var made []string
	for _, h := range i.History {
		if !h.EmptyLayer {
			made = append(made, h.CreatedBy)
		}
	}
	for n := range out {
		out[n].DiffID = i.DiffIDs[n]
		if len(made) == len(out) {
			out[n].History = made[n]
		}
	}
	return out
}

// layers compares stacks of layers: what is the same at the bottom and at the
// top is, what lies between was replaced.
func layers(a, b []Layer) []LayerChange {
	same := func(x, y Layer) bool {
		return x.Digest == y.Digest || x.DiffID != "" && x.DiffID == y.DiffID
	}
	low := 0
	for low < min(len(a), len(b)) && same(a[low], b[low]) {
		low++
	}
	top := 0
	for top < min(len(a), len(b))-low && same(a[len(a)-1-top], b[len(b)-1-top]) {
		top++
	}
	var out []LayerChange
	repacked := func(x, y []Layer) {
		for n := range x {
			if x[n].Digest != y[n].Digest {
				out = append(out, LayerChange{Changed, &x[n], &y[n]})
			}
		}
	}
	repacked(a[:low], b[:low])
	for n := low; n < len(a)-top; n++ {
		out = append(out, LayerChange{Op: Removed, A: &a[n]})
	}
	for n := low; n < len(b)-top; n++ {
		out = append(out, LayerChange{Op: Added, B: &b[n]})
	}
	repacked(a[len(a)-top:], b[len(b)-top:])
	return out
}
