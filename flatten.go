// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// FlattenOptions say which layers become one.
type FlattenOptions struct {
	EditOptions
	// Top is how many layers of each image become one, counted from the highest;
	// 0: all, and then nothing is left of what they took away.
	Top     int
	Packing *layer.Packing // of the new layers; nil: gzip
	// Packs, if given, is called with the name of an image when its layers begin
	// to be read, with 0, and with the number of bytes each time some have been
	// written. Several goroutines call it.
	Packs func(name string, n int)
}

// Flatten works out an image, or all images of an index, with fewer layers and
// the same files. Images that have no more than one such layer stay as they are;
// those that become one layer no longer say what their base is.
// ErrUnsupported if one of the layers is a foreign one, or if several of those of
// a Windows image change the registry.
func (c *Client) Flatten(ctx context.Context, name string, o FlattenOptions) (*Edited, error) {
	if o.Top < 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "%d layers: want 1 or more", o.Top)
	}
	from, err := c.load(ctx, name, o.EditOptions)
	if err != nil {
		return nil, err
	}
	f := &flattening{c: c, o: o, names: map[*input.Input]string{}}
	io := input.Options{CacheDir: c.env.CacheDir, TempDir: c.env.TempDir}
	if o.Packing != nil {
		io.Packing = *o.Packing
	}
	if o.Packs != nil {
		io.Progress = func(in *input.Input, n int) { o.Packs(f.names[in], n) }
	}
	images := edit.Images(from.node)
	work := make([]*input.Input, len(images))
	for n, i := range images {
		if work[n], err = f.input(from.ref, i); err != nil {
			return nil, oci.Wrap("", name, err)
		}
	}
	f.maker = input.New(io)
	c.closeLater(f.maker)
	err = oci.Parallel(ctx, len(images), func(ctx context.Context, n int) error {
		if work[n] == nil {
			return nil
		}
		return f.apply(ctx, images[n], work[n])
	})
	if err != nil {
		return nil, oci.Wrap("", name, err)
	}
	if o.Top == 0 && len(o.Platforms) == 0 && len(f.names) > 0 {
		edit.ForgetBase(from.node)
	}
	return c.edited(ctx, from.node, name, o.EditOptions)
}

// A flattening is one run of Flatten.
type flattening struct {
	c     *Client
	o     FlattenOptions
	maker *input.Maker
	names map[*input.Input]string // for progress; not changed while layers are made
}

// top counts the layers that become one.
func (f *flattening) top(i *edit.Image) int {
	if n := len(i.Layers()); f.o.Top == 0 || f.o.Top > n {
		return n
	}
	return f.o.Top
}

// input is what the new layer of an image is made of; nil if it needs none.
func (f *flattening) input(r ref.Ref, i *edit.Image) (*input.Input, error) {
	all, n := i.Layers(), f.top(i)
	switch {
	case i.IsArtifact():
		return nil, oci.Errorf(oci.ErrUnsupported, "an artifact, which has no layers of files")
	case f.o.Top > len(all):
		return nil, oci.Errorf(oci.ErrInvalid, "the image for %s has only %d layers", oci.FormatPlatform(i.Platform()), len(all))
	case n < 2:
		return nil, nil
	}
	verb, write := "squash", layer.Squash
	if n == len(all) {
		verb, write = "flatten", func(ctx context.Context, w io.Writer, layers []oci.Blob, l layer.Limits) error {
			return layer.Flatten(ctx, w, layers, layer.FlattenOptions{Limits: l})
		}
	}
	var blobs []oci.Blob
	key := []string{verb}
	for _, l := range all[len(all)-n:] {
		if oci.IsForeign(l.Descriptor) {
			return nil, oci.Errorf(oci.ErrUnsupported, "layer %s is a foreign one, which is kept elsewhere", l.Descriptor.Digest)
		}
		b := oci.From(l.From, l.Descriptor)
		if r.Scheme == ref.Registry || r.Scheme == ref.Daemon || r.Scheme == ref.Podman { // they are read two times
			kept := &spooled{Blob: b, dir: f.c.env.TempDir}
			f.c.closeLater(closerFunc(kept.close))
			b = kept
		}
		blobs = append(blobs, b)
		key = append(key, string(l.Descriptor.Digest)) // which is verified; a config may claim any diff IDs
	}
	windows := i.Platform().OS == "windows"
	if windows {
		key = append(key, "windows")
	}
	in := input.Made(verb, strings.Join(key, "\n"), func(ctx context.Context, w io.Writer) error {
		if windows {
			if err := f.c.oneHives(ctx, blobs); err != nil {
				return err
			}
		}
		return write(ctx, w, blobs, layer.Limits{})
	})
	f.names[in] = oci.FormatPlatform(i.Platform())
	return in, nil
}

// oneHives is ErrUnsupported if several layers have changes of the Windows
// registry: files below Hives/, each of which says what is other than in the layers
// below, so that one cannot take the place of another.
func (c *Client) oneHives(ctx context.Context, layers []oci.Blob) error {
	outlines, found := c.outlines(), 0
	for _, l := range layers {
		o, err := outlines.Of(ctx, l)
		if err != nil {
			return err
		}
		for e, err := range o.Entries() {
			if err != nil {
				return err
			}
			if dir, _, below := strings.Cut(e.Name, "/"); e.Kind != layer.Dir && below && strings.EqualFold(dir, "Hives") {
				found++
				break
			}
		}
		if found > 1 {
			return oci.Errorf(oci.ErrUnsupported, "layer %s changes the Windows registry, as one below it does: they cannot become one layer", l.Descriptor().Digest)
		}
	}
	return nil
}

// closerFunc is a function that closes something.
type closerFunc func()

// Close implements io.Closer.
func (f closerFunc) Close() error { f(); return nil }

// apply gives an image its new layer.
func (f *flattening) apply(ctx context.Context, i *edit.Image, in *input.Input) error {
	made, err := f.maker.Layer(ctx, in, input.Onto{}, nil)
	if err != nil {
		return err
	}
	config, err := i.Config()
	if err != nil {
		return err
	}
	n, to := f.top(i), len(i.Layers())
	if n == to {
		edit.ForgetBase(i)
	}
	h := edit.History{Created: config.Created, CreatedBy: "dray " + in.Name(), Comment: fmt.Sprintf("of %d layers", n)}
	return i.Splice(to-n, to, []edit.Layer{{Descriptor: made.Descriptor(), DiffID: made.DiffID, Blob: made}}, []edit.History{h})
}
