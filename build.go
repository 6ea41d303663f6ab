// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"cmp"
	"context"
	"slices"
	"sync"
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
	Name    string // what results and errors call it; "": what the builder says
	Builder build.Builder
	Want    build.Want
	build.RunOptions
	// Targets are where the image goes; none: it is made and written nowhere.
	Targets []string
	// Attestors make what is attached to its images, beside those of BuildOptions.
	Attestors []build.Attestor
	// Static and Deep are as those of BuildOptions, of this build alone: nil and false
	// are theirs.
	Static func(ctx context.Context, s *build.Stack) error
	Deep   bool
}

func (j *BuildJob) name() string { return cmp.Or(j.Name, j.Builder.Name()) }

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
	// NoCache uses nothing that is in Env.CacheDir, and keeps nothing there.
	NoCache bool
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
	// Bare are targets that cannot hold what there is to attach.
	Bare []string

	attached []mark // to be made after Run
}

// A BuiltImage is an image, or an index of several.
type BuiltImage struct {
	Name      string           `json:"name"` // of the builder
	Targets   []string         `json:"targets,omitempty"`
	Root      oci.Descriptor   `json:"root"`
	Images    []oci.Descriptor `json:"images"` // with their platforms
	Base      string           `json:"base,omitempty"`
	Bases     []BuiltBase      `json:"bases,omitempty"`     // of the images, in their order
	Attached  []oci.Descriptor `json:"documents,omitempty"` // manifests of Documents, in their order
	Documents []build.Document `json:"-"`
}

// A BuiltBase is what an image was built on.
type BuiltBase struct {
	Platform string     `json:"platform"` // of the image that was built
	Name     string     `json:"name"`
	Digest   oci.Digest `json:"digest,omitempty"` // of the image; "" of none
	Index    oci.Digest `json:"index,omitempty"`  // that the image was found in
}

// Build builds applications: what they need of bases is referred to, layers are
// made once for all of them, and large ones are sent while they are packed.
func (c *Client) Build(ctx context.Context, jobs []BuildJob, o BuildOptions) (*Built, error) {
	b := &building{c: c, o: o, at: opening{map[string]oci.Store{}, map[string]oci.Source{}}}
	jobs = slices.Clone(jobs)
	if err := b.start(jobs); err != nil {
		return nil, err
	}
	out := &Built{Builds: make([]BuiltImage, len(jobs))}
	moves := make([][]transfer.Job, len(jobs))
	sealed := make([]*edit.Sealed, len(jobs))
	err := oci.Parallel(ctx, len(jobs), func(ctx context.Context, n int) (err error) {
		out.Builds[n], sealed[n], moves[n], err = b.build(ctx, jobs[n])
		if len(jobs) > 1 {
			err = oci.Wrap("", jobs[n].name(), err)
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
	out.attached, out.Bare = b.attached, b.bare
	to := o.Options
	to.Platforms = nil
	out.Plan, err = transfer.Make(ctx, all, to)
	return out, err
}

// Run writes what was built, and what is attached to it before the tags.
func (b *Built) Run(ctx context.Context) error {
	err := b.Plan.Run(ctx)
	if err == nil {
		b.remember()
	}
	return err
}

// A building is one run of Build.
type building struct {
	c      *Client
	o      BuildOptions
	engine *build.Engine
	first  ref.Ref // that large layers are sent to while they are packed

	mu       sync.Mutex
	at       opening
	attached []mark
	bare     []string
}

// cacheDir is where what need not be done again is kept; "": nowhere.
func (b *building) cacheDir() string {
	if b.o.NoCache {
		return ""
	}
	return b.c.env.CacheDir
}

// start makes the engine, and refuses what can be known to be wrong.
func (b *building) start(jobs []BuildJob) error {
	if len(jobs) == 0 {
		return oci.Errorf(oci.ErrInvalid, "nothing to build")
	}
	o := b.o
	if !slices.Contains([]string{"", "oci", "docker"}, o.MediaTypes) {
		return oci.Errorf(oci.ErrInvalid, "media types %s: want oci or docker", oci.Quote(o.MediaTypes))
	}
	for n, j := range jobs {
		jobs[n].Targets = nil
		for _, name := range j.Targets {
			if _, err := ref.ParseAny(name); err != nil {
				return err
			}
			if !slices.Contains(jobs[n].Targets, name) {
				jobs[n].Targets = append(jobs[n].Targets, name)
			}
		}
	}
	io := input.Options{Clamp: o.Time, CacheDir: b.cacheDir(), TempDir: b.c.env.TempDir}
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
		Open: b.open, Maker: maker, Outlines: b.outlines(), To: to, Static: o.Static, Deep: o.Deep, Docker: o.MediaTypes == "docker",
		Created: o.Created, Time: o.Time, CacheDir: b.cacheDir(), TempDir: b.c.env.TempDir, HTTP: b.c.plainHTTP(),
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
	o := j.RunOptions
	o.MediaTypes = b.o.MediaTypes
	r, err := build.Run(ctx, b.engine.With(j.Static, j.Deep), j.Builder, j.Want, o)
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
		if i.Base != nil {
			out.Bases = append(out.Bases, BuiltBase{oci.FormatPlatform(i.Platform), i.Base.Name, i.Base.Image.Digest, i.Base.Index.Digest})
		}
	}
	if len(out.Bases) > 0 {
		out.Base = out.Bases[0].Name
	}
	src := &attaching{Sealed: sealed, made: map[oci.Digest]oci.Blob{}}
	for _, a := range slices.Concat(b.o.Attestors, j.Attestors) {
		docs, err := a.Attest(ctx, subject)
		if err == nil {
			err = src.add(docs)
		}
		if err != nil {
			return out, nil, nil, err
		}
		out.Documents = append(out.Documents, docs...)
	}
	out.Attached = src.descriptors()
	moves, err = b.moves(src, sealed, j, r)
	return out, sealed, moves, err
}

// moves are the jobs of a transfer that bring an image to its targets.
func (b *building) moves(src *attaching, sealed *edit.Sealed, j BuildJob, r *build.Result) ([]transfer.Job, error) {
	var all []transfer.Job
	for _, name := range j.Targets {
		t, err := b.target(sealed, name)
		if err != nil {
			return nil, err
		}
		if t.Single && severalImages(r.Node) {
			return nil, oci.Wrap("", t.ToRef, oci.Errorf(oci.ErrUnsupported, "it takes one image, not an index: choose one --platform"))
		}
		to, _ := ref.ParseAny(name)
		t.Sent = func(d oci.Digest) bool { return samePlace(to, b.first) && b.engine.Sent(d) }
		t.From, t.FromRef = src, j.name()
		if len(src.along) > 0 && (t.Single || to.Scheme == ref.Dir) {
			b.noteBare(t.ToRef)
		} else if len(src.along) > 0 {
			t.Along, t.AlongKnown = src.along, b.isAttached(src.key(to), t.ToRef)
		}
		all = append(all, t)
	}
	return all, nil
}
