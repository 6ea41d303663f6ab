// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/indexspec"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// A Child is something to be put into an index: an image, an artifact, or an
// index, whose entries are taken over.
type Child struct {
	Name string // a reference to any store
	// Platform is what the index will say; nil: what the image's config says.
	// See edit.TakeOptions.
	Platform    *oci.Platform
	Annotations map[string]string // of its descriptor in the index
}

// IndexOptions say how an index is put together. MediaTypes is that of the index
// alone: what it lists keeps its bytes.
type IndexOptions struct {
	EditOptions
	// Take holds for all children; Platform and Annotations are theirs.
	Take         edit.TakeOptions
	Annotations  map[string]string // of the index
	ArtifactType string            // of the index
	Subject      string            // reference to what the index refers to
	// IgnoreMissing leaves out children that are not there, unless all are
	// missing. One that may not be read is an error nevertheless.
	IgnoreMissing bool
}

// CreateIndex makes an index of children, wherever they are: they will be copied
// or mounted along with it. An OCI index, unless MediaTypes is "docker".
func (c *Client) CreateIndex(ctx context.Context, children []Child, o IndexOptions) (*Edited, error) {
	docker, err := isDocker(o.MediaTypes)
	if err != nil {
		return nil, err
	}
	x, err := edit.NewIndex(docker)
	if err != nil {
		return nil, err
	}
	if len(o.Targets) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "the index needs a name")
	}
	return c.fill(ctx, x, "", o.Targets[0], children, o)
}

// AddToIndex puts more children into an index, which keeps what it has.
func (c *Client) AddToIndex(ctx context.Context, name string, children []Child, o IndexOptions) (*Edited, error) {
	at, x, err := c.index(ctx, name, o.EditOptions, nil)
	if err != nil {
		return nil, err
	}
	if err := family(x, &o.EditOptions); err != nil {
		return nil, oci.Wrap("", at, err)
	}
	return c.fill(ctx, x, name, slices.Concat(o.Targets, []string{name})[0], children, o)
}

// CreateIndexOf makes the index that a file describes. Without Targets it goes
// where the file says.
func (c *Client) CreateIndexOf(ctx context.Context, s *indexspec.Spec, o IndexOptions) (*Edited, error) {
	if len(o.Targets) == 0 {
		r, err := ref.Parse(s.Image)
		if err != nil {
			return nil, err
		}
		o.Targets = []string{s.Image}
		for _, t := range s.Tags {
			if r.Scheme == ref.Registry && !oci.IsTag(t) {
				return nil, oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(t))
			}
			o.Targets = append(o.Targets, r.WithTag(t).String())
		}
	}
	notes := maps.Clone(s.Annotations)
	if notes == nil {
		notes = map[string]string{}
	}
	maps.Copy(notes, o.Annotations)
	o.Annotations = notes
	children := make([]Child, len(s.Manifests))
	for i, m := range s.Manifests {
		children[i] = Child{Name: m.Image, Platform: m.Platform}
	}
	return c.CreateIndex(ctx, children, o)
}

// fill puts children into an index and plans how it gets to its targets.
func (c *Client) fill(ctx context.Context, x *edit.Index, what, to string, children []Child, o IndexOptions) (*Edited, error) {
	nodes, err := c.children(ctx, to, children, o)
	if err != nil {
		return nil, err
	}
	var missing []string
	for i, n := range nodes {
		if n == nil {
			missing = append(missing, children[i].Name)
			continue
		}
		t := o.Take
		t.Platform, t.Annotations = children[i].Platform, children[i].Annotations
		if err := x.Take(n, t); err != nil {
			return nil, oci.Wrap("", children[i].Name, err)
		}
	}
	if len(missing) == len(children) {
		return nil, oci.Errorf(oci.ErrNotFound, "none of the images is there")
	}
	for _, k := range slices.Sorted(maps.Keys(o.Annotations)) {
		if err := x.Annotate(k, o.Annotations[k]); err != nil {
			return nil, err
		}
	}
	if o.ArtifactType != "" {
		if err := x.SetArtifactType(o.ArtifactType); err != nil {
			return nil, err
		}
	}
	if o.Subject != "" {
		_, _, d, err := c.resolve(ctx, o.Subject, o.From, nil)
		if err == nil {
			err = x.SetSubject(d)
		}
		if err != nil {
			return nil, err
		}
	}
	o.MediaTypes = "" // has been seen to
	e, err := c.edited(ctx, x, what, o.EditOptions)
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		e.Notes = append(e.Notes, name+" is not there and is left out")
	}
	return e, nil
}

// children reads what is put into an index, all at once; nil stands for one that
// is not there. to is where it goes.
func (c *Client) children(ctx context.Context, to string, list []Child, o IndexOptions) ([]edit.Node, error) {
	target, err := ref.ParseAny(to)
	if err != nil {
		return nil, err
	}
	at := opening{map[string]oci.Store{}, map[string]oci.Source{}}
	refs, sources := make([]ref.Ref, len(list)), make([]oci.Source, len(list))
	for i, ch := range list {
		if refs[i], err = ref.Parse(ch.Name); err != nil {
			return nil, err
		}
		sources[i], err = c.source(at, refs[i], target, CopyOptions{From: o.From})
		if err != nil && !(o.IgnoreMissing && isMissing(err)) {
			return nil, err
		}
	}
	out := make([]edit.Node, len(list))
	err = oci.Parallel(ctx, len(list), func(ctx context.Context, i int) error {
		if sources[i] == nil {
			return nil
		}
		m, err := oci.Get(ctx, sources[i], refs[i].Target())
		if o.IgnoreMissing && isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		t := o.Take
		t.Platform = list[i].Platform
		out[i], err = loadChild(ctx, sources[i], m, t)
		return oci.Wrap("", refs[i].String(), err)
	})
	return out, err
}

// isMissing reports whether an image is not there, which is not the same as that
// it may not be read.
func isMissing(err error) bool {
	return (errors.Is(err, oci.ErrNotFound) || errors.Is(err, fs.ErrNotExist)) && !errors.Is(err, oci.ErrUnauthorized) && !errors.Is(err, oci.ErrDenied)
}

// loadChild reads what will be taken of a child, and configs only where nothing
// else tells the platform.
func loadChild(ctx context.Context, s oci.Source, m *oci.Manifest, t edit.TakeOptions) (edit.Node, error) {
	o := edit.Options{Choose: noPlatform}
	if m.IsIndex() && !t.Nested {
		list, err := withPlatforms(ctx, s, m)
		if err != nil {
			return nil, err
		}
		keep, err := t.From(list)
		if err != nil {
			return nil, err
		}
		o.Leave = unless(list, keep)
	}
	return edit.Load(ctx, s, read(m), o)
}

func noPlatform(d oci.Descriptor) bool { return d.Platform == nil }

// unless tells which entries of an index need not be read: those of which none is
// kept.
func unless(list []oci.Descriptor, keep []bool) func(oci.Descriptor) bool {
	kept, gone := map[oci.Digest]bool{}, map[oci.Digest]bool{}
	for i, d := range list {
		if keep[i] {
			kept[d.Digest] = true
		} else {
			gone[d.Digest] = true
		}
	}
	return func(d oci.Descriptor) bool { return gone[d.Digest] && !kept[d.Digest] }
}

// withPlatforms is what an index lists; where it does not say what an image is
// for, the image's config does.
func withPlatforms(ctx context.Context, s oci.Source, m *oci.Manifest) ([]oci.Descriptor, error) {
	list := slices.Clone(m.Manifests)
	err := oci.Parallel(ctx, len(list), func(ctx context.Context, i int) error {
		d := list[i]
		if d.Platform != nil || oci.IsIndex(d.MediaType) || !oci.IsManifest(d.MediaType) || d.ArtifactType != "" {
			return nil
		}
		child, err := oci.Fetch(ctx, s, d)
		if err != nil {
			return err
		}
		p, err := platformOf(ctx, s, child)
		if err == nil && p.OS != "" {
			list[i].Platform = &p
		}
		return err
	})
	return list, err
}

func isDocker(mediaTypes string) (bool, error) {
	switch mediaTypes {
	case "", "oci":
		return false, nil
	case "docker":
		return true, nil
	}
	return false, oci.Errorf(oci.ErrInvalid, "media types %s: want oci or docker", oci.Quote(mediaTypes))
}

// family gives an index the media type that is asked for, and nothing else.
func family(x *edit.Index, o *EditOptions) error {
	docker, err := isDocker(o.MediaTypes)
	if err == nil && o.MediaTypes != "" {
		err = x.SetFamily(docker)
	}
	o.MediaTypes = ""
	return err
}
