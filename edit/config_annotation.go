// SPDX-License-Identifier: Apache-2.0

package edit

import "github.com/dray-tools/dray/oci"

// ErrNoAnnotations is why what has Docker's media types cannot be annotated.
var ErrNoAnnotations = oci.Errorf(oci.ErrUnsupported, "Docker's media types have no annotations, only OCI's have")

// SetAnnotation sets an annotation of the image's manifest. ErrNoAnnotations if
// it has Docker's media types.
func SetAnnotation(key, value string) Edit {
	return func(i *Image) error {
		switch {
		case key == "":
			return oci.Errorf(oci.ErrInvalid, "an annotation needs a name")
		case i.IsDocker():
			return ErrNoAnnotations
		}
		return set(i.manifest, value, "annotations", key)
	}
}

// RemoveAnnotation takes out an annotation of the image's manifest.
func RemoveAnnotation(key string) Edit {
	return func(i *Image) error {
		removeMember(i.manifest, key, "annotations")
		return nil
	}
}

// On restricts an edit to images of a platform.
func On(p oci.Platform, e Edit) Edit {
	return func(i *Image) error {
		if !oci.MatchPlatform(p, i.Platform()) {
			return nil
		}
		return e(i)
	}
}

// An IndexEdit is a change of an index itself.
type IndexEdit func(*Index) error

// AnnotateIndex sets an annotation of the index; see [Index.Annotate].
func AnnotateIndex(key, value string) IndexEdit {
	return func(x *Index) error { return x.Annotate(key, value) }
}

// RemoveIndexAnnotation takes out an annotation of the index.
func RemoveIndexAnnotation(key string) IndexEdit {
	return func(x *Index) error {
		x.RemoveAnnotation(key)
		return nil
	}
}

// AnnotateEntries sets an annotation of the descriptors of all images that are
// edited, those in nested indexes too, or, if p is given, of those for that
// platform.
func AnnotateEntries(p *oci.Platform, key, value string) IndexEdit {
	return func(x *Index) error {
		return x.each(p, func(x *Index, n int) error { return x.AnnotateEntry(n, key, value) })
	}
}

// RemoveEntryAnnotations takes out what AnnotateEntries sets.
func RemoveEntryAnnotations(p *oci.Platform, key string) IndexEdit {
	return func(x *Index) error {
		return x.each(p, func(x *Index, n int) error {
			x.RemoveEntryAnnotation(n, key)
			return nil
		})
	}
}

// each visits the entries of images that are edited.
func (x *Index) each(p *oci.Platform, do func(x *Index, n int) error) error {
	for n, e := range x.entries {
		var err error
		switch node := e.Node.(type) {
		case *Index:
			err = node.each(p, do)
		case *Image:
			if p == nil || oci.MatchPlatform(*p, node.Platform()) {
				err = do(x, n)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
