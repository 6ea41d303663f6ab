// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
	"github.com/dray-tools/dray/ref"
)

// A rebaseBase is what the name of a base means: an image or an index, whose
// images are read when they are needed, each once.
type rebaseBase struct {
	ref   ref.Ref
	store oci.Store
	root  *oci.Manifest // nil: scratch

	mu     sync.Mutex
	images map[oci.Digest]func() (*image.Image, error)
}

// base reads what a name means, once.
func (r *rebasing) base(ctx context.Context, name string) (*rebaseBase, error) {
	r.mu.Lock()
	open := r.bases[name]
	if open == nil {
		open = sync.OnceValues(func() (*rebaseBase, error) {
			b := &rebaseBase{images: map[oci.Digest]func() (*image.Image, error){}}
			if name == Scratch {
				return b, nil
			}
			var err error
			b.ref, b.store, b.root, err = r.c.get(ctx, name, r.o.From)
			return b, err
		})
		r.bases[name] = open
	}
	r.mu.Unlock()
	return open()
}

// read reads an image of the base.
func (b *rebaseBase) read(ctx context.Context, d oci.Descriptor) (*image.Image, error) {
	b.mu.Lock()
	open := b.images[d.Digest]
	if open == nil {
		open = sync.OnceValues(func() (i *image.Image, err error) {
			if d.Digest == b.root.Descriptor.Digest {
				i, err = image.Of(ctx, b.store, b.root)
			} else {
				i, err = image.Read(ctx, b.store, d)
			}
			return i, oci.Wrap("", b.ref.String(), err)
		})
		b.images[d.Digest] = open
	}
	b.mu.Unlock()
	return open()
}

// image is the base's image for a platform. Of several the one counts that has
// the same os.version, or the same build of it.
func (b *rebaseBase) image(ctx context.Context, p oci.Platform) (*image.Image, error) {
	all, exact, err := b.candidates(p)
	switch {
	case b.root == nil:
		return rebase.Scratch(oci.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	case err != nil:
		return nil, err
	case !exact:
		var names []string
		for _, d := range all {
			names = append(names, oci.FormatPlatform(*d.Platform)+" "+string(d.Digest))
		}
		return nil, oci.Errorf(oci.ErrInvalid, "%s has several images for %s: %s", b.ref, oci.FormatPlatform(p), strings.Join(names, ", "))
	}
	return b.read(ctx, all[0])
}

// candidates are the images of the base that fit a platform, the best first;
// exact: there is no doubt about that one.
func (b *rebaseBase) candidates(p oci.Platform) (all []oci.Descriptor, exact bool, err error) {
	if b.root == nil {
		return nil, true, nil
	}
	if !b.root.IsIndex() {
		return []oci.Descriptor{b.root.Descriptor}, true, nil
	}
	version := p.OSVersion
	p = oci.NormalizePlatform(p)
	rank := func(d oci.Descriptor) int {
		have := oci.NormalizePlatform(*d.Platform)
		switch {
		case have.Variant != p.Variant:
			return 3 // which rebase refuses, or is forced to take
		case have.OSVersion == version:
			return 0
		case osBuild(have.OSVersion) == osBuild(version):
			return 1
		}
		return 2
	}
	for _, d := range b.root.Manifests {
		if d.Platform == nil || oci.IsIndex(d.MediaType) || slices.ContainsFunc(all, func(x oci.Descriptor) bool { return x.Digest == d.Digest }) {
			continue
		}
		if have := oci.NormalizePlatform(*d.Platform); have.OS == p.OS && have.Architecture == p.Architecture {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		p.OSVersion = ""
		return nil, false, oci.Errorf(oci.ErrNotFound, "%s has no %s; it has %s", b.ref, oci.FormatPlatform(p), platforms(b.root))
	}
	slices.SortStableFunc(all, func(x, y oci.Descriptor) int { return cmp.Compare(rank(x), rank(y)) })
	return all, len(all) == 1 || rank(all[0]) < rank(all[1]), nil
}

// osBuild is the part of an os.version that tells which images a Windows host
// runs: 10.0.20348 of 10.0.20348.587.
func osBuild(version string) string {
	parts := strings.SplitN(version, ".", 4)
	return strings.Join(parts[:min(3, len(parts))], ".")
}

// name is the base as the report has it.
func (b *rebaseBase) name() string {
	if b.root == nil {
		return Scratch
	}
	return b.ref.String()
}

// tag is the name for annotations; "" if only a digest was named, or a place
// that others do not have.
func (b *rebaseBase) tag() string {
	if b.ref.Scheme != ref.Registry || b.ref.Name == "" {
		return ""
	}
	return b.ref.WithTag(b.ref.Name).String()
}

// pinned is the name with the digest that it had; "" of scratch.
func (b *rebaseBase) pinned() string {
	if b.root == nil {
		return ""
	}
	return b.ref.WithDigest(b.root.Descriptor.Digest).String()
}

// from is what has the layers.
func (b *rebaseBase) from() oci.Source {
	if b.store == nil {
		return nil
	}
	return b.store
}
