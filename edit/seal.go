// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// Sealed is what an edit has made: a source that has the graph of Root. What
// was there before is read where it is, and only if somebody wants it. It is
// safe for concurrent use.
type Sealed struct {
	Root  oci.Descriptor
	Notes []string // what was decided or left out

	made  map[oci.Digest]oci.Blob      // in no place yet
	known map[oci.Digest]*oci.Manifest // that have been read
	parts map[oci.Digest]oci.Source    // what has the others
}

// Seal gives a node its bytes and digest. A node that nothing has changed keeps
// those that it had. Of nodes with the same content, and of blobs in several
// places, the place that was noted first counts: those that an image had before
// come before those that it got.
func Seal(n Node) (*Sealed, error) {
	s := &Sealed{made: map[oci.Digest]oci.Blob{}, known: map[oci.Digest]*oci.Manifest{}, parts: map[oci.Digest]oci.Source{}}
	s.originals(n)
	m, err := n.seal(s)
	if err != nil {
		return nil, err
	}
	s.Root = m.Descriptor
	return s, nil
}

// Of is the manifest or index that a node has become, which is the sealed one or
// below it.
func (s *Sealed) Of(n Node) (*oci.Manifest, error) { return n.seal(s) }

// originals notes where all is that images had before they were changed.
func (s *Sealed) originals(n Node) {
	switch n := n.(type) {
	case *Image:
		if n.man != nil {
			s.keep(n.g, n.man)
		}
	case *Index:
		for _, e := range n.entries {
			s.originals(e.Node)
		}
	}
}

// keep notes where a manifest is that stays, and all that it leads to.
func (s *Sealed) keep(g *graph, m *oci.Manifest) {
	d := m.Descriptor.Digest
	if s.at(d, g.source); m.Raw == nil {
		return
	}
	s.known[d] = m
	for _, c := range m.Children() {
		if child := g.manifests[c.Digest]; child != nil && m.IsIndex() {
			s.keep(g, child)
		} else {
			s.at(c.Digest, g.source)
		}
	}
}

func (s *Sealed) at(d oci.Digest, from oci.Source) {
	if s.parts[d] == nil {
		s.parts[d] = from
	}
}

func (s *Sealed) note(text string) {
	if !slices.Contains(s.Notes, text) {
		s.Notes = append(s.Notes, text)
	}
}

// manifest makes a manifest of what a document has become.
func (s *Sealed) manifest(g *graph, was *oci.Manifest, kind string, doc *jsonedit.Document) (*oci.Manifest, error) {
	raw := doc.Bytes()
	if was != nil && kind == was.Descriptor.MediaType && bytes.Equal(raw, was.Raw) {
		s.at(was.Descriptor.Digest, g.source)
		s.known[was.Descriptor.Digest] = was
		return was, nil
	}
	m, err := oci.ParseManifest(kind, raw)
	if err != nil {
		return nil, err
	}
	if s.parts[m.Descriptor.Digest] == nil {
		s.made[m.Descriptor.Digest] = m.Blob()
	}
	return m, nil
}

func (i *Image) seal(s *Sealed) (m *oci.Manifest, err error) {
	sealed := *i // i stays as it is, to be edited on
	if sealed.manifest, err = jsonedit.Parse(i.manifest.Bytes()); err != nil {
		return nil, err
	}
	return sealed.sealed(s)
}

// sealed is seal of an image that is given up.
func (i *Image) sealed(s *Sealed) (*oci.Manifest, error) {
	for _, text := range i.notes {
		s.note(text)
	}
	if i.config != nil {
		if err := i.sealConfig(s); err != nil {
			return nil, err
		}
	}
	for _, l := range i.layers {
		if l.Blob != nil && s.parts[l.Descriptor.Digest] == nil {
			s.made[l.Descriptor.Digest] = l.Blob
		} else if l.Blob == nil {
			s.at(l.Descriptor.Digest, l.From)
		}
	}
	return s.manifest(i.g, i.man, i.kind, i.manifest)
}

func (i *Image) sealConfig(s *Sealed) error {
	raw := i.config.Bytes()
	if i.was != nil && bytes.Equal(raw, i.was.Config) {
		return nil // its media type has been set with the manifest's
	}
	if _, _, err := parseConfig(raw, len(i.layers)); err != nil {
		return oci.Wrap("", "what was made", err)
	}
	kind := oci.MediaConfig
	if i.IsDocker() {
		kind = oci.MediaDockerConfig
	}
	b := oci.Bytes(kind, raw)
	d := b.Descriptor()
	if s.parts[d.Digest] == nil {
		s.made[d.Digest] = b
	}
	err := setAt(i.manifest, kind, "config", "mediaType")
	if err == nil {
		err = setAt(i.manifest, d.Digest, "config", "digest")
	}
	if err == nil {
		err = setAt(i.manifest, d.Size, "config", "size")
	}
	i.manifest.Remove("config", "data")
	i.manifest.Remove("config", "urls")
	return err
}

// Part implements oci.Composite.
func (s *Sealed) Part(d oci.Digest) oci.Source { return s.parts[d] }

// Resolve implements oci.Source: of digests, as there are no names.
func (s *Sealed) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if name == string(s.Root.Digest) {
		return s.Root, nil
	}
	if m := s.known[oci.Digest(name)]; m != nil {
		return m.Descriptor, nil
	}
	return s.Stat(ctx, oci.Descriptor{Digest: oci.Digest(name)})
}

// Stat implements oci.Source.
func (s *Sealed) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := s.made[d.Digest]; b != nil {
		return b.Descriptor(), nil
	}
	if from := s.parts[d.Digest]; from != nil {
		return from.Stat(ctx, d)
	}
	return d, s.none(d)
}

// Open implements oci.Source.
func (s *Sealed) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if b := s.made[d.Digest]; b != nil {
		return b.Open(ctx)
	}
	if m := s.known[d.Digest]; m != nil {
		return m.Blob().Open(ctx)
	}
	if from := s.parts[d.Digest]; from != nil {
		return from.Open(ctx, d)
	}
	return nil, s.none(d)
}

// OpenRange implements oci.Ranger.
func (s *Sealed) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if b, ok := s.made[d.Digest].(oci.RangeBlob); ok {
		return b.OpenRange(ctx, offset, length)
	}
	if from := s.parts[d.Digest]; from != nil {
		if r, ok := oci.As[oci.Ranger](from); ok {
			return r.OpenRange(ctx, d, offset, length)
		}
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "%s has to be read from its start", d.Digest)
}

func (s *Sealed) none(d oci.Descriptor) error {
	return oci.Errorf(oci.ErrNotFound, "%s is not in what was edited", d.Digest)
}
