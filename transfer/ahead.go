// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// Destinations that want one thing at a time would wait a round trip for each
// blob. So the next blobs, as long as they are small, are read into memory
// while the ones before them are written.
const (
	aheadBlob  = 8 << 20  // bytes; larger ones fill the line by themselves
	aheadBytes = 32 << 20 // in memory, of all
	aheadBlobs = 16       // at a time
)

// ahead reads the blobs of one destination before they are asked for.
type ahead struct {
	mu    sync.Mutex
	free  *sync.Cond
	bytes int64
	slots int
	done  bool
	taken map[*task]bool
	found map[*task]chan []byte
}

// readAhead begins to read for every destination that wants an order. stop ends
// it.
func (p *Plan) readAhead(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	lists := map[oci.Store][]*task{}
	for _, t := range p.tasks {
		if t.manifest == nil && t.size <= aheadBlob && inOrder(t.job.To) {
			lists[t.job.To] = append(lists[t.job.To], t)
		}
	}
	var wg sync.WaitGroup
	var all []*ahead
	for _, list := range lists {
		a := &ahead{bytes: aheadBytes, slots: aheadBlobs, taken: map[*task]bool{}, found: map[*task]chan []byte{}}
		a.free = sync.NewCond(&a.mu)
		all = append(all, a)
		for _, t := range list {
			t.ahead = a
		}
		wg.Go(func() { a.run(ctx, list, &wg) })
	}
	return func() {
		cancel()
		for _, a := range all {
			a.mu.Lock()
			a.done = true
			a.free.Broadcast()
			a.mu.Unlock()
		}
		wg.Wait()
	}
}

func (a *ahead) run(ctx context.Context, list []*task, wg *sync.WaitGroup) {
	for _, t := range list {
		a.mu.Lock()
		for !a.done && !a.taken[t] && (a.slots == 0 || a.bytes < t.size) {
			a.free.Wait()
		}
		if a.done {
			a.mu.Unlock()
			return
		}
		if a.taken[t] { // it was faster
			a.mu.Unlock()
			continue
		}
		c := make(chan []byte, 1)
		a.found[t] = c
		a.slots--
		a.bytes -= t.size
		a.mu.Unlock()
		wg.Go(func() {
			raw, err := oci.ReadAll(ctx, t.job.From, t.blob, aheadBlob)
			if err != nil {
				raw = nil
			}
			c <- raw
		})
	}
}

// take is the blob of a task: what was read ahead, or the source's own. It says
// when the bytes are no longer needed by release.
func (a *ahead) take(t *task) (b oci.Blob, release func()) {
	b = oci.From(t.job.From, t.blob)
	if a == nil {
		return b, func() {}
	}
	a.mu.Lock()
	c := a.found[t]
	again := a.taken[t]
	a.taken[t] = true
	a.free.Broadcast()
	a.mu.Unlock()
	if c == nil || again {
		return b, func() {}
	}
	if raw := <-c; raw != nil { // else it is tried once more, and fails as it should
		b = oci.Bytes(t.blob.MediaType, raw, t.blob.Digest)
	}
	return b, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.slots++
		a.bytes += t.size
		a.free.Broadcast()
	}
}
