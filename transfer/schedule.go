// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"cmp"
	"container/heap"
	"context"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// inOrder reports whether a destination wants one thing at a time.
func inOrder(s oci.Store) bool {
	q, ok := oci.As[oci.Sequencer](s)
	return ok && q.InOrder()
}

// A task is a step that has work in it.
type task struct {
	step   *Step
	images []*Image // that fail with it
	job    *Job
	host   string // that it comes from

	manifest *oci.Manifest  // a manifest to be put, or
	tag      string         // and tagged
	publish  bool           // it is a root, not only a child of one
	blob     oci.Descriptor // a blob to be put or mounted
	from     []string       // repositories to mount it from
	size     int64
	number   int // in the plan
	large    bool
	wrong    bool // the destination has the blob with another size

	ahead *ahead // reads it before its turn; nil: nobody does
	wait  int    // tasks that have not ended
	next  []edge // tasks that wait for this one
	err   error
}

type edge struct {
	t    *task
	hard bool // t cannot succeed without this one
}

// needs makes t wait for u and fail with it.
func (t *task) needs(u *task) { t.link(u, true) }

// after makes t wait for u, whatever comes of it.
func (t *task) after(u *task) { t.link(u, false) }

// share notes that one more image depends on t.
func (t *task) share(i *Image) {
	if t.images[len(t.images)-1] != i {
		t.images = append(t.images, i)
	}
}

func (t *task) link(u *task, hard bool) {
	if t != nil && u != nil && u != t {
		u.next = append(u.next, edge{t, hard})
		t.wait++
	}
}

const (
	smallBlob = 1 << 20 // bytes; below, a transfer costs its round trips
	smallJobs = 4       // small tasks for each large one at a time, from or to a host
)

// A lane holds the tasks that use the same hosts in the same way.
type lane struct {
	from, to string
	large    bool
	inOrder  bool
}

// A queue is a lane's tasks that could run: manifests and mounts first, as
// others wait for them, then the largest blobs. Where the order counts it is
// that of the plan.
type queue struct {
	list    []*task
	inOrder bool
}

func (q *queue) Len() int { return len(q.list) }
func (q *queue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	if !q.inOrder {
		if (a.manifest != nil) != (b.manifest != nil) {
			return a.manifest != nil
		}
		if a.size != b.size {
			return a.size > b.size
		}
	}
	return a.number < b.number
}
func (q *queue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *queue) Push(x any)    { q.list = append(q.list, x.(*task)) }
func (q *queue) Pop() any {
	last := len(q.list) - 1
	t := q.list[last]
	q.list = q.list[:last]
	return t
}

// A scheduler runs tasks as soon as what they wait for has ended and both of
// their hosts have a slot free; both slots are taken together, so that copies
// in opposite directions cannot block one another.
type scheduler struct {
	jobs      int // large tasks at a time from or to a host
	keepGoing bool
	do        func(context.Context, *task) error

	mu     sync.Mutex
	lanes  map[lane]*queue
	order  []lane
	busy   map[slot]int
	left   int
	done   chan struct{}
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

type slot struct {
	host  string
	large bool
}

// run does all tasks and returns when the last has ended.
func (s *scheduler) run(ctx context.Context, tasks []*task) error {
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	s.lanes, s.busy, s.left, s.done = map[lane]*queue{}, map[slot]int{}, len(tasks), make(chan struct{})
	if len(tasks) == 0 {
		return nil
	}
	s.mu.Lock()
	for n, t := range tasks {
		if t.number = n; t.wait == 0 {
			s.ready(t)
		}
	}
	s.dispatch(ctx)
	s.mu.Unlock()
	<-s.done
	s.wg.Wait()
	return context.Cause(ctx)
}

func (s *scheduler) ready(t *task) {
	l := lane{t.host, locate(t.job.To).host, t.large, inOrder(t.job.To)}
	if l.inOrder {
		l.from = "" // whatever it comes from
	}
	q := s.lanes[l]
	if q == nil {
		q = &queue{inOrder: l.inOrder}
		s.lanes[l] = q
		s.order = append(s.order, l)
	}
	heap.Push(q, t)
}

// dispatch starts what can be started. The lock is held.
func (s *scheduler) dispatch(ctx context.Context) {
	for _, l := range s.order {
		q := s.lanes[l]
		limit := s.jobs
		switch {
		case l.inOrder:
			limit = 1
		case !l.large:
			limit *= smallJobs
		}
		from, to := slot{"from " + l.from, l.large}, slot{"to " + l.to, l.large}
		for q.Len() > 0 && s.busy[from] < limit && s.busy[to] < limit {
			t := heap.Pop(q).(*task)
			s.busy[from]++
			s.busy[to]++
			s.wg.Go(func() {
				err := context.Cause(ctx)
				if err == nil {
					err = s.do(ctx, t)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				s.busy[from]--
				s.busy[to]--
				s.ended(t, err)
				s.dispatch(ctx)
			})
		}
	}
}

// ended lets go of what waited for t; what cannot succeed without it ends too.
// The lock is held.
func (s *scheduler) ended(t *task, err error) {
	stack := []*task{t}
	t.err = err
	for len(stack) > 0 {
		t, stack = stack[len(stack)-1], stack[:len(stack)-1]
		if t.err != nil {
			for _, i := range t.images {
				i.Err = cmp.Or(i.Err, t.err)
			}
			if !s.keepGoing {
				s.cancel(t.err)
			}
		}
		for _, e := range t.next {
			if e.hard && t.err != nil && e.t.err == nil {
				e.t.err = t.err
			}
			if e.t.wait--; e.t.wait > 0 {
				continue
			}
			if e.t.err != nil {
				stack = append(stack, e.t)
			} else {
				s.ready(e.t)
			}
		}
		if s.left--; s.left == 0 {
			close(s.done)
		}
	}
}
