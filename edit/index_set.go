// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"maps"
	"slices"

	"github.com/dray-tools/dray/oci"
)

// SetFamily gives the index itself OCI's media type or Docker's; what it lists
// keeps its own. ErrUnsupported if Docker's cannot hold what is in the index;
// annotations are left out of it, with a note.
func (x *Index) SetFamily(docker bool) error {
	if docker == x.IsDocker() {
		return nil
	}
	for _, e := range x.entries {
		if docker && !oci.IsDocker(e.was.MediaType) {
			return notDocker(e.was)
		}
	}
	return x.toFamily(docker)
}

// SetSubject makes the index refer to a manifest. ErrUnsupported of Docker's
// manifest lists.
func (x *Index) SetSubject(d oci.Descriptor) error {
	return x.ociOnly("subject", oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType})
}

// SetArtifactType says what the index is. ErrUnsupported of Docker's manifest
// lists.
func (x *Index) SetArtifactType(t string) error { return x.ociOnly("artifactType", t) }

func (x *Index) ociOnly(key string, value any) error {
	if x.IsDocker() {
		return oci.Errorf(oci.ErrUnsupported, "a manifest list of Docker's has no %s", key)
	}
	return set(x.doc, value, key)
}

// IndexChanges are changes of an index itself and of the descriptors in it; the
// zero value changes nothing.
type IndexChanges struct {
	// Annotations and Remove are those of the index.
	Annotations map[string]string
	Remove      []string
	// EntryAnnotations and EntryRemove are those of the descriptors.
	EntryAnnotations map[string]string
	EntryRemove      []string
	// Platform is what the descriptors say; nil: what they say already. The
	// others, if not nil, are members of it; one that is empty is removed.
	Platform           *oci.Platform
	Variant, OSVersion *string
	OSFeatures         *[]string
	// Force allows a platform that contradicts an image's config. Duplicates
	// allows several images for one platform.
	Force, Duplicates bool
}

// Platforms reports whether the changes concern platforms.
func (c IndexChanges) Platforms() bool {
	return c.Platform != nil || c.Variant != nil || c.OSVersion != nil || c.OSFeatures != nil
}

// Change changes the index, and the descriptors of the entries that are chosen.
// What has been so already stays as it is. ErrPlatform if a platform is not that
// of an image (as far as its config has been read), ErrExists if two images
// would be for one platform that were not before.
func (x *Index) Change(c IndexChanges, chosen []bool) error {
	for _, k := range slices.Sorted(maps.Keys(c.Annotations)) {
		if err := x.Annotate(k, c.Annotations[k]); err != nil {
			return err
		}
	}
	for _, k := range c.Remove {
		x.RemoveAnnotation(k)
	}
	before := x.crowded()
	for i, d := range x.descriptors() {
		if !chosen[i] {
			continue
		}
		if err := x.changeEntry(i, d, c); err != nil {
			return err
		}
	}
	for slot, d := range x.crowded() {
		if _, was := before[slot]; !was && !c.Duplicates {
			return oci.Errorf(oci.ErrExists, "two images%s, one of them %s", forPlatform(d), d.Digest)
		}
	}
	return nil
}

func (x *Index) changeEntry(i int, d oci.Descriptor, c IndexChanges) error {
	for _, k := range slices.Sorted(maps.Keys(c.EntryAnnotations)) {
		if err := x.AnnotateEntry(i, k, c.EntryAnnotations[k]); err != nil {
			return err
		}
	}
	for _, k := range c.EntryRemove {
		x.RemoveEntryAnnotation(i, k)
	}
	if !c.Platforms() {
		return nil
	}
	var p oci.Platform
	if d.Platform != nil {
		p = *d.Platform
	}
	if c.Platform != nil {
		p = *c.Platform
	}
	if c.Variant != nil {
		p.Variant = *c.Variant
	}
	if c.OSVersion != nil {
		p.OSVersion = *c.OSVersion
	}
	if c.OSFeatures != nil {
		p.OSFeatures = *c.OSFeatures
	}
	if p.OS == "" || p.Architecture == "" {
		return oci.Errorf(oci.ErrInvalid, "%s would have a platform without os and architecture", d.Digest)
	}
	if img, ok := x.entries[i].Node.(*Image); ok && contradicts(p, img.Platform()) && !c.Force {
		return oci.Wrap("", string(d.Digest), wrongPlatform(p, img.Platform()))
	}
	return x.writePlatform(i, p)
}

// writePlatform changes the members of a platform one by one, so that others
// stay.
func (x *Index) writePlatform(i int, p oci.Platform) error {
	x.entries[i].was.Platform = &p
	for _, m := range []struct {
		key   string
		value any
		gone  bool
	}{
		{"architecture", p.Architecture, false}, {"os", p.OS, false}, {"os.version", p.OSVersion, p.OSVersion == ""},
		{"os.features", p.OSFeatures, len(p.OSFeatures) == 0}, {"variant", p.Variant, p.Variant == ""},
	} {
		if m.gone {
			x.doc.Remove("manifests", i, "platform", m.key)
		} else if err := x.setEntry(i, m.value, "platform", m.key); err != nil {
			return err
		}
	}
	return nil
}

// crowded finds the platforms that several images are for, with one of them.
func (x *Index) crowded() map[string]oci.Descriptor {
	first, out := map[string]oci.Digest{}, map[string]oci.Descriptor{}
	for _, d := range x.descriptors() {
		slot := slotOf(d)
		if had, ok := first[slot]; ok && slot != "" && had != d.Digest {
			out[slot] = d
		}
		first[slot] = d.Digest
	}
	return out
}
