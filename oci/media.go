// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of manifests, indexes and configs, OCI's and Docker's.
const (
	MediaManifest       = v1.MediaTypeImageManifest
	MediaIndex          = v1.MediaTypeImageIndex
	MediaConfig         = v1.MediaTypeImageConfig
	MediaLayer          = v1.MediaTypeImageLayer
	MediaLayerGzip      = v1.MediaTypeImageLayerGzip
	MediaLayerZstd      = v1.MediaTypeImageLayerZstd
	MediaEmpty          = v1.MediaTypeEmptyJSON
	MediaArtifact       = "application/vnd.oci.artifact.manifest.v1+json" // withdrawn, but in registries
	MediaDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaDockerConfig   = "application/vnd.docker.container.image.v1+json"
	MediaDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	MediaDockerPlain    = "application/vnd.docker.image.rootfs.diff.tar"
	MediaDockerZstd     = "application/vnd.docker.image.rootfs.diff.tar.zstd" // containerd's and BuildKit's
	MediaDockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	MediaSchema1        = "application/vnd.docker.distribution.manifest.v1+json"
	MediaSchema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// ManifestTypes are the media types that dray asks registries for.
var ManifestTypes = [...]string{MediaIndex, MediaManifest, MediaDockerList, MediaDockerManifest, MediaArtifact}

// IsIndex reports whether the media type is that of an index: an OCI index or
// a Docker manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == MediaIndex || mediaType == MediaDockerList
}

// IsManifest reports whether content of this media type is a manifest or an
// index, and so lives among the manifests of a registry rather than among its
// blobs. Unknown types count if they are named as manifests are.
func IsManifest(mediaType string) bool {
	switch mediaType {
	case MediaManifest, MediaIndex, MediaDockerManifest, MediaDockerList, MediaArtifact, MediaSchema1, MediaSchema1Signed:
		return true
	}
	base, ok := strings.CutSuffix(mediaType, "+json")
	if !ok {
		return false
	}
	base = strings.TrimRight(base, "0123456789.v")
	return strings.HasSuffix(base, ".manifest") || strings.HasSuffix(base, ".index")
}

// IsConfig reports whether the media type is that of an image config with
// operating system, architecture and diff IDs.
func IsConfig(mediaType string) bool {
	return mediaType == MediaConfig || mediaType == MediaDockerConfig
}

// IsLayer reports whether the media type is that of a layer: changes of a
// file system as tar, with any compression, distributable or not.
func IsLayer(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.")
}

// IsForeign reports whether a layer is meant to be fetched from its URLs
// rather than pushed (image-spec, "Non-Distributable Layers"; Docker's foreign
// layers).
func IsForeign(d Descriptor) bool {
	return d.MediaType == MediaDockerForeign || strings.Contains(d.MediaType, ".layer.nondistributable.")
}
