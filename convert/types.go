// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// mediaType is what a media type becomes.
func (c *Converter) mediaType(t string) (string, error) {
	switch c.o.MediaTypes {
	case "":
		return t, nil
	case "oci":
		return oci.ToOCI(t), nil
	case "docker":
		if to, ok := oci.ToDocker(t); ok {
			return to, nil
		}
		return t, oci.Errorf(oci.ErrUnsupported, "%s is no media type of Docker's: artifacts and attestations can only be left out, by choosing platforms or images without them", oci.Quote(t))
	}
	return t, oci.Errorf(oci.ErrInvalid, "media types %s: want oci or docker", oci.Quote(c.o.MediaTypes))
}

// wants reports whether a layer has to be packed differently. The media type
// says how it is packed now.
func (c *Converter) wants(d oci.Descriptor) (bool, error) {
	p := c.o.Packing
	if p == nil || !oci.IsLayer(d.MediaType) || oci.IsForeign(d) {
		return false, nil
	}
	now, ok := layer.CompressionOf(d.MediaType)
	switch {
	case c.o.PlainOnly:
		return ok && now == layer.None, nil
	case !ok:
		return false, oci.Errorf(oci.ErrUnsupported, "layer %s of the type %s cannot be packed differently", d.Digest, oci.Quote(d.MediaType))
	case p.Level != 0:
		return true, nil
	case p.Estargz:
		return d.Annotations[layer.AnnotationTOC] == "", nil
	}
	return p.MediaType(d.MediaType) != d.MediaType, nil
}

// describesPacking reports whether an annotation of a layer is about how it was
// packed.
func describesPacking(key string) bool {
	for _, prefix := range []string{"containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
