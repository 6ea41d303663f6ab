// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// Make finds out what jobs need. It reads manifests and asks the destinations
// what they have; nothing is written. The plan is the same for the same
// content, whatever the order of the answers. With Options.KeepGoing a job
// that cannot be planned is noted in its Image; else the first error ends it.
func Make(ctx context.Context, jobs []Job, o Options) (*Plan, error) {
	l := &loader{o: o, tags: map[oci.Source]*tagList{}}
	roots := make([]*root, len(jobs))
	err := oci.Parallel(ctx, len(jobs), func(ctx context.Context, i int) error {
		r, err := l.load(ctx, &jobs[i])
		roots[i] = r
		if err = oci.Wrap("", jobs[i].FromRef, err); err != nil && o.KeepGoing && ctx.Err() == nil {
			r.image.Err, r.done = err, true
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p := &planner{plan: &Plan{o: o}, has: map[spot]bool{}, tasks: map[spot]*task{}, firstAt: map[hostBlob]*task{}, seenAt: map[hostBlob]string{}}
	for _, r := range roots {
		p.plan.Images = append(p.plan.Images, r.image)
	}
	if err := p.ask(ctx, roots); err != nil {
		return nil, err
	}
	for i, r := range roots {
		p.add(i, r)
	}
	return p.plan, nil
}

// A spot is content in a repository.
type spot struct {
	at place
	d  oci.Digest
}

// A place is a repository, comparable. Stores that cannot tell where they are
// are places of their own.
type place struct {
	host, repo string
	store      any
}

type hostBlob struct {
	host string
	d    oci.Digest
}

func locate(s any) place {
	if l, ok := oci.As[oci.Locator](s); ok {
		host, repo := l.Locate()
		return place{host: host, repo: repo}
	}
	return place{store: s}
}

type planner struct {
	plan    *Plan
	has     map[spot]bool       // what the destinations answered
	tasks   map[spot]*task      // what will bring content to a spot
	firstAt map[hostBlob]*task  // the first task that brings a blob to a host
	seenAt  map[hostBlob]string // the first repository of a host that was seen to have it
}

// ask finds out what is at the destinations: first the manifests, whose
// presence answers for all below them, then the blobs of those that are
// missing. What will be mounted is not asked about: a mount is its own probe.
func (p *planner) ask(ctx context.Context, roots []*root) error {
	type question struct {
		to oci.Store
		d  oci.Descriptor
	}
	asked := map[spot]bool{}
	var list []question
	each := func(f func(r *root)) error {
		list = list[:0]
		for _, r := range roots {
			if r.tree == nil {
				continue
			}
			if !r.done {
				f(r)
			}
			for _, a := range r.along {
				f(a)
			}
		}
		var mu sync.Mutex
		return oci.Parallel(ctx, len(list), func(ctx context.Context, i int) error {
			_, err := list[i].to.Stat(ctx, list[i].d)
			if err != nil && !errors.Is(err, oci.ErrNotFound) && !errors.Is(err, oci.ErrCorrupt) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			at := locate(list[i].to)
			p.has[spot{at, list[i].d.Digest}] = err == nil
			if key := (hostBlob{at.host, list[i].d.Digest}); err == nil && (p.seenAt[key] == "" || at.repo < p.seenAt[key]) {
				p.seenAt[key] = at.repo
			}
			return nil
		})
	}
	add := func(r *root, d oci.Descriptor) {
		s := spot{locate(r.job.To), d.Digest}
		if !asked[s] {
			asked[s] = true
			list = append(list, question{r.job.To, d})
		}
	}
	if err := each(func(r *root) {
		for _, m := range r.tree.Manifests {
			add(r, m.Descriptor)
		}
	}); err != nil {
		return err
	}
	first := map[hostBlob]place{}
	return each(func(r *root) {
		to := locate(r.job.To)
		for _, d := range p.missing(r) {
			key := hostBlob{to.host, d.Digest}
			if at, ok := first[key]; to.host == "" || !ok && locate(r.job.From).host != to.host || ok && at == to {
				add(r, d)
				first[key] = to
			}
		}
	})
}

// missing lists the blobs of manifests that the destination does not have.
func (p *planner) missing(r *root) []oci.Descriptor {
	to := locate(r.job.To)
	if p.has[spot{to, r.tree.Root().Descriptor.Digest}] {
		return nil
	}
	needed := map[oci.Digest]bool{}
	for _, m := range r.tree.Manifests {
		if p.has[spot{to, m.Descriptor.Digest}] {
			continue
		}
		for _, d := range m.Children() {
			needed[d.Digest] = true
		}
	}
	var out []oci.Descriptor
	for _, d := range r.tree.Blobs {
		if needed[d.Digest] {
			out = append(out, d)
		}
	}
	return out
}

// add turns a root into steps and tasks.
func (p *planner) add(image int, r *root) {
	if r.done && r.tree == nil || r.image.Kept {
		why := "unchanged"
		if r.image.Kept {
			why = "kept"
		}
		if r.image.Err == nil {
			p.step(image, Skip, oci.Descriptor{Digest: r.image.Digest}, why)
		}
		return
	}
	var before []*task
	for _, a := range r.along {
		if t := p.graph(image, a, nil); t != nil {
			before = append(before, t)
		}
	}
	if !r.done {
		p.graph(image, r, before)
	} else {
		p.step(image, Skip, r.tree.Root().Descriptor, "unchanged")
	}
}

// graph plans the blobs, then the manifests, then the tag of one tree; it
// returns the task of the root, nil if nothing has to be done for it.
func (p *planner) graph(image int, r *root, before []*task) *task {
	to := locate(r.job.To)
	for _, d := range r.foreign {
		p.step(image, Skip, d, "foreign")
	}
	for _, d := range p.missing(r) {
		p.blob(image, r, d)
	}
	top := r.tree.Root()
	for _, m := range r.tree.Manifests {
		s := spot{to, m.Descriptor.Digest}
		tag := ""
		if m == top {
			tag = r.tag
		}
		switch t := p.tasks[s]; {
		case t != nil && tag == "": // another image brings it
			continue
		case p.has[s] && tag == "":
			p.step(image, Skip, m.Descriptor, "exists")
			continue
		}
		op := Put
		if tag != "" {
			op = Tag
		}
		t := &task{image: r.image, job: r.job, manifest: m, tag: tag, size: m.Descriptor.Size}
		t.step = p.step(image, op, m.Descriptor, "")
		t.step.Name, t.step.task = tag, t
		if !p.has[s] {
			for _, d := range m.Children() {
				t.needs(p.tasks[spot{to, d.Digest}])
			}
		}
		if m == top {
			for _, b := range before {
				t.needs(b)
			}
		}
		t.needs(p.tasks[s]) // the same manifest under another tag goes first
		p.tasks[s] = t
		p.plan.tasks = append(p.plan.tasks, t)
	}
	return p.tasks[spot{to, top.Descriptor.Digest}]
}

// blob plans how a blob gets to the image's destination.
func (p *planner) blob(image int, r *root, d oci.Descriptor) {
	from, to := locate(r.job.From), locate(r.job.To)
	s := spot{to, d.Digest}
	if p.tasks[s] != nil {
		return
	}
	if p.has[s] {
		p.step(image, Skip, d, "exists")
		return
	}
	t := &task{image: r.image, job: r.job, blob: d, size: d.Size}
	key := hostBlob{to.host, d.Digest}
	op := Put
	switch first := p.firstAt[key]; {
	case to.host == "":
	case from.host == to.host && from.repo != to.repo:
		op, t.from = Mount, []string{from.repo}
	case first != nil:
		op, t.from = Mount, []string{locate(first.job.To).repo}
		t.after(first)
	case p.seenAt[key] != "":
		op, t.from = Mount, []string{p.seenAt[key]}
	default:
		p.firstAt[key] = t
	}
	t.large = op == Put && d.Size >= smallBlob
	t.step = p.step(image, op, d, "")
	t.step.task = t
	if len(t.from) > 0 {
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
