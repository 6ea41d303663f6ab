// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// An Inspection is all that can be said of an image without its layers.
type Inspection struct {
	Reference    string            `json:"reference"`
	Name         string            `json:"name"` // repository, for use with a digest
	Digest       oci.Digest        `json:"digest"`
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Size         int64             `json:"size"` // bytes of all that it leads to, each once
	Annotations  map[string]string `json:"annotations,omitempty"`
	Subject      *oci.Descriptor   `json:"subject,omitempty"`
	Images       []ImageInfo       `json:"images"` // one for each child, or the image itself
	Referrers    []oci.Descriptor  `json:"referrers,omitempty"`
}

// An ImageInfo is one image or artifact.
type ImageInfo struct {
	Digest       oci.Digest        `json:"digest"`
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     string            `json:"platform,omitempty"`
	Size         int64             `json:"size"` // bytes of config and layers
	Annotations  map[string]string `json:"annotations,omitempty"`
	Layers       []oci.Descriptor  `json:"layers"`
	Config       json.RawMessage   `json:"config,omitempty"` // as it is, of images
}

// Inspect reads the manifests, configs and referrers of what a reference
// names. A platform chooses one child of an index.
func (c *Client) Inspect(ctx context.Context, name string, s Side, p *oci.Platform) (*Inspection, error) {
	r, st, d, err := c.resolve(ctx, name, s, p)
	if err != nil {
		return nil, err
	}
	tree, err := oci.Graph{Root: d, Source: st}.Load(ctx, nil)
	if err != nil {
		return nil, err
	}
	top := tree.Root()
	out := &Inspection{Reference: r.String(), Name: r.Repo().String(), Digest: d.Digest, MediaType: top.Descriptor.MediaType,
		ArtifactType: top.ArtifactType, Annotations: top.Annotations, Subject: top.Subject}
	for _, m := range tree.Manifests {
		out.Size += m.Descriptor.Size
	}
	for _, b := range tree.Blobs {
		out.Size += b.Size
	}
	if out.Images, err = images(ctx, st, tree); err != nil {
		return nil, err
	}
	out.Referrers, err = referrersOf(ctx, st, d)
	return out, err
}

// images describes the manifests of a tree that are not indexes, in the order
// of the index; their configs are read at the same time.
func images(ctx context.Context, s oci.Source, tree *oci.Tree) ([]ImageInfo, error) {
	var leaves []*oci.Manifest
	for _, m := range tree.Manifests {
		if !m.IsIndex() {
			leaves = append(leaves, m)
		}
	}
	out := make([]ImageInfo, len(leaves))
	err := oci.Parallel(ctx, len(leaves), func(ctx context.Context, i int) (err error) {
		out[i], err = imageInfo(ctx, s, leaves[i])
		return err
	})
	return out, err
}

func imageInfo(ctx context.Context, s oci.Source, m *oci.Manifest) (ImageInfo, error) {
	info := ImageInfo{Digest: m.Descriptor.Digest, MediaType: m.Descriptor.MediaType, ArtifactType: m.ArtifactType,
		Annotations: m.Annotations, Layers: slices.Clone(m.Layers)}
	for _, d := range m.Children() {
		info.Size += d.Size
	}
	if m.Config == nil || !oci.IsConfig(m.Config.MediaType) {
		return info, nil
	}
	raw, err := oci.ReadAll(ctx, s, *m.Config, oci.MaxConfig)
	if err != nil {
		return info, err
	}
	var p oci.Platform
	if err := json.Unmarshal(raw, &p); err != nil {
		return info, oci.Errorf(oci.ErrInvalid, "config %s: %w", m.Config.Digest, err)
	}
	info.Config = raw
	if p.OS != "" {
		info.Platform = oci.FormatPlatform(p)
	}
	return info, nil
}

func platformOf(ctx context.Context, s oci.Source, m *oci.Manifest) (oci.Platform, error) {
	var p oci.Platform
	if m.Config == nil || !oci.IsConfig(m.Config.MediaType) {
		return p, nil
	}
	raw, err := oci.ReadAll(ctx, s, *m.Config, oci.MaxConfig)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, oci.Errorf(oci.ErrInvalid, "config %s: %w", m.Config.Digest, err)
	}
	return p, nil
}

func referrersOf(ctx context.Context, s oci.Source, d oci.Descriptor) ([]oci.Descriptor, error) {
	l, ok := oci.As[oci.Referrer](s)
	if !ok {
		return nil, nil
	}
	var out []oci.Descriptor
	for x, err := range l.Referrers(ctx, d, "") {
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b oci.Descriptor) int { // the registry's order means nothing
		return cmp.Or(cmp.Compare(a.ArtifactType, b.ArtifactType), cmp.Compare(a.Digest, b.Digest))
	})
	return out, nil
}

// A ReferrerTree is a manifest and what refers to it.
type ReferrerTree struct {
	oci.Descriptor
	Platform  string          `json:"platformName,omitempty"`
	Referrers []*ReferrerTree `json:"referrers,omitempty"`
}

// Referrers finds what refers to an image, to its children if it is an index,
// and to those referrers in turn.
func (c *Client) Referrers(ctx context.Context, name string, s Side, artifactType string) (ref.Ref, *ReferrerTree, error) {
	r, st, d, err := c.resolve(ctx, name, s, nil)
	if err != nil {
		return r, nil, err
	}
	top := &ReferrerTree{Descriptor: d}
	level := []*ReferrerTree{top}
	seen := map[oci.Digest]bool{d.Digest: true}
	if oci.IsIndex(d.MediaType) {
		m, err := oci.Fetch(ctx, st, d)
		if err != nil {
			return r, nil, err
		}
		for _, x := range m.Manifests {
			t := &ReferrerTree{Descriptor: x}
			if x.Platform != nil {
				t.Platform = oci.FormatPlatform(*x.Platform)
			}
			if !seen[x.Digest] {
				seen[x.Digest] = true
				top.Referrers = append(top.Referrers, t)
				level = append(level, t)
			}
		}
	}
	for depth := 0; len(level) > 0 && depth <= oci.MaxDepth; depth++ {
		if level, err = grow(ctx, st, level, seen, artifactType); err != nil {
			return r, nil, err
		}
	}
	return r, top, nil
}

// grow adds one level of referrers; each manifest is shown once.
func grow(ctx context.Context, s oci.Source, level []*ReferrerTree, seen map[oci.Digest]bool, artifactType string) (next []*ReferrerTree, err error) {
	for _, t := range level {
		found, err := referrersOf(ctx, s, t.Descriptor)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			if seen[d.Digest] || artifactType != "" && d.ArtifactType != artifactType {
				continue
			}
			if seen[d.Digest] = true; len(seen) > oci.MaxNodes {
				return nil, oci.Errorf(oci.ErrInvalid, "more than %d referrers", oci.MaxNodes)
			}
			x := &ReferrerTree{Descriptor: d}
			t.Referrers = append(t.Referrers, x)
			next = append(next, x)
		}
	}
	return next, nil
}
