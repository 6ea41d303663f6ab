// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"time"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// MutateOptions are what Mutate changes, in this order.
type MutateOptions struct {
	EditOptions
	// Images change each image; of an index, each that Platforms chooses.
	Images []edit.Edit
	// Index changes the index itself: ErrInvalid if there is none.
	Index []edit.IndexEdit
	// LayerTime is the latest time that files in the layers may say. Zero: no
	// layer is read. Foreign layers stay as they are.
	LayerTime time.Time
	// Packs, if given, is called when a layer begins to be read for LayerTime, with
	// 0, and with the number of bytes each time some have been read. Several
	// goroutines call it.
	Packs func(d oci.Descriptor, n int)
}

// Mutate works out changes of an image, of all images of an index or of those
// for some platforms. Nothing is written before the result's Run; no layer is
// read without LayerTime.
func (c *Client) Mutate(ctx context.Context, name string, o MutateOptions) (*Edited, error) {
	l, err := c.load(ctx, name, o.EditOptions)
	if err != nil {
		return nil, err
	}
	if err := c.mutate(ctx, l.node, o); err != nil {
		return nil, oci.Wrap("", l.ref.String(), err)
	}
	return c.edited(ctx, l.node, name, o.EditOptions)
}

func (c *Client) mutate(ctx context.Context, n edit.Node, o MutateOptions) error {
	if o.MediaTypes == "oci" || o.MediaTypes == "docker" { // annotations depend on it
		if err := edit.ToFamily(n, o.MediaTypes == "docker"); err != nil {
			return err
		}
	}
	all := edit.Images(n)
	if len(all) == 0 && len(o.Images) > 0 {
		return oci.Errorf(oci.ErrNotFound, "it has no images")
	}
	for _, i := range all {
		if err := i.Apply(o.Images...); err != nil {
			return oci.Wrap("", placeOf(n, i), err)
		}
	}
	if !o.LayerTime.IsZero() {
		if err := c.clampLayers(ctx, all, o); err != nil {
			return err
		}
	}
	x, ok := n.(*edit.Index)
	if !ok && len(o.Index) > 0 {
		return oci.Errorf(oci.ErrInvalid, "it is a single image, not an index")
	}
	for _, e := range o.Index {
		if err := e(x); err != nil {
			return err
		}
	}
	return nil
}

// placeOf names an image of an index in errors.
func placeOf(n edit.Node, i *edit.Image) string {
	if p := i.Platform(); n != edit.Node(i) && p.OS != "" {
		return oci.FormatPlatform(p)
	}
	return ""
}

// EditConfig lets change turn the config of an image into another, whose bytes
// are kept as they are. An index needs Platforms that choose one image.
// ErrInvalid if the result is no config for the layers of the image.
func (c *Client) EditConfig(ctx context.Context, name string, change func(raw []byte) ([]byte, error), o EditOptions) (*Edited, error) {
	return c.editRaw(ctx, name, change, o, true)
}

// EditManifest is EditConfig of the manifest of an image, or of the index
// itself if there are no Platforms. ErrInvalid if the result has another media
// type, leads to what the old one does not lead to, or gives an image of an index
// a platform that is not its own.
func (c *Client) EditManifest(ctx context.Context, name string, change func(raw []byte) ([]byte, error), o EditOptions) (*Edited, error) {
	return c.editRaw(ctx, name, change, o, false)
}

func (c *Client) editRaw(ctx context.Context, name string, change func(raw []byte) ([]byte, error), o EditOptions, config bool) (*Edited, error) {
	l, err := c.load(ctx, name, o)
	if err != nil {
		return nil, err
	}
	nodes := []edit.Node{l.node}
	if config || len(o.Platforms) > 0 {
		nodes = nil
		for _, i := range edit.Images(l.node) {
			if nodes = append(nodes, i); i.Was().Digest != nodes[0].Was().Digest {
				return nil, oci.Wrap("", l.ref.String(), oci.Errorf(oci.ErrInvalid, "an index of several images: choose one of its platforms: %s", named(platformsBelow(l.node))))
			}
		}
	}
	if len(nodes) == 0 {
		return nil, oci.Wrap("", l.ref.String(), oci.Errorf(oci.ErrNotFound, "it has no images"))
	}
	raw, err := rawOf(nodes[0], config)
	if err == nil {
		raw, err = change(raw)
	}
	for _, n := range nodes {
		if err == nil && config {
			err = edit.ReplaceConfig(raw)(n.(*edit.Image))
		} else if err == nil {
			err = edit.ReplaceManifest(n, raw)
		}
	}
	if err != nil {
		return nil, oci.Wrap("", l.ref.String(), err)
	}
	return c.edited(ctx, l.node, name, o)
}

func rawOf(n edit.Node, config bool) ([]byte, error) {
	switch n := n.(type) {
	case *edit.Image:
		if !config {
			return n.RawManifest(), nil
		}
		if raw := n.RawConfig(); raw != nil {
			return raw, nil
		}
		return nil, oci.Errorf(oci.ErrUnsupported, "an artifact, which has no image config")
	case *edit.Index:
		return n.Raw(), nil
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "an artifact")
}
