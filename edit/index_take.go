// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// TakeOptions say how an index takes something in. The zero value takes an image
// with the platform of its config, and of an index its entries as they are.
type TakeOptions struct {
	// Platform is what the entry of an image says; what it leaves open (variant,
	// os.version, os.features) comes from the image's config. Of an index it
	// chooses the image that is taken.
	Platform *oci.Platform
	// Annotations are set on the descriptors of the entries.
	Annotations map[string]string
	// Only chooses among the entries of an index; empty: all.
	Only []Pattern
	// Nested makes an index an entry, where else its entries are taken over.
	Nested bool
	// Replace puts an image in the place of that for the same platform.
	Replace bool
	// Duplicates allows several images for one platform.
	Duplicates bool
	// Force allows a Platform that contradicts the image's config.
	Force bool
}

// From tells which entries of an index are taken. Errors are those of
// [Choice.Among].
func (o TakeOptions) From(list []oci.Descriptor) ([]bool, error) {
	switch {
	case o.Platform != nil:
		return Choice{Platforms: []Pattern{exactly(*o.Platform)}}.Keep(list)
	case len(o.Only) > 0:
		return Choice{Platforms: o.Only}.Keep(list)
	}
	return slices.Repeat([]bool{true}, len(list)), nil
}

// Take puts an image, an artifact or an index into this index. What is there
// already is not put there again. ErrExists if there is another image for the
// same platform, ErrPlatform if the platform is not that of the image,
// ErrNotDocker if a manifest list of Docker's would get what is not Docker's,
// ErrNotFound if an index has not what the options choose.
func (x *Index) Take(n Node, o TakeOptions) error {
	t := x.table()
	var err error
	if from, ok := n.(*Index); ok && !o.Nested {
		err = x.splice(from, o, t)
	} else {
		err = x.takeOne(n, o, t)
	}
	if err != nil || len(t.gone) == 0 {
		return err
	}
	return x.drop(func(i int) bool { return t.gone[i] })
}

// takeOne makes an entry of what n is.
func (x *Index) takeOne(n Node, o TakeOptions, t *table) error {
	var d oci.Descriptor
	img, _ := n.(*Image)
	switch {
	case img != nil && !img.IsArtifact():
		p, err := entryPlatform(img.Platform(), o)
		if err != nil {
			return err
		}
		d.Platform = p
	case o.Platform != nil:
		d.Platform = o.Platform
	}
	if m := manifestOf(n); m != nil && (img == nil || img.IsArtifact()) {
		d.ArtifactType = m.ArtifactType
	}
	was := n.Was()
	d.MediaType, d.Digest, d.Size = was.MediaType, was.Digest, was.Size
	return x.take(n, d, d, o, t)
}

// entryPlatform is what the entry of an image says of its platform.
func entryPlatform(have oci.Platform, o TakeOptions) (*oci.Platform, error) {
	if o.Platform == nil {
		if have.OS == "" {
			return nil, nil
		}
		return &have, nil
	}
	p := *o.Platform
	if contradicts(p, have) {
		if !o.Force {
			return nil, wrongPlatform(p, have)
		}
		return &p, nil
	}
	if p.Variant == "" {
		p.Variant = have.Variant
	}
	if p.OSVersion == "" {
		p.OSVersion = have.OSVersion
	}
	if p.OSFeatures == nil {
		p.OSFeatures = have.OSFeatures
	}
	return &p, nil
}

// contradicts reports whether a platform cannot be that of an image whose config
// says another. A variant or os.version that one of them leaves out may be any.
func contradicts(p, have oci.Platform) bool {
	a, b := oci.NormalizePlatform(p), oci.NormalizePlatform(have)
	return have.OS != "" && (a.OS != b.OS || a.Architecture != b.Architecture ||
		p.Variant != "" && have.Variant != "" && a.Variant != b.Variant ||
		p.OSVersion != "" && have.OSVersion != "" && p.OSVersion != have.OSVersion)
}

// ErrNotDocker is why a manifest list of Docker's cannot hold something.
var ErrNotDocker = oci.Errorf(oci.ErrUnsupported, "a manifest list of Docker's holds Docker's images alone")

func notDocker(d oci.Descriptor) error {
	return oci.Errorf(ErrNotDocker, "%s is %s, which a manifest list of Docker's cannot hold", d.Digest, oci.Quote(d.MediaType))
}

// ErrPlatform is why a platform cannot be given to an image.
var ErrPlatform = oci.Errorf(oci.ErrInvalid, "the image's config says another platform")

func wrongPlatform(p, have oci.Platform) error {
	return oci.Errorf(ErrPlatform, "the image is for %s, not for %s", oci.FormatPlatform(have), oci.FormatPlatform(p))
}

func manifestOf(n Node) *oci.Manifest {
	switch n := n.(type) {
	case *Image:
		return n.man
	case *Index:
		return n.man
	case *Other:
		return n.Manifest
	}
	return nil
}

// splice takes over the entries of another index, as they are written there.
func (x *Index) splice(from *Index, o TakeOptions, t *table) error {
	list := from.descriptors()
	chosen, err := o.From(list)
	if err != nil {
		return err
	}
	for i, e := range from.entries {
		if !chosen[i] {
			continue
		}
		d := list[i]
		var written any = json.RawMessage(from.doc.Get("manifests", i))
		if e.was.Platform == nil && d.Platform != nil {
			written = d
		}
		if err := x.take(e.Node, d, written, o, t); err != nil {
			return err
		}
	}
	return nil
}

// descriptors are the entries, those of images with a platform: if the index
// does not say it, their config does.
func (x *Index) descriptors() []oci.Descriptor {
	out := make([]oci.Descriptor, len(x.entries))
	for i, e := range x.entries {
		out[i] = e.was
		if img, ok := e.Node.(*Image); ok && e.was.Platform == nil {
			if p := img.Platform(); p.OS != "" {
				out[i].Platform = &p
			}
		}
	}
	return out
}

// take puts an entry at the end, written as it is.
func (x *Index) take(n Node, d oci.Descriptor, written any, o TakeOptions, t *table) error {
	if x.IsDocker() && !oci.IsDocker(d.MediaType) {
		return notDocker(d)
	}
	at, there := t.same[sameAs(d)]
	if there {
		x.note(fmt.Sprintf("%s%s is there already", d.Digest, forPlatform(d)))
	} else {
		if err := x.room(d, o, t); err != nil {
			return err
		}
		at = len(x.entries)
		if err := x.doc.Set(written, "manifests", at); err != nil {
			return err
		}
		x.entries = append(x.entries, &Entry{Node: n, was: d})
		t.add(d)
	}
	for _, k := range slices.Sorted(maps.Keys(o.Annotations)) {
		if isAttestation(d) {
			break
		}
		if err := x.AnnotateEntry(at, k, o.Annotations[k]); err != nil {
			return err
		}
	}
	return nil
}

// room looks what is in the way of an entry, and notes in t what has to go.
func (x *Index) room(d oci.Descriptor, o TakeOptions, t *table) error {
	slot := slotOf(d)
	for _, i := range t.slots[slot] {
		switch have := t.list[i]; {
		case slot == "" || have.Digest == d.Digest || o.Duplicates || t.gone[i]:
		case o.Replace:
			x.note(fmt.Sprintf("%s%s gives way to %s", have.Digest, forPlatform(have), d.Digest))
			t.gone[i] = true
		default:
			return oci.Errorf(oci.ErrExists, "two images%s: %s and %s", forPlatform(d), have.Digest, d.Digest)
		}
	}
	return nil
}

// A table finds entries of an index while others are added.
type table struct {
	list  []oci.Descriptor
	same  map[string]int
	slots map[string][]int
	gone  map[int]bool // that are replaced
}

func (x *Index) table() *table {
	t := &table{same: map[string]int{}, slots: map[string][]int{}, gone: map[int]bool{}}
	for _, d := range x.descriptors() {
		t.add(d)
	}
	return t
}

func (t *table) add(d oci.Descriptor) {
	i := len(t.list)
	t.list = append(t.list, d)
	t.slots[slotOf(d)] = append(t.slots[slotOf(d)], i)
	if _, there := t.same[sameAs(d)]; !there {
		t.same[sameAs(d)] = i
	}
}

// sameAs is equal for entries of the same content that say the same of it.
func sameAs(d oci.Descriptor) string {
	p, _ := json.Marshal(d.Platform) // a value that can be
	return string(d.Digest) + " " + d.Annotations[oci.AnnotationAbout] + " " + string(p)
}

// slotOf names the platform that an image takes up in an index; "" of what is for
// none.
func slotOf(d oci.Descriptor) string {
	if d.Platform == nil || d.Platform.OS == "" || isAttestation(d) {
		return ""
	}
	p := oci.NormalizePlatform(*d.Platform)
	features := slices.Clone(p.OSFeatures)
	slices.Sort(features)
	return fmt.Sprintf("%q", []string{p.OS, p.Architecture, p.Variant, p.OSVersion, strings.Join(features, "\x00")})
}

func forPlatform(d oci.Descriptor) string {
	if d.Platform == nil || isAttestation(d) {
		return ""
	}
	return " for " + oci.FormatPlatform(*d.Platform)
}

func (x *Index) note(text string) {
	if text != "" {
		x.notes = append(x.notes, text)
	}
}
