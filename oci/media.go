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

// AnnotationAbout is BuildKit's: it says which child of an index an attestation,
// another child, is about.
const AnnotationAbout = "vnd.docker.reference.digest"

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
	return strings.Contains(ToOCI(d.MediaType), ".layer.nondistributable.")
}

// families pairs OCI's media types with Docker's for the same thing.
var families = [][2]string{
	{MediaManifest, MediaDockerManifest},
	{MediaIndex, MediaDockerList},
	{MediaConfig, MediaDockerConfig},
	{MediaLayer, MediaDockerPlain},
	{MediaLayerGzip, MediaDockerLayer},
	{MediaLayerZstd, MediaDockerZstd},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MediaDockerForeign},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd"},
}

// IsDocker reports whether a media type is one of Docker's that has a
// counterpart of OCI's.
func IsDocker(mediaType string) bool { return ToOCI(mediaType) != mediaType }

// ToOCI is OCI's media type for the same thing; what is not Docker's stays.
func ToOCI(mediaType string) string {
	for _, f := range families {
		if mediaType == f[1] {
			return f[0]
		}
	}
	return mediaType
}

// ToDocker is Docker's media type for the same thing, if there is one.
func ToDocker(mediaType string) (string, bool) {
	for _, f := range families {
		if mediaType == f[0] || mediaType == f[1] {
			return f[1], true
		}
	}
	return mediaType, false
}
