// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"slices"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// An Index is an index that is being changed, with what its entries lead to.
type Index struct {
	g       *graph        // nil if it is new
	man     *oci.Manifest // as it was; nil if it is new
	kind    string
	doc     *jsonedit.Document
	entries []*Entry
	notes   []string
}

// An Entry is a line of an index, and what it leads to.
type Entry struct {
	Node
	was oci.Descriptor // as the index has it; zero if it is new
}

// NewIndex makes an index without entries. docker makes it one of Docker's
// manifest lists.
func NewIndex(docker bool) (*Index, error) {
	kind := oci.MediaIndex
	if docker {
		kind = oci.MediaDockerList
	}
	doc, err := jsonedit.Parse([]byte(`{"schemaVersion":2,"mediaType":"` + kind + `","manifests":[]}`))
	return &Index{kind: kind, doc: doc}, err
}

func ofIndex(g *graph, m *oci.Manifest) (*Index, error) {
	doc, err := jsonedit.Parse(m.Raw)
	return &Index{g: g, man: m, kind: m.Descriptor.MediaType, doc: doc}, err
}

// Was implements Node.
func (x *Index) Was() oci.Descriptor {
	if x.man == nil {
		return oci.Descriptor{}
	}
	return x.man.Descriptor
}

// IsDocker reports whether it is a manifest list of Docker's.
func (x *Index) IsDocker() bool { return oci.IsDocker(x.kind) }

// Entries are the lines of the index as they are now.
func (x *Index) Entries() []*Entry { return x.entries }

// Descriptor is an entry as the index had it when it was loaded or added, with
// its platform and annotations.
func (e *Entry) Descriptor() oci.Descriptor { return e.was }

// Raw is the JSON as it is now, in which what the entries have become is not
// seen before Seal.
func (x *Index) Raw() []byte { return x.doc.Bytes() }

// Add appends an entry. d has the platform, annotations and artifact type that
// the entry shall have; digest, size and media type come from n. Without a
// platform, that of the image's config is taken.
func (x *Index) Add(n Node, d oci.Descriptor) error {
	if img, ok := n.(*Image); ok && d.Platform == nil && !img.IsArtifact() {
		if p := img.Platform(); p.OS != "" {
			d.Platform = &p
		}
	}
	was := n.Was()
	d.MediaType, d.Digest, d.Size = was.MediaType, was.Digest, was.Size
	if err := x.doc.Set(d, "manifests", len(x.entries)); err != nil {
		return err
	}
	x.entries = append(x.entries, &Entry{Node: n, was: d})
	return nil
}

// RemoveEntry takes out entry n.
func (x *Index) RemoveEntry(n int) {
	if x.doc.Remove("manifests", n) {
		x.entries = slices.Delete(x.entries, n, n+1)
	}
}

// Annotation is an annotation of the index itself as it is now.
func (x *Index) Annotation(key string) string {
	var v string
	_ = json.Unmarshal(x.doc.Get("annotations", key), &v)
	return v
}

// Annotate sets an annotation of the index itself. ErrNoAnnotations of Docker's
// manifest lists.
func (x *Index) Annotate(key, value string) error {
	if x.IsDocker() {
		return ErrNoAnnotations
	}
	return set(x.doc, value, "annotations", key)
}

// RemoveAnnotation takes out an annotation of the index itself, and the object
// around it if that is empty then.
func (x *Index) RemoveAnnotation(key string) { removeMember(x.doc, key, "annotations") }

// AnnotateEntry sets an annotation of the descriptor of entry n.
// ErrNoAnnotations of Docker's manifest lists.
func (x *Index) AnnotateEntry(n int, key, value string) error {
	if x.IsDocker() {
		return ErrNoAnnotations
	}
	return x.setEntry(n, value, "annotations", key)
}

// RemoveEntryAnnotation takes out an annotation of the descriptor of entry n.
func (x *Index) RemoveEntryAnnotation(n int, key string) {
	removeMember(x.doc, key, "manifests", n, "annotations")
}

// SetPlatform sets the platform that entry n says.
func (x *Index) SetPlatform(n int, p oci.Platform) error {
	x.entries[n].was.Platform = &p
	return x.setEntry(n, p, "platform")
}

func (x *Index) setEntry(n int, value any, at ...any) error {
	return setAt(x.doc, value, append([]any{"manifests", n}, at...)...)
}

// removeMember takes a key out of an object, and the object if it is empty then.
func removeMember(doc *jsonedit.Document, key string, at ...any) {
	if doc.Remove(append(slices.Clone(at), key)...) && doc.Len(at...) == 0 {
		doc.Remove(at...)
	}
}

func (x *Index) seal(s *Sealed) (m *oci.Manifest, err error) {
	sealed := *x // x stays as it is, to be edited on
	sealed.entries = slices.Clone(x.entries)
	if sealed.doc, err = jsonedit.Parse(x.doc.Bytes()); err != nil {
		return nil, err
	}
	return sealed.sealed(s)
}

// sealed is seal of an index that is given up.
func (x *Index) sealed(s *Sealed) (*oci.Manifest, error) {
	for _, text := range x.notes {
		s.note(text)
	}
	changed := map[oci.Digest]bool{} // images that are others now
	for n, e := range x.entries {
		m, err := e.Node.seal(s)
		if err != nil {
			return nil, err
		}
		if now := m.Descriptor; now.Digest != e.was.Digest {
			if e.was.Digest != "" {
				changed[e.was.Digest] = true
			}
			if err := x.point(n, now); err != nil {
				return nil, err
			}
		}
		if err := x.platform(n, e); err != nil {
			return nil, err
		}
	}
	if err := x.checkPlatforms(); err != nil {
		return nil, err
	}
	for n := range x.entries { // one that is there several times may be so still
		delete(changed, x.digest(n))
	}
	x.dropAttestations(s, changed)
	if len(x.entries) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "an index without entries")
	}
	return s.manifest(x.g, x.man, x.kind, x.doc)
}

// digest is what an entry leads to now.
func (x *Index) digest(n int) (d oci.Digest) {
	_ = json.Unmarshal(x.doc.Get("manifests", n, "digest"), &d)
	return d
}

// point makes an entry lead to another manifest.
func (x *Index) point(n int, now oci.Descriptor) error {
	err := x.setEntry(n, now.MediaType, "mediaType")
	if err == nil {
		err = x.setEntry(n, now.Digest, "digest")
	}
	if err == nil {
		err = x.setEntry(n, now.Size, "size")
	}
	x.doc.Remove("manifests", n, "data")
	x.doc.Remove("manifests", n, "urls")
	return err
}

// platform brings the platform of an entry up to date, if the image's is
// another than it was.
func (x *Index) platform(n int, e *Entry) error {
	img, ok := e.Node.(*Image)
	if !ok || img.was == nil || e.was.Digest == "" {
		return nil
	}
	was, now := img.was.Platform, img.Platform()
	if isNull(x.doc.Get("manifests", n, "platform")) {
		if samePlatform(was, now) {
			return nil
		}
		return x.setEntry(n, now, "platform")
	}
	for _, m := range []struct {
		name         string
		stays, empty bool
		value        any
	}{
		{"os", was.OS == now.OS, now.OS == "", now.OS},
		{"architecture", was.Architecture == now.Architecture, now.Architecture == "", now.Architecture},
		{"variant", was.Variant == now.Variant, now.Variant == "", now.Variant},
		{"os.version", was.OSVersion == now.OSVersion, now.OSVersion == "", now.OSVersion},
		{"os.features", slices.Equal(was.OSFeatures, now.OSFeatures), len(now.OSFeatures) == 0, now.OSFeatures},
	} {
		switch {
		case m.stays:
		case m.empty:
			x.doc.Remove("manifests", n, "platform", m.name)
		default:
			if err := x.setEntry(n, m.value, "platform", m.name); err != nil {
				return err
			}
		}
	}
	return nil
}

func samePlatform(a, b oci.Platform) bool {
	return a.OS == b.OS && a.Architecture == b.Architecture && a.Variant == b.Variant && a.OSVersion == b.OSVersion && slices.Equal(a.OSFeatures, b.OSFeatures)
}

// dropAttestations takes out what speaks about images that are no longer there.
func (x *Index) dropAttestations(s *Sealed, changed map[oci.Digest]bool) {
	for n := len(x.entries) - 1; n >= 0; n-- {
		if changed[oci.Digest(x.entries[n].was.Annotations[oci.AnnotationAbout])] {
			s.note("attestation " + string(x.entries[n].was.Digest) + " is left out: the image that it is about has changed")
			x.RemoveEntry(n)
		}
	}
}
