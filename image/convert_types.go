// SPDX-License-Identifier: Apache-2.0

package image

import (
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// families pairs OCI's media types with Docker's for the same thing.
var families = [][2]string{
	{oci.MediaManifest, oci.MediaDockerManifest},
	{oci.MediaIndex, oci.MediaDockerList},
	{oci.MediaConfig, oci.MediaDockerConfig},
	{oci.MediaLayer, oci.MediaDockerPlain},
	{oci.MediaLayerGzip, oci.MediaDockerLayer},
	{oci.MediaLayerZstd, oci.MediaDockerZstd},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", oci.MediaDockerForeign},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd"},
}

// mediaType is what a media type becomes.
func (c *Converter) mediaType(t string) (string, error) {
	from, to := 1, 0
	switch c.o.MediaTypes {
	case "":
		return t, nil
	case "docker":
		from, to = 0, 1
	case "oci":
	default:
		return t, oci.Errorf(oci.ErrInvalid, "media types %s: want oci or docker", oci.Quote(c.o.MediaTypes))
	}
	for _, f := range families {
		if t == f[from] || t == f[to] {
			return f[to], nil
		}
	}
	if to == 1 {
		return t, oci.Errorf(oci.ErrUnsupported, "%s is no media type of Docker's: artifacts and attestations can only be left out, by choosing platforms or images without them", oci.Quote(t))
	}
	return t, nil
}

// tarTypes are the media types of layers that can be packed differently.
var tarTypes = map[string]layer.Compression{
	oci.MediaLayer: layer.None, oci.MediaLayerGzip: layer.Gzip, oci.MediaLayerZstd: layer.Zstd,
	oci.MediaDockerPlain: layer.None, oci.MediaDockerLayer: layer.Gzip, oci.MediaDockerZstd: layer.Zstd,
}

// wants reports whether a layer has to be packed differently. The media type
// says how it is packed now.
func (c *Converter) wants(d oci.Descriptor) (bool, error) {
	p := c.o.Packing
	if p == nil || !oci.IsLayer(d.MediaType) || oci.IsForeign(d) {
		return false, nil
	}
	now, ok := tarTypes[d.MediaType]
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
