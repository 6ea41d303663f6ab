// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"

	"github.com/dray-tools/dray/oci"
)

// Make finds out what jobs need. It reads manifests and asks the destinations
// what they have; nothing is written. The plan is the same for the same
// content, whatever the order of the answers. ErrInvalid if two jobs would give
// one name to different content. With Options.KeepGoing a job that cannot be
// planned is noted in its Image; else the first error ends it.
func Make(ctx context.Context, jobs []Job, o Options) (*Plan, error) {
	l := &loader{o: o, tags: map[place]*tagList{}}
	roots := make([]*root, len(jobs))
	err := oci.Parallel(ctx, len(jobs), func(ctx context.Context, i int) error {
		r, err := l.load(ctx, &jobs[i])
		roots[i] = r
		return r.failed(ctx, err, o.KeepGoing)
	})
	if err != nil {
		return nil, err
	}
	p := &planner{plan: &Plan{o: o}, has: map[spot]bool{}, wrong: map[spot]bool{}, sent: map[spot]bool{}, tasks: map[spot]*task{},
		named: map[name]oci.Digest{}, firstAt: map[hostBlob]*task{}, seenAt: map[hostBlob]string{}}
	for _, r := range roots {
		p.plan.Images = append(p.plan.Images, r.image)
		if err := r.failed(ctx, p.claim(r), o.KeepGoing); err != nil {
			return nil, err
		}
	}
	if err := p.ask(ctx, roots); err != nil {
		return nil, err
	}
	for i, r := range roots {
		p.add(i, r)
	}
	return p.plan, p.halves(ctx)
}

// halves asks the destinations for the large blobs that an interrupted run has
// moved in part.
func (p *planner) halves(ctx context.Context) error {
	return oci.Parallel(ctx, len(p.plan.tasks), func(ctx context.Context, i int) error {
		t := p.plan.tasks[i]
		if r, ok := oci.As[oci.Resumer](t.job.To); ok && t.step.Op == Put && t.manifest == nil && t.size >= smallBlob {
			t.step.Left = min(r.Left(ctx, t.blob), t.size)
		}
		return ctx.Err()
	})
}

// failed notes why a job cannot be planned, if others are to go on; else it
// returns the error.
func (r *root) failed(ctx context.Context, err error, keepGoing bool) error {
	if err = oci.Wrap("", r.job.FromRef, err); err != nil && keepGoing && ctx.Err() == nil {
		r.image.Err = err
		return nil
	}
	return err
}

// A name is a tag of a repository.
type name struct {
	at  place
	tag string
}

type planner struct {
	plan    *Plan
	has     map[spot]bool       // what the destinations answered
	wrong   map[spot]bool       // what they have with another size
	sent    map[spot]bool       // what the caller has sent, once
	tasks   map[spot]*task      // what will bring content to a spot
	named   map[name]oci.Digest // what the names will mean
	firstAt map[hostBlob]*task  // the first task that brings a blob to a host
	seenAt  map[hostBlob]string // the first repository of a host that was seen to have it
}

// claim reserves the names of a root and of what comes along with it.
func (p *planner) claim(r *root) error {
	if r.image.Err != nil {
		return nil
	}
	for _, g := range append(r.along, r) {
		if g.tag == "" || g.skip == kept {
			continue
		}
		n := name{g.to, g.tag}
		if old, ok := p.named[n]; ok && old != g.desc.Digest {
			return oci.Errorf(oci.ErrInvalid, "%s would mean %s and %s at once", oci.Quote(g.tag), old, g.desc.Digest)
		}
		p.named[n] = g.desc.Digest
	}
	return nil
}

// add turns a root into steps and tasks.
func (p *planner) add(image int, r *root) {
	if r.image.Err != nil {
		return
	}
	var before []*task
	for _, a := range r.along {
		before = append(before, p.graph(image, a, nil))
	}
	p.graph(image, r, before)
}

// graph plans the blobs, then the manifests, then the tag of one tree; it
// returns the task of the root, nil if nothing has to be done for it.
func (p *planner) graph(image int, r *root, before []*task) *task {
	if r.skip != "" {
		p.step(image, Skip, r.desc, r.skip)
		return nil
	}
	for _, d := range r.foreign {
		p.step(image, Skip, d, foreign)
	}
	for _, d := range p.missing(r) {
		p.blob(image, r, d)
	}
	for _, m := range r.tree.Manifests[:len(r.tree.Manifests)-1] {
		p.manifest(image, r, m, "")
	}
	t := p.manifest(image, r, r.tree.Root(), r.tag)
	for _, b := range before {
		t.needs(b)
	}
	return t
}

// manifest plans how a manifest gets to the image's destination, after all that
// it refers to. It returns the task that ends with it being there.
func (p *planner) manifest(image int, r *root, m *oci.Manifest, tag string) *task {
	s := r.spot(m.Descriptor)
	old := p.tasks[s]
	bare := tag == "" && m == r.tree.Root()          // it shall stay without a name
	if old != nil && (tag == "" || tag == old.tag) { // another image brings it
		old.share(r.image)
		old.publish = old.publish || bare
		return old
	}
	if tag == "" && p.has[s] && !(r.publish && m == r.tree.Root()) {
		p.step(image, Skip, m.Descriptor, exists)
		return nil
	}
	op := Put
	if tag != "" {
		op = Tag
	}
	t := &task{images: []*Image{r.image}, job: r.job, host: r.from.host, manifest: m, tag: tag, publish: tag != "" || bare, size: m.Descriptor.Size}
	t.step = p.step(image, op, m.Descriptor, "")
	t.step.Name = tag
	for _, d := range m.Children() {
		t.needs(p.tasks[r.spot(d)])
	}
	t.needs(old) // under another tag
	p.tasks[s] = t
	p.plan.tasks = append(p.plan.tasks, t)
	return t
}

// blob plans how a blob gets to the image's destination.
func (p *planner) blob(image int, r *root, d oci.Descriptor) {
	s := r.spot(d)
	if old := p.tasks[s]; old != nil {
		old.share(r.image)
		return
	}
	if p.has[s] {
		switch {
		case p.sent[s]: // for another image
		case r.job.Sent != nil && r.job.Sent(d.Digest):
			p.sent[s] = true
			p.step(image, Put, d, sent)
		default:
			p.step(image, Skip, d, exists)
		}
		return
	}
	at, _ := r.origin(d)
	t := &task{images: []*Image{r.image}, job: r.job, host: at.host, blob: d, size: d.Size, wrong: p.wrong[s]}
	key := hostBlob{r.to.host, d.Digest}
	op := Put
	switch first := p.firstAt[key]; {
	case r.to.host == "":
	case r.sibling(d) != "":
		op, t.from = Mount, []string{r.sibling(d)}
	case first != nil:
		op, t.from = Mount, []string{locate(first.job.To).repo}
		t.after(first)
	case p.seenAt[key] != "":
		op, t.from = Mount, []string{p.seenAt[key]}
	default:
		p.firstAt[key] = t
		if r.fresh(d) && r.to.repo != "" { // the upload begins with the question
			t.from = []string{r.to.repo}
		}
	}
	t.large = op == Put && d.Size >= smallBlob && !inOrder(r.job.To)
	t.step = p.step(image, op, d, "")
	if op == Mount {
		t.step.From = t.from[0]
	}
	p.tasks[s] = t
	p.plan.tasks = append(p.plan.tasks, t)
}

func (p *planner) step(image int, op Op, d oci.Descriptor, why string) *Step {
	s := &Step{Op: op, Image: image, MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Why: why}
	p.plan.Steps = append(p.plan.Steps, s)
	return s
}
