// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"

	"github.com/dray-tools/dray/oci"
)

// A spot is content in a repository. The manifest and the blob of one digest
// are two things there: having one does not mean having the other.
type spot struct {
	at       place
	d        oci.Digest
	manifest bool
}

// spot is where content of a graph comes to be.
func (r *root) spot(d oci.Descriptor) spot {
	return spot{r.to, d.Digest, oci.IsManifest(d.MediaType)}
}

// A hostBlob is a blob anywhere on a host.
type hostBlob struct {
	host string
	d    oci.Digest
}

// ask finds out what is at the destinations: first the manifests, whose
// presence answers for the blobs below them, then the blobs of those that are
// missing.
func (p *planner) ask(ctx context.Context, roots []*root) error {
	err := p.admit(ctx, roots)
	if err != nil {
		return err
	}
	for _, r := range graphs(roots) {
		p.here(r)
	}
	err = p.stat(ctx, roots, func(r *root) (all []oci.Descriptor) {
		for _, m := range r.tree.Manifests {
			if !p.has[r.spot(m.Descriptor)] && !r.made(m.Descriptor) {
				all = append(all, m.Descriptor)
			}
		}
		return all
	})
	if err != nil {
		return err
	}
	for _, r := range graphs(roots) {
		for _, m := range r.tree.Manifests {
			p.below(r, m)
		}
	}
	first := map[hostBlob]place{}
	return p.stat(ctx, roots, func(r *root) []oci.Descriptor { return p.open(r, first) })
}

// admit shows the manifests to the destinations that want to see them before
// they are asked for anything.
func (p *planner) admit(ctx context.Context, roots []*root) error {
	for _, r := range graphs(roots) {
		a, ok := oci.As[oci.Admitter](r.job.To)
		for _, m := range r.tree.Manifests {
			if !ok {
				break
			}
			if err := a.Admit(ctx, m, r.job.From); err != nil {
				err = r.failed(ctx, oci.Wrap("", r.job.ToRef, err), p.plan.o.KeepGoing)
				if err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// A question is whether a destination has something, and who wants to know.
type question struct {
	spot
	desc oci.Descriptor
	to   oci.Store
	by   []*root

	has   bool
	wrong bool // it is there with another size
	err   error
}

// stat asks the destinations for what each graph of the roots wants to know,
// each thing once. With KeepGoing an error ends only the images that asked.
func (p *planner) stat(ctx context.Context, roots []*root, what func(*root) []oci.Descriptor) error {
	var list []*question
	at := map[spot]*question{}
	for _, r := range graphs(roots) {
		for _, d := range what(r) {
			s := r.spot(d)
			if at[s] == nil {
				at[s] = &question{spot: s, desc: d, to: r.job.To}
				list = append(list, at[s])
			}
			at[s].by = append(at[s].by, r)
		}
	}
	err := oci.Parallel(ctx, len(list), func(ctx context.Context, i int) error {
		if list[i].err = list[i].ask(ctx); p.plan.o.KeepGoing && ctx.Err() == nil {
			return nil
		}
		return list[i].err
	})
	if err != nil {
		return err
	}
	for _, q := range list {
		p.wrong[q.spot] = q.wrong
		if q.has {
			p.found(q.spot)
		}
		for _, r := range q.by {
			if q.err != nil && r.image.Err == nil {
				r.image.Err = oci.Wrap("", r.job.FromRef, q.err)
			}
		}
	}
	return nil
}

func (q *question) ask(ctx context.Context) error {
	have, err := q.to.Stat(ctx, q.desc)
	switch {
	case errors.Is(err, oci.ErrNotFound):
	case errors.Is(err, oci.ErrCorrupt), err == nil && have.Size != q.desc.Size:
		q.wrong = true
	case err != nil:
		return err
	default:
		q.has = true
	}
	return nil
}

// found notes that a destination has something.
func (p *planner) found(s spot) {
	p.has[s] = true
	key := hostBlob{s.at.host, s.d}
	if !s.manifest && (p.seenAt[key] == "" || s.at.repo < p.seenAt[key]) {
		p.seenAt[key] = s.at.repo
	}
}

// here notes what comes from the very place that it goes to.
func (p *planner) here(r *root) {
	for _, m := range r.tree.Manifests {
		if r.stays(m.Descriptor) {
			p.found(r.spot(m.Descriptor))
		}
	}
	for _, d := range r.tree.Blobs {
		if r.stays(d) {
			p.found(r.spot(d))
		}
	}
}

// below notes the blobs of a manifest that is at the destination: they are
// there too, for other images to use.
func (p *planner) below(r *root, m *oci.Manifest) {
	if !p.has[r.spot(m.Descriptor)] {
		return
	}
	for _, d := range m.Children() {
		if !oci.IsManifest(d.MediaType) && !oci.IsForeign(d) {
			p.found(r.spot(d))
		}
	}
}

// graphs are what the roots and what comes along with them have to move.
func graphs(roots []*root) (all []*root) {
	for _, r := range roots {
		if r.image.Err != nil {
			continue
		}
		for _, g := range append(r.along, r) {
			if g.skip == "" {
				all = append(all, g)
			}
		}
	}
	return all
}

// missing lists the blobs of manifests that the destination does not have.
func (p *planner) missing(r *root) (out []oci.Descriptor) {
	needed := map[oci.Digest]bool{}
	for _, m := range r.tree.Manifests {
		if p.has[r.spot(m.Descriptor)] {
			continue
		}
		for _, d := range m.Children() {
			needed[d.Digest] = true
		}
	}
	for _, d := range r.tree.Blobs {
		if needed[d.Digest] {
			out = append(out, d)
		}
	}
	return out
}

// open lists those of the missing blobs that are worth a question. A blob that
// another repository of the host has, or will get before, is not: the mount is
// its own probe. Nor is a small one that was just made. first notes which
// repository of a host was asked for a blob.
func (p *planner) open(r *root, first map[hostBlob]place) (out []oci.Descriptor) {
	for _, d := range p.missing(r) {
		key := hostBlob{r.to.host, d.Digest}
		asked, ok := first[key]
		elsewhere := r.sibling(d) != "" || ok && asked != r.to || p.seenAt[key] != ""
		if p.has[r.spot(d)] || r.fresh(d) || r.to.host != "" && elsewhere {
			continue
		}
		first[key] = r.to
		out = append(out, d)
	}
	return out
}
