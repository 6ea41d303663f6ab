// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// RunOptions are what the user wants beside what a builder does.
type RunOptions struct {
	Changes []edit.Edit      // of each image, after the builder
	Index   []edit.IndexEdit // of the index: ErrInvalid if the result is none
	// Annotations are those of each image, and of the index if there is one.
	Annotations map[string]string
	// MediaTypes is "oci" or "docker": images get media types of that family before
	// they are changed; "": they keep those of their bases.
	MediaTypes string
	// NoBaseAnnotations leaves out the annotations that say what the base is.
	NoBaseAnnotations bool
}

// A Result is what a builder has made: an image, or an index of several.
type Result struct {
	Node    edit.Node
	Targets []Target
	Stacks  []*Stack // one for each target
}

// Run lets a builder make its images, all at the same time.
func Run(ctx context.Context, e *Engine, b Builder, want Want, o RunOptions) (*Result, error) {
	targets, err := b.Targets(ctx, e, want)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "nothing to build")
	}
	r := &Result{Targets: targets, Stacks: make([]*Stack, len(targets))}
	err = oci.Parallel(ctx, len(targets), func(ctx context.Context, n int) error {
		s, err := b.Build(ctx, e, targets[n])
		if err == nil {
			err = s.finish(targets[n], o)
		}
		if len(targets) > 1 {
			err = oci.Wrap("", oci.FormatPlatform(targets[n].Platform), err)
		}
		r.Stacks[n] = s
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, r.join(o)
}

// finish makes the changes that do not depend on the builder.
func (s *Stack) finish(t Target, o RunOptions) error {
	if at := s.e.o.Created; !at.IsZero() {
		if err := s.Set(at.UTC(), "created"); err != nil {
			return err
		}
	}
	if o.MediaTypes != "" {
		if err := edit.ToFamily(s.Image, o.MediaTypes == "docker"); err != nil {
			return err
		}
	}
	if err := s.Apply(o.Changes...); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
		if err := s.Apply(edit.SetAnnotation(key, o.Annotations[key])); err != nil {
			return err
		}
	}
	if t.Base == nil || o.NoBaseAnnotations || t.Base.Image.Digest == "" {
		return nil
	}
	return edit.SetBase(s.Image, t.Base.Ref, t.Base.Image.Digest)
}

// join makes one thing of the images.
func (r *Result) join(o RunOptions) error {
	if len(r.Stacks) == 1 {
		r.Node = r.Stacks[0].Image
		if len(o.Index) > 0 {
			return oci.Errorf(oci.ErrInvalid, "the result is a single image, not an index")
		}
		return nil
	}
	docker := true
	for _, s := range r.Stacks {
		docker = docker && s.IsDocker()
	}
	x, err := edit.NewIndex(docker)
	if err != nil {
		return err
	}
	for n, s := range r.Stacks {
		p := s.platform(r.Targets[n].Base)
		if err := x.Add(s.Image, oci.Descriptor{Platform: &p}); err != nil {
			return err
		}
	}
	r.Node = x
	if b := r.Base(); b != nil && !o.NoBaseAnnotations {
		if err := edit.SetBase(x, b.Ref, b.Index.Digest); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
		if err := x.Annotate(key, o.Annotations[key]); err != nil {
			return err
		}
	}
	for _, e := range o.Index {
		if err := e(x); err != nil {
			return err
		}
	}
	return nil
}

// Base is one of the bases if all come from the same index; else nil.
func (r *Result) Base() *Base {
	first := r.Targets[0].Base
	for _, t := range r.Targets {
		if t.Base == nil || t.Base.Index.Digest == "" || t.Base.Index.Digest != first.Index.Digest {
			return nil
		}
	}
	return first
}

// created is when the layers of a stack are said to have been made.
func (s *Stack) created() (*time.Time, error) {
	if t := s.e.o.Created; !t.IsZero() {
		t = t.UTC()
		return &t, nil
	}
	c, err := s.Config()
	return c.Created, err
}
