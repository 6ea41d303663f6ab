// SPDX-License-Identifier: Apache-2.0

// Package image reads an image as a value and looks into its files.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// History is one line of how an image came to be (image-spec, config.md).
type History = v1.History

// An Image is an image's manifest and config, read at once. Its layers are
// referred to.
type Image struct {
	Manifest *oci.Manifest
	Config   []byte // as it is
	Platform oci.Platform
	DiffIDs  []oci.Digest // of the uncompressed layers, the lowest first
	History  []History
	source   oci.Source
}

// Read reads an image, not an index. ErrInvalid if its config breaks its format
// or does not have a diff ID for each layer, ErrUnsupported for an artifact,
// which has no file system.
func Read(ctx context.Context, s oci.Source, d oci.Descriptor) (*Image, error) {
	m, err := oci.Fetch(ctx, s, d)
	if err != nil {
		return nil, err
	}
	return Of(ctx, s, m)
}

// Of is Read of a manifest that has been read.
func Of(ctx context.Context, s oci.Source, m *oci.Manifest) (*Image, error) {
	switch {
	case m.IsIndex():
		return nil, oci.Errorf(oci.ErrInvalid, "%s is an index, not an image", m.Descriptor.Digest)
	case m.Config == nil || !oci.IsConfig(m.Config.MediaType):
		return nil, oci.Errorf(oci.ErrUnsupported, "%s is an artifact, not an image", m.Descriptor.Digest)
	}
	raw, err := oci.ReadAll(ctx, s, *m.Config, oci.MaxConfig)
	if err != nil {
		return nil, err
	}
	var c v1.Image
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "config %s: %w", m.Config.Digest, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, oci.Errorf(oci.ErrInvalid, "config %s has %d diff IDs for %d layers", m.Config.Digest, len(c.RootFS.DiffIDs), len(m.Layers))
	}
	for _, id := range c.RootFS.DiffIDs {
		if _, err := oci.ParseDigest(string(id)); err != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "config %s: %w", m.Config.Digest, err)
		}
	}
	return &Image{Manifest: m, Config: raw, Platform: c.Platform, DiffIDs: c.RootFS.DiffIDs, History: c.History, source: s}, nil
}

// Layers are the layers as they are kept, the lowest first. To open a foreign
// one that the source does not have is ErrNotFound, which says where it is kept.
func (i *Image) Layers() []oci.Blob {
	out := make([]oci.Blob, len(i.Manifest.Layers))
	for n, d := range i.Manifest.Layers {
		out[n] = oci.From(i.source, d)
		if oci.IsForeign(d) {
			out[n] = foreign{out[n]}
		}
	}
	return out
}

// foreign is a layer that its owner does not let others hand out (image-spec,
// layer.md, "Non-Distributable Layers").
type foreign struct{ oci.Blob }

func (f foreign) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := f.Blob.Open(ctx)
	if !errors.Is(err, oci.ErrNotFound) {
		return rc, err
	}
	d, where := f.Descriptor(), "where its manifest does not say"
	if len(d.URLs) > 0 {
		where = "at " + oci.Quote(d.URLs[0])
	}
	return nil, oci.Wrap("layer", string(d.Digest), oci.Errorf(oci.ErrNotFound, "it is a foreign one, which is not kept with the image but %s", where))
}
