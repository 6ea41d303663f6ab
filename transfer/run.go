// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

const corruptAttempts = 8 // of one blob whose bytes arrive wrong

// Run does what the plan says, once. It returns the first error, or with KeepGoing
// all of them; Image.Err tells them apart. A run that was cut short can be
// planned and run again: what is done is found done. Destinations that change
// as a whole do so at the end, if there was no error or with KeepGoing.
func (p *Plan) Run(ctx context.Context) error {
	if p.ran.Swap(true) {
		return oci.Errorf(oci.ErrInvalid, "plan has been run already")
	}
	jobs := p.o.Jobs
	if jobs <= 0 {
		jobs = 16
	}
	s := &scheduler{jobs: jobs, keepGoing: p.o.KeepGoing, do: p.do}
	p.tellSent()
	stop := p.readAhead(ctx)
	err := s.run(ctx, p.tasks)
	stop()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if cerr := p.commit(ctx, err == nil || p.o.KeepGoing && ctx.Err() == nil); err == nil {
		err = cerr
	}
	if !p.o.KeepGoing || ctx.Err() != nil {
		return err
	}
	var all []error
	for _, i := range p.Images {
		if i.Err != nil {
			all = append(all, i.Err)
		}
	}
	return errors.Join(all...)
}

// tellSent tells of the steps that were done before.
func (p *Plan) tellSent() {
	for _, s := range p.Steps {
		if s.Op == Put && s.Why == sent {
			p.moved.Add(s.Size)
			p.tell(Event{Kind: Began, Step: s})
			p.tell(Event{Kind: Bytes, Step: s, N: int(s.Size)})
			p.tell(Event{Kind: Ended, Step: s, How: oci.Sent})
		}
	}
}

// commit ends what the run has begun at destinations that change as a whole.
func (p *Plan) commit(ctx context.Context, good bool) (first error) {
	seen := map[oci.Store]bool{}
	for _, t := range p.tasks {
		c, ok := oci.As[oci.Committer](t.job.To)
		if !ok || seen[t.job.To] {
			continue
		}
		seen[t.job.To] = true
		err := c.Abort
		if good {
			err = func() error { return c.Commit(ctx) }
		}
		if err := oci.Wrap("write", t.job.ToRef, err()); err != nil && good {
			first = cmp.Or(first, err)
			p.fail(t.job.To, err)
		}
	}
	return first
}

// fail notes that nothing of this run is at a destination.
func (p *Plan) fail(to oci.Store, err error) {
	for _, t := range p.tasks {
		for _, i := range t.images {
			if t.job.To == to {
				i.Err = cmp.Or(i.Err, err)
			}
		}
	}
}

func (p *Plan) do(ctx context.Context, t *task) error {
	p.tell(Event{Kind: Began, Step: t.step})
	how, err := oci.Sent, error(nil)
	if t.manifest != nil {
		err = p.putManifest(ctx, t)
	} else {
		how, err = p.putBlob(ctx, t)
	}
	p.tell(Event{Kind: Ended, Step: t.step, How: how, Err: err})
	if err != nil && ctx.Err() == nil {
		err = oci.Wrap("copy", t.job.FromRef, err)
	}
	return err
}

func (p *Plan) tell(e Event) {
	if p.o.Progress != nil {
		p.o.Progress(e)
	}
}

// putBlob moves one blob. Bytes that arrive wrong are fetched again, a few
// times.
func (p *Plan) putBlob(ctx context.Context, t *task) (oci.How, error) {
	for try := 1; ; try++ {
		var seen atomic.Int64
		src, release := t.ahead.take(t)
		b := oci.Observe(src, func(n int) {
			seen.Add(int64(n))
			p.moved.Add(int64(n))
			p.tell(Event{Kind: Bytes, Step: t.step, N: n})
		})
		how, err := t.job.To.Put(ctx, b, t.from...)
		release()
		if err == nil && how == oci.Existed && t.wrong {
			return how, oci.Errorf(oci.ErrCorrupt, "%s does not have the %d bytes that its manifest says", t.blob.Digest, t.blob.Size)
		}
		if !errors.Is(err, oci.ErrCorrupt) || try == corruptAttempts || ctx.Err() != nil {
			return how, err
		}
		p.tell(Event{Kind: Bytes, Step: t.step, N: -int(seen.Load())})
	}
}

// putManifest stores a manifest and names it. If the destination misses
// something that it had said to have, that is put again, once.
func (p *Plan) putManifest(ctx context.Context, t *task) error {
	put := func() error {
		if !t.publish {
			_, err := t.job.To.Put(ctx, t.manifest.Blob())
			return err
		}
		if m, ok := oci.As[oci.Mover](t.job.To); ok && t.job.Expect != "" && t.tag == t.job.Tag && t.tag != "" {
			return m.Move(ctx, t.manifest.Blob(), t.tag, t.job.Expect)
		}
		var names []string
		if t.tag != "" {
			names = []string{t.tag}
		}
		return oci.Publish(ctx, t.job.To, t.manifest.Blob(), names...)
	}
	if kept, err := p.keeps(ctx, t); kept || err != nil {
		return err
	}
	err := put()
	if !errors.Is(err, oci.ErrNotFound) {
		return err
	}
	p.filling.Lock() // one after the other, as images share what is missing
	err = p.refill(ctx, t, t.manifest)
	p.filling.Unlock()
	if err != nil {
		return err
	}
	return put()
}

// keeps looks, with NoClobber, right before a tag would be replaced whether
// somebody has given it to something else since the plan was made. The manifest
// is put without it then: others may need it.
func (p *Plan) keeps(ctx context.Context, t *task) (bool, error) {
	if !p.o.NoClobber || t.tag == "" {
		return false, nil
	}
	have, err := t.job.To.Resolve(ctx, t.tag)
	if errors.Is(err, oci.ErrNotFound) {
		return false, nil
	}
	if err != nil || have.Digest == t.manifest.Descriptor.Digest {
		return false, err
	}
	p.filling.Lock()
	for _, i := range t.images {
		if i.Digest == t.manifest.Descriptor.Digest {
			i.Kept = true
		} else {
			i.Notes = append(i.Notes, "tag "+t.tag+" exists with other content: kept")
		}
	}
	p.filling.Unlock()
	_, err = t.job.To.Put(ctx, t.manifest.Blob())
	return true, err
}

// refill puts everything below a manifest that the destination may have lost.
func (p *Plan) refill(ctx context.Context, t *task, m *oci.Manifest) error {
	for _, d := range m.Children() {
		if oci.IsForeign(d) && !p.o.Foreign {
			continue
		}
		if oci.IsManifest(d.MediaType) {
			child, err := oci.Fetch(ctx, t.job.From, d)
			if err != nil {
				return err
			}
			if err := p.refill(ctx, t, child); err != nil {
				return err
			}
			if _, err := t.job.To.Put(ctx, child.Blob()); err != nil {
				return err
			}
			continue
		}
		if _, err := p.putBlob(ctx, &task{step: t.step, job: t.job, blob: d}); err != nil {
			return err
		}
	}
	return nil
}
