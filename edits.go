// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store/registry"
	"github.com/dray-tools/dray/transfer"
)

// EditOptions are what all edits have in common.
type EditOptions struct {
	// Options are the transfer's. Platforms chooses the images of an index that
	// are changed; the others stay in it as they are.
	transfer.Options
	From, To Side
	// Targets are where the result goes; none: in the place of what was edited.
	Targets []string
	// MediaTypes is "oci" or "docker": the result gets media types of that family;
	// "": it keeps those that it has.
	MediaTypes string

	sent func(target string, d oci.Digest) bool // that it has been sent just now; nil: nothing has
}

// An Edited is an edit that has been worked out and not yet been written: that
// is what its Run does.
type Edited struct {
	*transfer.Plan
	Root  oci.Descriptor // of the result
	Was   oci.Descriptor // of what was edited; zero if there was nothing
	Notes []string       // what was decided or left out
	// Changes are those of configs, manifests and indexes.
	Changes []edit.Change
}

// loaded is what an edit begins with.
type loaded struct {
	ref  ref.Ref
	node edit.Node
}

// load reads what a name means, to be edited. ErrNotFound if one of the
// platforms is not there.
func (c *Client) load(ctx context.Context, name string, eo EditOptions) (loaded, error) {
	platforms := eo.Platforms
	r, st, m, err := c.original(ctx, name, eo)
	if err != nil {
		return loaded{ref: r}, err
	}
	var o edit.Options
	if len(platforms) > 0 {
		o.Choose = func(d oci.Descriptor) bool {
			return d.Platform != nil && matchesAny(platforms, *d.Platform)
		}
	}
	n, err := edit.Load(ctx, st, read(m), o)
	if err == nil {
		err = foundAll(n, platforms)
	}
	return loaded{r, n}, oci.Wrap("", r.String(), err)
}

// original reads what a name means, to be edited: at the registry itself and no
// mirror if it will be replaced there.
func (c *Client) original(ctx context.Context, name string, o EditOptions) (ref.Ref, oci.Store, *oci.Manifest, error) {
	return c.getAt(ctx, name, o.From, len(o.Targets) == 0)
}

// get reads the manifest or index that a name means.
func (c *Client) get(ctx context.Context, name string, s Side) (ref.Ref, oci.Store, *oci.Manifest, error) {
	return c.getAt(ctx, name, s, false)
}

func (c *Client) getAt(ctx context.Context, name string, s Side, primary bool) (ref.Ref, oci.Store, *oci.Manifest, error) {
	r, err := ref.Parse(name)
	if err != nil {
		return r, nil, nil, err
	}
	st, err := c.open(r, s, false)
	if err != nil {
		return r, nil, nil, err
	}
	if p, ok := st.(*registry.Repo); ok && primary {
		st = p.Primary()
	}
	m, err := oci.Get(ctx, st, r.Target())
	return r, st, m, err
}

// read is the descriptor of a manifest that has been read, with its bytes if
// they are few: they need not be asked for again.
func read(m *oci.Manifest) oci.Descriptor {
	d := m.Descriptor
	if len(m.Raw) <= oci.MaxData {
		d.Data = m.Raw
	}
	return d
}

func matchesAny(want []oci.Platform, have oci.Platform) bool {
	for _, p := range want {
		if oci.MatchPlatform(p, have) {
			return true
		}
	}
	return false
}

// foundAll checks that each platform that is asked for is there.
func foundAll(n edit.Node, want []oci.Platform) error {
	have := platformsBelow(n)
	for _, p := range want {
		if !slices.ContainsFunc(have, func(h oci.Platform) bool { return oci.MatchPlatform(p, h) }) {
			return oci.Errorf(oci.ErrNotFound, "no image for %s; there is %s", oci.FormatPlatform(p), named(allBelow(n)))
		}
	}
	return nil
}

// allBelow are the platforms below a node, also of images that are not edited.
func allBelow(n edit.Node) (all []oci.Platform) {
	x, ok := n.(*edit.Index)
	if !ok {
		return platformsBelow(n)
	}
	for _, e := range x.Entries() {
		if p := e.Descriptor().Platform; p != nil {
			all = append(all, *p)
		} else {
			all = append(all, allBelow(e.Node)...)
		}
	}
	return all
}

// platformsBelow are those of the images that are edited: as the entries of
// indexes say them, by which they were chosen, else as the configs do.
func platformsBelow(n edit.Node) (all []oci.Platform) {
	switch n := n.(type) {
	case *edit.Image:
		return []oci.Platform{n.Platform()}
	case *edit.Index:
		for _, e := range n.Entries() {
			if _, ok := e.Node.(*edit.Image); ok && e.Descriptor().Platform != nil {
				all = append(all, *e.Descriptor().Platform)
			} else {
				all = append(all, platformsBelow(e.Node)...)
			}
		}
	}
	return all
}

// edited seals a node and plans how it gets to its targets. what is the name of
// what was edited, which the result replaces if there are no targets; "" if
// there has to be one.
func (c *Client) edited(ctx context.Context, n edit.Node, what string, o EditOptions) (*Edited, error) {
	if err := toFamily(n, o.MediaTypes); err != nil {
		return nil, err
	}
	sealed, err := edit.Seal(n)
	if err != nil {
		return nil, err
	}
	targets := o.Targets
	if len(targets) == 0 && what != "" {
		targets = []string{what}
	}
	if len(targets) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "the result needs a name")
	}
	at := opening{map[string]oci.Store{}, map[string]oci.Source{}}
	jobs := make([]transfer.Job, len(targets))
	for i, name := range targets {
		if jobs[i], err = c.target(at, sealed, name, what, len(o.Targets) == 0, o); err != nil {
			return nil, err
		}
		if o.sent != nil {
			jobs[i].Sent = func(d oci.Digest) bool { return o.sent(name, d) }
		}
		if _, ok := oci.As[oci.Mover](jobs[i].To); ok && len(o.Targets) == 0 {
			jobs[i].Expect = n.Was().Digest
		}
		if jobs[i].Single && severalImages(n) {
			return nil, oci.Wrap("", jobs[i].ToRef, oci.Errorf(oci.ErrUnsupported, "it takes one image, not an index: write the result elsewhere, and from there one image with dray copy --platform"))
		}
	}
	to := o.Options
	to.Platforms = nil // all of the result is written
	plan, err := transfer.Make(ctx, jobs, to)
	return &Edited{Plan: plan, Root: sealed.Root, Was: n.Was(), Notes: sealed.Notes, Changes: edit.Changes(n)}, err
}

// severalImages reports whether a node is an index of other than one image; what
// is known about images counts as none.
func severalImages(n edit.Node) bool {
	x, ok := n.(*edit.Index)
	if !ok {
		return false
	}
	count := 0
	for _, e := range x.Entries() {
		if d := e.Descriptor(); d.Annotations[oci.AnnotationAbout] == "" && (d.Platform == nil || d.Platform.OS != "unknown") {
			count++
		}
	}
	return count != 1
}

// toFamily gives a node the media types that EditOptions.MediaTypes asks for.
func toFamily(n edit.Node, family string) error {
	switch family {
	case "":
		return nil
	case "oci", "docker":
		return edit.ToFamily(n, family == "docker")
	}
	return oci.Errorf(oci.ErrInvalid, "media types %s: want oci or docker", oci.Quote(family))
}

// outlines is what is known of the files of layers.
func (c *Client) outlines() *layer.Outlines {
	o := &layer.Outlines{}
	if c.env.CacheDir != "" {
		o.Dir = filepath.Join(c.env.CacheDir, "outlines")
	}
	return o
}

// target is the job that writes a sealed edit to a place.
func (c *Client) target(at opening, from *edit.Sealed, name, what string, replaces bool, o EditOptions) (j transfer.Job, err error) {
	to, err := ref.ParseAny(name)
	if err != nil {
		return j, err
	}
	side := o.To
	if replaces {
		side = o.From
		if to.Name != "" {
			to.Digest = "" // the tag moves on
		}
	}
	if to.Scheme == ref.Registry && to.Name == "" && (to.Digest == "" || !replaces) {
		to.Name = "latest"
	}
	j = transfer.Job{From: from, Name: string(from.Root.Digest), Tag: to.Name, FromRef: what, ToRef: to.String()}
	if j.FromRef == "" {
		j.FromRef = name
	}
	if replaces {
		to.Digest = ""
	}
	j.Want = to.Digest
	switch to.Scheme {
	case ref.DockerArchive, ref.Daemon, ref.Podman:
		j.Single = true
	}
	j.To, err = c.opened(at, "to ", to, side, true)
	return j, err
}
