// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
	"github.com/dray-tools/dray/ref"
)

const (
	annotationBaseName   = v1.AnnotationBaseImageName
	annotationBaseDigest = v1.AnnotationBaseImageDigest
)

// mostTags is how many tags of a repository are looked at for an old base.
const mostTags = 200

// A foundBase is the old base of an image.
type foundBase struct {
	used   BaseUsed
	base   *rebaseBase // nil: it could not be read
	image  *image.Image
	layers int // if there is no image
	notes  []string
}

// annotation is what an image, or else its index, says of its base.
func (r *rebasing) annotation(app *edit.Image, key string) string {
	if v := app.Annotation(key); v != "" {
		return v
	}
	return r.indexSays[key]
}

// said reads a name of a base that an image says. Who made the image chooses it,
// and what it means is read and published: so it is one in a registry, never a
// file or an image of this machine. A registry on loopback is of this machine
// too, and is spoken to without TLS, unless the user has named it.
func (r *rebasing) said(name string) (ref.Ref, error) {
	at, err := ref.Parse(name)
	switch {
	case err != nil:
		return ref.Ref{}, oci.Wrap("", "the base that the image names", err)
	case at.Scheme != ref.Registry:
		return ref.Ref{}, oci.Errorf(oci.ErrInvalid, "the image names %s, which is in no registry: it is only read if the user names it", oci.Quote(name))
	case r.here(at.Host):
		return ref.Ref{}, oci.Errorf(oci.ErrInvalid, "the image names %s, which is on this machine: it is only read if the user names it", oci.Quote(name))
	}
	return at, nil
}

// here reports whether a registry is one of this machine that the user has not
// named.
func (r *rebasing) here(host string) bool {
	name, _, _ := strings.Cut(strings.ToLower(host), ":")
	return (isLoopback(strings.ToLower(host)) || strings.HasSuffix(name, ".localhost")) && !r.hosts[host]
}

// named remembers the registries that the user names.
func (r *rebasing) named(names ...string) {
	r.hosts = map[string]bool{}
	for _, name := range names {
		if at, err := ref.ParseAny(name); err == nil && at.Scheme == ref.Registry {
			r.hosts[at.Host] = true
		}
	}
}

// newBase finds the name of the new base.
func (r *rebasing) newBase(app *edit.Image) (name, how string, err error) {
	if r.o.NewBase != "" {
		return r.o.NewBase, ByOption, nil
	}
	name, how = r.annotation(app, annotationBaseName), ByAnnotation
	if run, ok := rebase.Buildpacks(app); name == "" && ok {
		name, how = run.Name, ByBuildpacks
	}
	switch name {
	case "":
		return "", "", oci.Errorf(oci.ErrInvalid, "the image does not say what it was made on: a new base has to be named")
	case Scratch:
		return name, how, nil
	}
	at, err := r.said(name)
	return at.String(), how, oci.Wrap("new base", "", err)
}

// oldBase finds the base that an image was made on.
func (r *rebasing) oldBase(ctx context.Context, app *edit.Image, to *rebaseBase, onto *image.Image) (foundBase, error) {
	if r.o.OldBase != "" {
		f, err := r.try(ctx, r.o.OldBase, ByOption, app)
		if f.image != nil && errors.Is(err, oci.ErrInvalid) {
			err = nil // the reason comes from rebase, which may know that the image is on the new base
		}
		return f, err
	}
	var notes []string
	name, err := r.recorded(app, to)
	if name != "" {
		var f foundBase
		if f, err = r.try(ctx, name, ByAnnotation, app); err == nil || !passable(err) {
			return f, err
		}
	}
	if err != nil {
		notes = append(notes, "the annotated old base does not help: "+err.Error())
	}
	if run, ok := rebase.Buildpacks(app); ok {
		f, err := r.buildpacks(ctx, run, app)
		f.notes = append(notes, f.notes...)
		return f, err
	}
	f, err := r.search(ctx, app, to)
	if _, no := rebase.Match(app.Layers(), onto); err != nil && passable(err) && no == nil && len(onto.DiffIDs) > 0 {
		f, err = foundBase{used: BaseUsed{to.name(), onto.Manifest.Descriptor.Digest, BySearch}, base: to, image: onto}, nil
	}
	f.notes = append(notes, f.notes...)
	if err != nil && len(f.notes) > 0 {
		err = fmt.Errorf("%w; %s", err, strings.Join(f.notes, "; "))
	}
	return f, err
}

// passable reports whether an old base may be looked for elsewhere.
func passable(err error) bool {
	for _, kind := range []error{oci.ErrNotFound, oci.ErrInvalid, oci.ErrUnauthorized, oci.ErrDenied, oci.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// recorded is the name of the old base that annotations say; "" if they do not.
func (r *rebasing) recorded(app *edit.Image, to *rebaseBase) (string, error) {
	name, digest := r.annotation(app, annotationBaseName), r.annotation(app, annotationBaseDigest)
	at := to.ref
	switch name {
	case "":
		if digest == "" || at == (ref.Ref{}) {
			return "", nil
		}
	case Scratch:
		return name, nil // whatever the digest is said to be
	default:
		var err error
		if at, err = r.said(name); err != nil {
			return "", err
		}
	}
	if digest != "" {
		d, err := oci.ParseDigest(digest)
		if err != nil {
			return "", err
		}
		at.Digest = d
	}
	return at.String(), nil
}

// try takes a name for that of the old base.
func (r *rebasing) try(ctx context.Context, name, how string, app *edit.Image) (foundBase, error) {
	b, err := r.base(ctx, name)
	if err != nil {
		return foundBase{}, err
	}
	f := foundBase{used: BaseUsed{Name: b.name(), Found: how}, base: b}
	if b.root == nil {
		f.image, err = b.image(ctx, app.Platform())
		return f, err
	}
	all, _, err := b.candidates(app.Platform())
	if err != nil {
		return f, err
	}
	for n, d := range all {
		i, err2 := b.read(ctx, d)
		if err2 != nil {
			return f, err2
		}
		if n == 0 {
			f.image = i
		}
		if _, err2 = rebase.Match(app.Layers(), i); err2 == nil {
			f.image, err = i, nil
			break
		}
		if n == 0 {
			err = err2
		}
	}
	f.used.Digest = f.image.Manifest.Descriptor.Digest
	return f, oci.Wrap("", b.ref.String(), err)
}

// buildpacks takes what the lifecycle has recorded, which is enough without the
// old base; only its config is missed then.
func (r *rebasing) buildpacks(ctx context.Context, run rebase.RunImage, app *edit.Image) (foundBase, error) {
	if at, err := r.said(run.Reference); err == nil && at.Digest != "" {
		f, err := r.try(ctx, run.Reference, ByBuildpacks, app)
		if err == nil && len(f.image.DiffIDs) == run.Layers {
			return f, nil
		}
		if err != nil && !passable(err) {
			return f, err
		}
	}
	f := foundBase{used: BaseUsed{Name: run.Reference, Found: ByBuildpacks}, layers: run.Layers}
	f.notes = []string{"the old base cannot be read: what the config has of it stays"}
	return f, nil
}
