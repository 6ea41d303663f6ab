// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"slices"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// ReplaceConfig gives an image the config that raw is, byte for byte. ErrInvalid
// if it is none, or not one for the layers that the image has.
func ReplaceConfig(raw []byte) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		doc, c, err := parseConfig(raw, len(i.layers))
		if err != nil {
			return err
		}
		for n, id := range c.RootFS.DiffIDs {
			if id != i.layers[n].DiffID {
				return oci.Errorf(oci.ErrInvalid, "config has the diff ID %s for layer %d, which has %s", id, n+1, i.layers[n].DiffID)
			}
		}
		i.config = doc
		i.told = i.tell()
		return nil
	}
}

// ReplaceManifest gives an image or index the manifest that raw is, byte for
// byte. What it leads to must be what the old one led to, in part or whole, with
// an image's config and number of layers: ErrInvalid otherwise, or if it has
// another media type, or if an index gives an image a platform that is not its
// own. ErrExists if two images get one platform.
func ReplaceManifest(n Node, raw []byte) error {
	switch n := n.(type) {
	case *Image:
		return n.replaceManifest(raw)
	case *Index:
		return n.replaceManifest(raw)
	}
	return oci.Errorf(oci.ErrUnsupported, "%s is not edited", n.Was().Digest)
}

// parseAs reads a manifest that takes the place of one of a media type.
func parseAs(kind string, raw []byte) (*oci.Manifest, *jsonedit.Document, error) {
	doc, err := jsonedit.Parse(raw)
	if err != nil {
		return nil, nil, oci.Wrap("", "manifest", err)
	}
	if now := doc.Get("mediaType"); now != nil && !same(now, kind) {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "the media type has to stay %s", oci.Quote(kind))
	}
	m, err := oci.ParseManifest(kind, raw)
	return m, doc, err
}

func (i *Image) replaceManifest(raw []byte) error {
	m, doc, err := parseAs(i.kind, raw)
	if err != nil {
		return err
	}
	old, err := oci.ParseManifest(i.kind, i.manifest.Bytes())
	if err != nil {
		return err
	}
	had := map[oci.Digest]int64{}
	for _, d := range old.Children() {
		had[d.Digest] = d.Size
	}
	for _, d := range m.Children() {
		if size, ok := had[d.Digest]; !ok || size != d.Size {
			return oci.Errorf(oci.ErrInvalid, "%s with %d bytes is not in the image", d.Digest, d.Size)
		}
	}
	if i.config != nil {
		if m.Config == nil || m.Config.Digest != old.Config.Digest || !oci.IsConfig(m.Config.MediaType) {
			return oci.Errorf(oci.ErrInvalid, "the manifest has another config")
		}
		if len(m.Layers) != len(i.layers) {
			return oci.Errorf(oci.ErrInvalid, "the manifest has %d layers, the config has diff IDs for %d", len(m.Layers), len(i.layers))
		}
		layers := slices.Clone(i.layers)
		for n, d := range m.Layers {
			if d.Digest != layers[n].Descriptor.Digest {
				return oci.Errorf(oci.ErrInvalid, "layer %d is %s, the config's diff ID is that of %s", n+1, d.Digest, layers[n].Descriptor.Digest)
			}
			layers[n].Descriptor = d
		}
		i.layers = layers
	}
	i.manifest = doc
	return nil
}

func (x *Index) replaceManifest(raw []byte) error {
	m, doc, err := parseAs(x.kind, raw)
	if err != nil {
		return err
	}
	type what struct {
		digest    oci.Digest
		size      int64
		mediaType string
	}
	had := map[what]Node{}
	for _, e := range x.entries {
		had[what{e.was.Digest, e.was.Size, e.was.MediaType}] = e.Node
	}
	var entries []*Entry
	for _, d := range m.Manifests {
		node := had[what{d.Digest, d.Size, d.MediaType}]
		if node == nil {
			return oci.Errorf(oci.ErrInvalid, "%s with %d bytes is not in the index", d.Digest, d.Size)
		}
		entries = append(entries, &Entry{Node: node, was: d})
	}
	if x.man == nil || len(entries) == 0 {
		return oci.Errorf(oci.ErrInvalid, "an index without entries")
	}
	now := *x
	now.doc, now.entries = doc, entries
	if err := now.checkReplaced(x); err != nil {
		return err
	}
	*x = now
	return nil
}
