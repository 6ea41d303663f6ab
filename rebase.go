// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"errors"
	"sync"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/rebase"
)

// RebaseOptions say from which base to which. A base may be Scratch.
type RebaseOptions struct {
	EditOptions
	// OldBase is what the image was made on; "": what its annotations or the label
	// of buildpacks say, else the tag whose layers are its lowest ones, of the
	// repository that those name, or of the new base's.
	OldBase string
	// NewBase is what it shall be on; "": what the name of its base means now.
	NewBase string
	// Deep reads the application's layers, to see what they do to the base. Without
	// it that is seen only if they are in the cache.
	Deep bool
	// Force does what only seems wrong; see [rebase.ErrRefused].
	Force bool
}

// A Rebased is an edit with its reports, one for each image.
type Rebased struct {
	*Edited
	Images []*RebasedImage
}

// A RebasedImage says what a rebase does to an image.
type RebasedImage struct {
	Platform string   `json:"platform"`
	OldBase  BaseUsed `json:"oldBase"`
	NewBase  BaseUsed `json:"newBase"`
	rebase.Report
	Files string `json:"files"` // what is known of those in the layers: one of the words below
}

// What a report about files comes from.
const (
	FilesUnknown     = "unknown"     // nothing was looked at
	FilesApplication = "application" // the application's layers
	FilesAll         = "all"         // these and both bases
)

// A BaseUsed is a base and how it was found.
type BaseUsed struct {
	Name   string     `json:"name,omitempty"`
	Digest oci.Digest `json:"digest,omitempty"` // of the image; "": it was not read
	Found  string     `json:"found"`
}

// How a base was found.
const (
	ByOption     = "option"
	ByAnnotation = "annotation"
	ByBuildpacks = "buildpacks label"
	BySearch     = "search"
)

// Rebase works out what an image is on another base: each image of an index on
// the one of its platform. ErrInvalid if one of them is not on the old base,
// ErrNotFound if a base is not found, or has no image for one of the platforms;
// all of them are in the error.
func (c *Client) Rebase(ctx context.Context, name string, o RebaseOptions) (*Rebased, error) {
	r := &rebasing{c: c, o: o, bases: map[string]func() (*rebaseBase, error){}, indexSays: map[string]string{}, outlines: c.outlines()}
	r.named(append([]string{name, o.OldBase, o.NewBase}, o.Targets...)...)
	app, err := r.load(ctx, name)
	if err != nil {
		return nil, err
	}
	if r.index, _ = app.node.(*edit.Index); r.index != nil {
		for _, key := range []string{annotationBaseName, annotationBaseDigest} {
			r.indexSays[key] = r.index.Annotation(key)
		}
	}
	images := edit.Images(app.node)
	if len(images) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: an index without images", app.ref)
	}
	out := &Rebased{Images: make([]*RebasedImage, len(images))}
	errs := make([]error, len(images))
	if err := oci.Parallel(ctx, len(images), func(ctx context.Context, n int) error {
		out.Images[n], errs[n] = r.image(ctx, images[n])
		return nil
	}); err != nil {
		return nil, err
	}
	for n, err := range errs {
		what := app.ref.String()
		if r.index != nil {
			what += " " + oci.FormatPlatform(images[n].Platform())
		}
		errs[n] = oci.Wrap("", what, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := r.annotateIndex(images, out.Images); err != nil {
		return nil, err
	}
	out.Edited, err = c.edited(ctx, app.node, name, o.EditOptions)
	return out, err
}

// load reads the image, and at the same time the bases that were named.
func (r *rebasing) load(ctx context.Context, name string) (app loaded, err error) {
	named := []string{r.o.OldBase, r.o.NewBase}
	err = oci.Parallel(ctx, 1+len(named), func(ctx context.Context, n int) (err error) {
		if n == 0 {
			app, err = r.c.load(ctx, name, r.o.EditOptions)
			return err
		}
		if named[n-1] == "" {
			return nil
		}
		b, err := r.base(ctx, named[n-1])
		if err == nil && b.root != nil && !b.root.IsIndex() {
			_, err = b.read(ctx, b.root.Descriptor)
		}
		return oci.Wrap([]string{"old base", "new base"}[n-1], "", err)
	})
	return app, err
}

// rebasing is one run of Rebase.
type rebasing struct {
	c         *Client
	o         RebaseOptions
	hosts     map[string]bool   // registries that the user has named
	index     *edit.Index       // nil: the image is not in one
	indexSays map[string]string // its annotations about the base as they were
	outlines  *layer.Outlines

	mu    sync.Mutex
	bases map[string]func() (*rebaseBase, error)
	onto  *rebaseBase // the last new base
}

// image rebases one image.
func (r *rebasing) image(ctx context.Context, app *edit.Image) (*RebasedImage, error) {
	if app.IsArtifact() {
		return nil, oci.Errorf(oci.ErrUnsupported, "an artifact, which has no base")
	}
	out := &RebasedImage{Platform: oci.FormatPlatform(app.Platform()), Files: FilesUnknown}
	newName, how, err := r.newBase(app)
	if err != nil {
		return nil, err
	}
	to, onto, err := r.next(ctx, newName, app)
	if err != nil {
		return nil, oci.Wrap("new base", "", err)
	}
	out.NewBase = BaseUsed{to.name(), onto.Manifest.Descriptor.Digest, how}
	old, err := r.oldBase(ctx, app, to, onto)
	if err != nil {
		return nil, oci.Wrap("old base", "", err)
	}
	out.OldBase = old.used
	report, err := rebase.Image(app, old.image, onto, rebase.Options{Layers: old.layers, From: to.from(), Old: old.used.Name, New: to.name(),
		Reference: to.pinned(), Force: r.o.Force})
	if err != nil {
		return nil, err
	}
	out.Report = *report
	out.Warnings = append(old.notes, out.Warnings...)
	if out.Already {
		return out, nil
	}
	if err := r.collide(ctx, app, old.image, onto, out); err != nil {
		return nil, err
	}
	return out, r.annotate(app, old, to, onto)
}

// next reads the image of the new base that an image goes on.
func (r *rebasing) next(ctx context.Context, name string, app *edit.Image) (*rebaseBase, *image.Image, error) {
	to, err := r.base(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	r.onto = to
	r.mu.Unlock()
	onto, err := to.image(ctx, app.Platform())
	return to, onto, err
}

// collide looks at what the application's layers do to the bases, as far as
// that is known or to be found out.
func (r *rebasing) collide(ctx context.Context, app *edit.Image, old, onto *image.Image, out *RebasedImage) error {
	var own []*layer.Outline
	for _, l := range app.Layers()[out.New:] {
		o, ok := r.outlines.Cached(l.Descriptor)
		if !ok && r.o.Deep && l.From != nil {
			var err error
			if o, err = r.outlines.Of(ctx, oci.From(l.From, l.Descriptor)); err != nil {
				return err
			}
			ok = true
		}
		if !ok {
			return nil
		}
		own = append(own, o)
	}
	out.Files = FilesApplication
	before, okOld := r.known(old)
	after, okNew := r.known(onto)
	if okOld && okNew {
		out.Files = FilesAll
	} else {
		before, after = nil, nil
	}
	c, err := layer.Collide(before, after, own, layer.Limits{})
	if err != nil {
		return err
	}
	if out.Files != FilesAll {
		c.Changed, c.Whiteouts = layer.Paths{}, layer.Paths{}
	}
	warnings, err := rebase.Check(c, r.o.Force)
	out.Warnings = append(out.Warnings, warnings...)
	return err
}

// known are the outlines of a base, if all of them are in the cache.
func (r *rebasing) known(base *image.Image) (all []*layer.Outline, ok bool) {
	if base == nil {
		return nil, false
	}
	for _, d := range base.Manifest.Layers {
		o, ok := r.outlines.Cached(d)
		if !ok {
			return nil, false
		}
		all = append(all, o)
	}
	return all, true
}

// annotate renews what an image says of its base. A digest that was that of the
// base's index becomes that of the new base's index.
func (r *rebasing) annotate(app *edit.Image, old foundBase, to *rebaseBase, onto *image.Image) error {
	was := app.Annotation(annotationBaseDigest)
	if was == "" && app.Annotation(annotationBaseName) == "" {
		return nil
	}
	if to.root == nil { // there is none to name
		return app.Apply(edit.RemoveAnnotation(annotationBaseName), edit.RemoveAnnotation(annotationBaseDigest))
	}
	d := onto.Manifest.Descriptor.Digest
	if old.base != nil && old.base.root != nil && old.base.root.IsIndex() && was == string(old.base.root.Descriptor.Digest) {
		d = to.root.Descriptor.Digest
	}
	return edit.SetBase(app, to.tag(), d)
}

// annotateIndex renews what an index says of the base of its images, if all of
// them have moved to one.
func (r *rebasing) annotateIndex(images []*edit.Image, reports []*RebasedImage) error {
	if r.index == nil || r.indexSays[annotationBaseDigest] == "" && r.indexSays[annotationBaseName] == "" || leavesImages(r.index) {
		return nil
	}
	moved := false
	for _, i := range reports {
		moved = moved || !i.Already
		if i.NewBase.Name != reports[0].NewBase.Name {
			return nil
		}
	}
	if !moved {
		return nil
	}
	if r.onto.root == nil {
		r.index.RemoveAnnotation(annotationBaseName)
		r.index.RemoveAnnotation(annotationBaseDigest)
		return nil
	}
	return edit.SetBase(r.index, r.onto.tag(), r.onto.root.Descriptor.Digest)
}

// leavesImages reports whether some of the images of an index were not chosen.
func leavesImages(x *edit.Index) bool {
	for _, e := range x.Entries() {
		switch n := e.Node.(type) {
		case *edit.Index:
			if leavesImages(n) {
				return true
			}
		case *edit.Other:
			p, m := e.Descriptor().Platform, n.Manifest
			attestation := e.Descriptor().Annotations[oci.AnnotationAbout] != "" || p != nil && p.OS == "unknown"
			if !attestation && !m.IsIndex() && m.Config != nil && oci.IsConfig(m.Config.MediaType) {
				return true
			}
		}
	}
	return false
}
