// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"strings"

	"github.com/dray-tools/dray/oci"
)

// ReplaceLayer puts another layer in the place of layer n. The line of history,
// and what the descriptor says beside the content, stay.
func ReplaceLayer(n int, l Layer) Edit {
	return func(i *Image) error {
		if n < 0 || n >= len(i.layers) {
			return oci.Errorf(oci.ErrInvalid, "image has %d layers, there is no number %d", len(i.layers), n+1)
		}
		if _, err := oci.ParseDigest(string(l.DiffID)); err != nil {
			return oci.Errorf(oci.ErrInvalid, "diff ID of a layer: %w", err)
		}
		kind, err := i.family(l.Descriptor.MediaType)
		l.Descriptor.MediaType = kind
		for _, m := range []struct {
			key   string
			value any
		}{{"mediaType", kind}, {"digest", l.Descriptor.Digest}, {"size", l.Descriptor.Size}} {
			if err == nil {
				err = setAt(i.manifest, m.value, "layers", n, m.key)
			}
		}
		if err == nil {
			err = setAt(i.config, l.DiffID, "rootfs", "diff_ids", n)
		}
		i.manifest.Remove("layers", n, "data")
		i.manifest.Remove("layers", n, "urls")
		for key := range i.layers[n].Descriptor.Annotations {
			if aboutContent(key) {
				removeMember(i.manifest, key, "layers", n, "annotations")
			}
		}
		i.layers[n] = l
		return err
	}
}

// aboutContent reports whether an annotation of a layer says how it is packed,
// or what it unpacks to.
func aboutContent(key string) bool {
	for _, prefix := range []string{"containerd.io/", "io.containers.", "io.github.containers."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
