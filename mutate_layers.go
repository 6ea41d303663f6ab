// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"crypto/sha256"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// clampLayers makes the times in the layers of images be t at the latest. Layers
// that have no later one, and foreign ones, stay as they are.
func (c *Client) clampLayers(ctx context.Context, images []*edit.Image, o MutateOptions) error {
	w := &clamping{c: c, o: o, inputs: map[oci.Digest]*input.Input{}, makers: map[layer.Compression]*input.Maker{}, names: map[*input.Input]oci.Descriptor{}}
	type place struct {
		image *edit.Image
		n     int
	}
	var places []place
	for _, i := range images {
		for n, l := range i.Layers() {
			if oci.IsForeign(l.Descriptor) || i.IsArtifact() {
				continue
			}
			if err := w.add(l); err != nil {
				return err
			}
			places = append(places, place{i, n})
		}
	}
	made := make([]*input.Layer, len(places))
	err := oci.Parallel(ctx, len(places), func(ctx context.Context, k int) (err error) {
		l := places[k].image.Layers()[places[k].n].Descriptor
		how, _ := layer.CompressionOf(l.MediaType) // else add has refused it
		made[k], err = w.makers[how].Layer(ctx, w.inputs[l.Digest], input.Onto{}, nil)
		return err
	})
	if err != nil {
		return err
	}
	for k, p := range places {
		if l := made[k]; l.DiffID != p.image.Layers()[p.n].DiffID {
			if err := p.image.Apply(edit.ReplaceLayer(p.n, edit.Layer{Descriptor: l.Descriptor(), DiffID: l.DiffID, Blob: l})); err != nil {
				return err
			}
		}
	}
	return nil
}

// A clamping is one run of clampLayers.
type clamping struct {
	c      *Client
	o      MutateOptions
	inputs map[oci.Digest]*input.Input
	makers map[layer.Compression]*input.Maker
	names  map[*input.Input]oci.Descriptor // for progress; not changed while layers are made
}

func (w *clamping) add(l edit.Layer) error {
	how, ok := layer.CompressionOf(l.Descriptor.MediaType)
	if !ok {
		return oci.Errorf(oci.ErrUnsupported, "layer %s of the type %s cannot be made new", l.Descriptor.Digest, oci.Quote(l.Descriptor.MediaType))
	}
	if w.makers[how] == nil {
		o := input.Options{Packing: layer.Packing{Compression: how}, CacheDir: w.c.env.CacheDir, TempDir: w.c.env.TempDir}
		if w.o.Packs != nil {
			o.Progress = func(in *input.Input, n int) { w.o.Packs(w.names[in], n) }
		}
		w.makers[how] = input.New(o)
		w.c.closeLater(w.makers[how])
	}
	if w.inputs[l.Descriptor.Digest] == nil {
		key := "clamp " + w.o.LayerTime.UTC().Format(time.RFC3339Nano) + " " + string(l.DiffID)
		in := input.Made("layer "+string(l.Descriptor.Digest), key, func(ctx context.Context, out io.Writer) error { return clamp(ctx, out, l, w.o.LayerTime) })
		w.inputs[l.Descriptor.Digest], w.names[in] = in, l.Descriptor
	}
	return nil
}

// clamp writes a layer with its times clamped. ErrCorrupt if it is not what its
// diff ID says.
func clamp(ctx context.Context, out io.Writer, l edit.Layer, t time.Time) error {
	var from oci.Blob = l.Blob
	if from == nil {
		from = oci.From(l.From, l.Descriptor)
	}
	rc, err := layer.Open(ctx, from)
	if err != nil {
		return err
	}
	defer rc.Close()
	h := sha256.New()
	plain := io.TeeReader(rc, h)
	if _, err := layer.Rewrite(ctx, out, plain, layer.RewriteOptions{Exact: true, Clamp: t}); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return err
	}
	if id := digest.NewDigest(digest.SHA256, h); l.DiffID.Algorithm() == digest.SHA256 && id != l.DiffID {
		return oci.Errorf(oci.ErrCorrupt, "layer %s unpacks to %s, its config says %s", l.Descriptor.Digest, id, l.DiffID)
	}
	return nil
}
