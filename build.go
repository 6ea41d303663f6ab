// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/transfer"
)

// A BuildJob is an application to be built.
type BuildJob struct {
	Builder build.Builder
	Want    build.Want
	build.RunOptions
	// Targets are where the image goes; none: it is made and written nowhere.
	Targets []string
}

// BuildOptions are what all builds of a run have in common.
type BuildOptions struct {
	// EditOptions has no Targets here; its Platforms mean nothing.
	EditOptions
	Packing *layer.Packing // of new layers; nil: gzip
	Deep    bool           // read bases also where no link is to be expected
	// Time is the latest time that files may say, Created when images are said to
	// have been made. Zero: files have their builder's times, images are as old as
	// their base.
	Time, Created time.Time
	// Static puts the base build.Static on a stack; nil: there is none.
	Static func(ctx context.Context, s *build.Stack) error
	// Attestors make what is attached to images.
	Attestors []build.Attestor
	// AttachAgain asks for what is attached also where it is remembered to be there.
	AttachAgain bool
	// NoUpload keeps layers from being sent while they are packed: for dry runs.
	NoUpload bool
	// Packs, if given, is called when a layer begins to be made, with 0, and with the
	// number of bytes each time some have been. Several goroutines call it.
	Packs func(name string, n int)
}

// A Built is what has been built and not yet been written: that is what its Run
// does.
type Built struct {
	*transfer.Plan
	Builds []BuiltImage // in the order of the jobs
	Notes  []string     // what was decided or left out

	c        *Client
	attached []string // to be remembered after Run
}

// A BuiltImage is an image, or an index of several.
type BuiltImage struct {
	Name      string           `json:"name"` // of the builder
	Targets   []string         `json:"targets,omitempty"`
	Root      oci.Descriptor   `json:"root"`
	Images    []oci.Descriptor `json:"images"` // with their platforms
	Base      string           `json:"base,omitempty"`
	Documents []build.Document `json:"-"`
}

// Build builds applications: what they need of bases is referred to, layers are
// made once for all of them, and large ones are sent while they are packed.
func (c *Client) Build(ctx context.Context, jobs []BuildJob, o BuildOptions) (*Built, error) {
	b := &building{c: c, o: o, at: opening{map[string]oci.Store{}, map[string]oci.Source{}}}
	if err := b.start(jobs); err != nil {
		return nil, err
	}
	out := &Built{c: c, Builds: make([]BuiltImage, len(jobs))}
	moves := make([][]transfer.Job, len(jobs))
	sealed := make([]*edit.Sealed, len(jobs))
	err := oci.Parallel(ctx, len(jobs), func(ctx context.Context, n int) (err error) {
		out.Builds[n], sealed[n], moves[n], err = b.build(ctx, jobs[n])
		if len(jobs) > 1 {
			err = oci.Wrap("", jobs[n].Builder.Name(), err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []transfer.Job
	for n := range jobs {
		all = append(all, moves[n]...)
		out.Notes = append(out.Notes, sealed[n].Notes...)
	}
	out.Notes = append(b.engine.Notes(), out.Notes...)
	out.attached = b.attached
	to := o.Options
	to.Platforms = nil
	out.Plan, err = transfer.Make(ctx, all, to)
	return out, err
}

// Run writes what was built, and what is attached to it before the tags.
func (b *Built) Run(ctx context.Context) error {
	err := b.Plan.Run(ctx)
	if err == nil {
		for _, key := range b.attached {
			b.c.rememberAttached(key)
		}
	}
	return err
}

// A building is one run of Build.
type building struct {
	c        *Client
	o        BuildOptions
	at       opening
	engine   *build.Engine
	first    ref.Ref // that large layers are sent to while they are packed
	attached []string
}

// start makes the engine, and refuses what can be known to be wrong.
func (b *building) start(jobs []BuildJob) error {
	if len(jobs) == 0 {
		return oci.Errorf(oci.ErrInvalid, "nothing to build")
	}
	for _, j := range jobs {
		for _, name := range j.Targets {
			if _, err := ref.ParseAny(name); err != nil {
				return err
			}
		}
	}
	o := b.o
	io := input.Options{Clamp: o.Time, CacheDir: b.c.env.CacheDir, TempDir: b.c.env.TempDir}
	if o.Packing != nil {
		io.Packing, io.Repack = *o.Packing, true
	}
	if o.Packs != nil {
		io.Progress = func(in *input.Input, n int) { o.Packs(in.Name(), n) }
	}
	maker := input.New(io)
	b.c.closeLater(maker)
	to, err := b.early(jobs)
	if err != nil {
		return err
	}
	b.engine = build.NewEngine(build.Options{
		Open: b.open, Maker: maker, Outlines: b.c.outlines(), To: to, Static: o.Static, Deep: o.Deep, Docker: o.MediaTypes == "docker",
		Created: o.Created, Time: o.Time, CacheDir: b.c.env.CacheDir, TempDir: b.c.env.TempDir, HTTP: b.c.plainHTTP(),
	})
	return nil
}

// early is where layers are sent while they are packed: the repository of all
// jobs, if there is only one.
func (b *building) early(jobs []BuildJob) (oci.Sink, error) {
	if b.o.NoUpload || b.o.NoClobber || len(jobs) != 1 {
		return nil, nil
	}
	for _, name := range jobs[0].Targets {
		if r, err := ref.ParseAny(name); err == nil && r.Scheme == ref.Registry {
			b.first = r
			return b.c.opened(b.at, "to ", r, b.o.To, true)
		}
	}
	return nil, nil
}

// build makes one image and says how it gets to its targets.
func (b *building) build(ctx context.Context, j BuildJob) (out BuiltImage, sealed *edit.Sealed, moves []transfer.Job, err error) {
	r, err := build.Run(ctx, b.engine, j.Builder, j.Want, j.RunOptions)
	if err == nil {
		err = toFamily(r.Node, b.o.MediaTypes)
	}
	if err == nil {
		sealed, err = edit.Seal(r.Node)
	}
	if err != nil {
		return out, nil, nil, err
	}
	subject, err := b.subject(ctx, j, r, sealed)
	if err != nil {
		return out, nil, nil, err
	}
	out = BuiltImage{Name: subject.Name, Targets: j.Targets, Root: sealed.Root}
	for _, i := range subject.Images {
		d := i.Descriptor
		d.Platform = &i.Platform
		out.Images = append(out.Images, d)
	}
	if base := r.Targets[0].Base; base != nil {
		out.Base = base.Name
	}
	src := &attaching{Sealed: sealed, made: map[oci.Digest]oci.Blob{}}
	for _, a := range b.o.Attestors {
		docs, err := a.Attest(ctx, subject)
		if err == nil {
			err = src.add(docs)
		}
		if err != nil {
			return out, nil, nil, err
		}
		out.Documents = append(out.Documents, docs...)
	}
	moves, err = b.moves(src, sealed, j, r)
	return out, sealed, moves, err
}

// moves are the jobs of a transfer that bring an image to its targets.
func (b *building) moves(src *attaching, sealed *edit.Sealed, j BuildJob, r *build.Result) ([]transfer.Job, error) {
	var all []transfer.Job
	for _, name := range j.Targets {
		t, err := b.c.target(b.at, sealed, name, "", false, b.o.EditOptions)
		if err != nil {
			return nil, err
		}
		if t.Single && severalImages(r.Node) {
			return nil, oci.Wrap("", t.ToRef, oci.Errorf(oci.ErrUnsupported, "it takes one image, not an index: choose one --platform"))
		}
		to, _ := ref.ParseAny(name)
		t.Sent = func(d oci.Digest) bool { return samePlace(to, b.first) && b.engine.Sent(d) }
		t.From, t.FromRef = src, j.Builder.Name()
		if len(src.along) > 0 && !t.Single {
			key := src.key(to)
			t.Along, t.AlongKnown = src.along, !b.o.AttachAgain && b.c.isAttached(key)
			b.noteAttached(key)
		}
		all = append(all, t)
	}
	return all, nil
}
