// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// The annotations that say what an image was made on (image-spec, annotations.md).
const (
	baseName   = v1.AnnotationBaseImageName
	baseDigest = v1.AnnotationBaseImageDigest
)

// SetBase annotates an image or an index with its base: with the name, if there
// is one, and the digest. What has Docker's media types is left as it is, as it
// cannot have annotations.
func SetBase(n Node, name string, d oci.Digest) error {
	switch n := n.(type) {
	case *Image:
		if n.IsDocker() {
			return nil
		}
		if name == "" {
			removeMember(n.manifest, baseName, "annotations")
		} else if err := set(n.manifest, name, "annotations", baseName); err != nil {
			return err
		}
		return set(n.manifest, d, "annotations", baseDigest)
	case *Index:
		if n.IsDocker() {
			return nil
		}
		if name == "" {
			n.RemoveAnnotation(baseName)
		} else if err := n.Annotate(baseName, name); err != nil {
			return err
		}
		return n.Annotate(baseDigest, string(d))
	}
	return nil
}

// ForgetBase takes out what an image or an index says of its base, which it is
// no longer on.
func ForgetBase(n Node) {
	switch n := n.(type) {
	case *Image:
		if n.Annotation(baseName) != "" || n.Annotation(baseDigest) != "" {
			n.note("the annotations about the base are taken out: no layer of it is left")
			removeMember(n.manifest, baseName, "annotations")
			removeMember(n.manifest, baseDigest, "annotations")
		}
	case *Index:
		n.RemoveAnnotation(baseName)
		n.RemoveAnnotation(baseDigest)
	}
}

// Refer makes layer n, counted from 0, a foreign one that is fetched from a URL,
// instead of being copied or mounted (image-spec, layer.md, "Non-Distributable
// Layers"). A layer that is foreign is left as it is.
func (i *Image) Refer(n int, url string) error {
	d := &i.layers[n].Descriptor
	if oci.IsForeign(*d) {
		return nil
	}
	kind := strings.Replace(strings.Replace(d.MediaType, ".layer.v1.", ".layer.nondistributable.v1.", 1), ".rootfs.diff.", ".rootfs.foreign.diff.", 1)
	if !oci.IsForeign(oci.Descriptor{MediaType: oci.ToOCI(kind)}) {
		return oci.Errorf(oci.ErrUnsupported, "a layer of the type %s cannot be referred to by a URL", oci.Quote(d.MediaType))
	}
	if err := setAt(i.manifest, kind, "layers", n, "mediaType"); err != nil {
		return err
	}
	d.MediaType, d.URLs = kind, []string{url}
	return setAt(i.manifest, d.URLs, "layers", n, "urls")
}
