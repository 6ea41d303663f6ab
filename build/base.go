// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
)

// A Base is an image that others are built on.
type Base struct {
	Name       string         // as the user wrote it
	Ref        string         // in full, as Opened has it; "": none
	Repository string         // host/name of that of a registry; "": in none
	Index      oci.Descriptor // in which the image was found, as it was read; zero: in none
	Image      oci.Descriptor // zero of a base without one, as Scratch
	Platform   oci.Platform
	Source     oci.Source // that has it; nil of a base without an image
}

// An opening is a base that is opened once for all who ask.
type opening struct {
	once sync.Once
	Opened
	list []*Base
	err  error

	givenUp bool // by who asked first
}

// Bases are the images that a name means: those of an index in their order,
// without attestations, or a single one; nil for Scratch and Static, which have
// images for any platform. No layer is read.
func (e *Engine) Bases(ctx context.Context, name string) ([]*Base, error) {
	if name == Scratch || name == Static {
		return nil, nil
	}
	for {
		b := e.opening(name)
		b.once.Do(func() {
			err := b.open(ctx, e, name)
			if err != nil && ctx.Err() != nil { // it was given up, which is nothing that others need to know
				b.givenUp = true
				e.forget(name, b)
			}
			b.err = oci.Wrap("base", name, err)
		})
		if !b.givenUp || ctx.Err() != nil {
			return b.list, b.err
		}
	}
}

// opening is that of a name, which may be under way.
func (e *Engine) opening(name string) *opening {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.bases[name]
	if b == nil {
		b = &opening{}
		e.bases[name] = b
	}
	return b
}

func (e *Engine) forget(name string, b *opening) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bases[name] == b {
		delete(e.bases, name)
	}
}

func (b *opening) open(ctx context.Context, e *Engine, name string) (err error) {
	if b.Opened, err = e.o.Open(ctx, name); err != nil {
		return err
	}
	m := b.Manifest
	if !m.IsIndex() {
		i, err := image.Of(ctx, b.Source, m)
		if err != nil {
			return err
		}
		b.list = []*Base{{Name: name, Ref: b.Ref, Repository: b.Repository, Image: m.Descriptor, Platform: i.Platform, Source: b.Source}}
		return nil
	}
	return b.fromIndex(ctx, name)
}

func (b *opening) fromIndex(ctx context.Context, name string) error {
	m, seen := b.Manifest, map[string]bool{}
	for _, d := range m.Manifests {
		switch {
		case oci.IsIndex(d.MediaType):
			return oci.Errorf(oci.ErrUnsupported, "index holds another index (%s): platforms cannot be chosen from it", d.Digest)
		case d.Annotations[oci.AnnotationAbout] != "":
			continue
		case d.Platform == nil && d.ArtifactType == "": // its config says it
			if i, err := image.Read(ctx, b.Source, d); err == nil && i.Platform.OS != "" {
				d.Platform = &i.Platform
			} else if err != nil && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
				return err
			}
		}
		if d.Platform == nil || d.Platform.OS == "unknown" {
			continue
		}
		key := string(d.Digest) + " " + slot(*d.Platform)
		if seen[key] { // an index can list an image twice, which says nothing more
			continue
		}
		seen[key] = true
		b.list = append(b.list, &Base{Name: name, Ref: b.Ref, Repository: b.Repository, Index: m.Descriptor, Image: d, Platform: *d.Platform, Source: b.Source})
	}
	if len(b.list) == 0 {
		return oci.Errorf(oci.ErrInvalid, "an index without images for platforms")
	}
	return nil
}

// Base is the image of a name for a platform. Where there are several, one with
// the os.version of the platform is taken, else the first. ErrNotFound if there
// is none; a name that means a single image has to be for the platform.
func (e *Engine) Base(ctx context.Context, name string, p oci.Platform) (*Base, error) {
	list, err := e.Bases(ctx, name)
	if err != nil {
		return nil, err
	}
	if list == nil {
		return &Base{Name: name, Platform: p}, nil
	}
	loose := p
	loose.OSVersion = ""
	for _, want := range []oci.Platform{p, loose} {
		for _, b := range list {
			if oci.MatchPlatform(want, b.Platform) {
				return b, nil
			}
		}
	}
	return nil, oci.Wrap("base", name, oci.Errorf(oci.ErrNotFound, "no image for %s; there is %s", oci.FormatPlatform(p), platformsOf(list)))
}

func platformsOf(list []*Base) string {
	var names []string
	for _, b := range list {
		names = append(names, oci.FormatPlatform(b.Platform))
	}
	return strings.Join(names, ", ")
}

// Stack begins a stack with a base, for a platform that is its own or, of Scratch
// and Static, any. It reads manifest and config.
func (e *Engine) Stack(ctx context.Context, b *Base) (*Stack, error) {
	if b.Source == nil {
		i, err := edit.New(b.Platform, e.o.Docker)
		if err != nil {
			return nil, err
		}
		s := e.NewStack(i, b)
		if b.Name == Static {
			if e.o.Static == nil {
				return nil, oci.Errorf(oci.ErrUnsupported, "there is no base %s here", Static)
			}
			err = e.o.Static(ctx, s)
		}
		return s, err
	}
	n, err := edit.Load(ctx, b.Source, b.Image, edit.Options{})
	if err != nil {
		return nil, oci.Wrap("base", b.Name, err)
	}
	i, ok := n.(*edit.Image)
	if !ok || i.IsArtifact() {
		return nil, oci.Wrap("base", b.Name, oci.Errorf(oci.ErrInvalid, "%s is no image", b.Image.Digest))
	}
	return e.NewStack(i, b), nil
}

// platform is what an index will say of an image: what that of the base said,
// made complete by the config, unless the config says something else than it did.
func (s *Stack) platform(b *Base) oci.Platform {
	p := s.Platform()
	if slot(p) != slot(s.was) {
		return p
	}
	p.OS, p.Architecture, p.Variant = cmp.Or(b.Platform.OS, p.OS), cmp.Or(b.Platform.Architecture, p.Architecture), cmp.Or(b.Platform.Variant, p.Variant)
	p.OSVersion = cmp.Or(b.Platform.OSVersion, p.OSVersion)
	if len(b.Platform.OSFeatures) > 0 {
		p.OSFeatures = b.Platform.OSFeatures
	}
	return p
}

// slot names what an index can have one image for.
func slot(p oci.Platform) string {
	p = oci.NormalizePlatform(p)
	return oci.FormatPlatform(p) + fmt.Sprint(p.OSFeatures)
}
