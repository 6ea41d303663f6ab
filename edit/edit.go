// SPDX-License-Identifier: Apache-2.0

// Package edit changes images and indexes as values: what no edit touches keeps
// its bytes, its order and the members that nobody knows.
//
// [Load] reads an image, or an index with its images. An [Edit] changes an
// [Image]; an [Index] has methods of its own. [Seal] gives all of it bytes and
// digests, as a source that can be copied; no layer is read for any of that.
package edit

import (
	"context"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

// An Edit is a change of an image. After an error the image is of no use.
type Edit func(*Image) error

// A Node is an *Image, an *Index, or *Other.
type Node interface {
	// seal makes the manifest, and notes in s where everything is.
	seal(s *Sealed) (*oci.Manifest, error)
	// Was is the descriptor that it had when it was loaded; zero if it is new.
	Was() oci.Descriptor
}

// Other is a manifest that is not edited, with all that it leads to: an
// attestation, an artifact, an image that was not chosen.
type Other struct {
	Manifest *oci.Manifest
	g        *graph
}

// Was implements Node.
func (o *Other) Was() oci.Descriptor { return o.Manifest.Descriptor }

// graph is what Load has read.
type graph struct {
	source    oci.Source
	manifests map[oci.Digest]*oci.Manifest
}

// Options choose what Load reads.
type Options struct {
	// Choose tells which entries of an index are edited; nil: all images. The
	// others become *Other. Entries of nested indexes are asked about as well,
	// the nested indexes are not.
	Choose func(d oci.Descriptor) bool
	// Only leaves the others out of the index instead, and does not read them.
	Only bool
	// Leave tells which entries of indexes stay in them and are not read, as they
	// will be taken out; nil: none. With one of them an index cannot be sealed.
	Leave func(d oci.Descriptor) bool
}

// keep tells which entries of indexes are read; nil: all.
func (o Options) keep() func(d oci.Descriptor) bool {
	if o.Leave != nil {
		return func(d oci.Descriptor) bool { return !o.Leave(d) }
	}
	if !o.Only || o.Choose == nil {
		return nil
	}
	return func(d oci.Descriptor) bool { return oci.IsIndex(d.MediaType) || o.Choose(d) && !isAttestation(d) }
}

// Load reads an image or an index, with the manifests of all that it leads to
// and the configs of the images that are chosen. ErrInvalid if one of them is
// broken, or does not have a diff ID for each layer. An artifact that is not in
// an index becomes an *Image without a config.
func Load(ctx context.Context, s oci.Source, d oci.Descriptor, o Options) (Node, error) {
	tree, err := oci.Graph{Root: d, Source: s}.Load(ctx, o.keep())
	if err != nil {
		return nil, err
	}
	l := &loading{o: o, g: &graph{source: s, manifests: map[oci.Digest]*oci.Manifest{}}}
	for _, m := range tree.Manifests {
		l.g.manifests[m.Descriptor.Digest] = m
	}
	root := tree.Root()
	var top Node
	if root.IsIndex() {
		top, err = l.index(root)
	} else {
		top, err = l.image(root)
	}
	if err != nil {
		return nil, err
	}
	err = oci.Parallel(ctx, len(l.images), func(ctx context.Context, i int) error {
		img := l.images[i]
		was, err := image.Of(ctx, s, img.man)
		if err != nil {
			return oci.Wrap("", string(img.man.Descriptor.Digest), err)
		}
		return img.start(was)
	})
	return top, err
}

// Images are the images below a node that are edited, in the order of their index.
func Images(n Node) (all []*Image) {
	switch n := n.(type) {
	case *Image:
		return []*Image{n}
	case *Index:
		for _, e := range n.entries {
			all = append(all, Images(e.Node)...)
		}
	}
	return all
}

// A loading builds nodes of the manifests that were read.
type loading struct {
	o      Options
	g      *graph
	images []*Image // whose configs have to be read
}

func (l *loading) image(m *oci.Manifest) (*Image, error) {
	img, err := ofManifest(l.g, m)
	if err == nil && isImage(m) {
		l.images = append(l.images, img)
	}
	return img, err
}

// isImage reports whether a manifest is that of an image, and no artifact.
func isImage(m *oci.Manifest) bool {
	return !m.IsIndex() && m.Config != nil && oci.IsConfig(m.Config.MediaType)
}

func (l *loading) index(m *oci.Manifest) (*Index, error) {
	x, err := ofIndex(l.g, m)
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		child := l.g.manifests[d.Digest]
		e := &Entry{was: d}
		switch {
		case child == nil: // a blob that an index lists, or what was not read
			e.Node = &Other{Manifest: &oci.Manifest{Descriptor: d}, g: l.g}
		case child.IsIndex():
			e.Node, err = l.index(child)
		case isImage(child) && !isAttestation(d) && (l.o.Choose == nil || l.o.Choose(d)):
			e.Node, err = l.image(child)
		default:
			e.Node = &Other{Manifest: child, g: l.g}
		}
		if err != nil {
			return nil, err
		}
		x.entries = append(x.entries, e)
	}
	if keep := l.o.keep(); keep != nil && l.o.Leave == nil {
		x.filter(keep)
	}
	return x, nil
}

// filter takes out the entries that are not kept, and indexes that are empty then.
func (x *Index) filter(keep func(oci.Descriptor) bool) {
	for n := len(x.entries) - 1; n >= 0; n-- {
		sub, nested := x.entries[n].Node.(*Index)
		if !keep(x.entries[n].was) || nested && len(sub.entries) == 0 {
			x.RemoveEntry(n)
		}
	}
}

// isAttestation reports whether an entry of an index is one of BuildKit's
// attestations, which look like images.
func isAttestation(d oci.Descriptor) bool {
	return d.Annotations[oci.AnnotationAbout] != "" || d.Platform != nil && d.Platform.OS == "unknown"
}

func (o *Other) seal(s *Sealed) (*oci.Manifest, error) {
	if d := o.Manifest.Descriptor; o.Manifest.Raw == nil && oci.IsManifest(d.MediaType) {
		return nil, oci.Errorf(oci.ErrInvalid, "%s is in the index and has not been read", d.Digest)
	}
	s.keep(o.g, o.Manifest)
	return o.Manifest, nil
}
