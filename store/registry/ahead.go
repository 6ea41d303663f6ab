// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"io"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// ahead is what parts has asked for beyond its stream, in order.
type ahead struct {
	b     *parts
	share *share // nil: nothing is read ahead
	next  int64  // where the next chunk begins
	list  []*chunk
	used  int // bytes of the first chunk that have been handed out

	window int // how many chunks to have
	calm   int // chunks in a row that were not waited for

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type chunk struct {
	from, to int64
	buf      []byte
	done     chan struct{}
	err      error
}

// begin fetches what follows cut, where the stream is ended if there is memory
// for that.
func (a *ahead) begin(cut int64) {
	if a.share == nil {
		a.share = a.b.r.g.memory.join()
		a.ctx, a.cancel = context.WithCancel(a.b.ctx)
		a.window = 2
	}
	a.next = cut
	if a.fill(); len(a.list) == 0 {
		a.next = a.b.stream.end
		return
	}
	a.b.stream.end = cut
}

// fill asks for as many chunks as the window and the memory allow.
func (a *ahead) fill() {
	for len(a.list) < a.window && a.next < a.b.end {
		buf := a.share.take()
		if buf == nil {
			return
		}
		c := &chunk{from: a.next, to: min(a.b.end, a.next+int64(len(buf))), buf: buf, done: make(chan struct{})}
		a.next = c.to
		a.list = append(a.list, c)
		a.wg.Go(func() {
			defer close(c.done)
			c.err = a.b.fetch(a.ctx, c)
		})
	}
}

// fetch reads a chunk whole. It goes on after failures as any download does.
func (b *parts) fetch(ctx context.Context, c *chunk) error {
	d := &download{ctx: ctx, r: b.r, d: b.d, off: c.from, end: c.to, partial: true, strict: true}
	if err := d.begin(); err != nil {
		return oci.Wrap("", b.r.place(string(b.d.Digest)), err)
	}
	defer d.Close()
	_, err := io.ReadFull(d, c.buf[:c.to-c.from])
	return err
}

// read hands out bytes of the first chunk.
func (a *ahead) read(p []byte) (int, error) {
	c := a.list[0]
	if a.used == 0 {
		if a.await(c); c.err != nil {
			return 0, c.err
		}
		a.fill()
	}
	n := copy(p, c.buf[a.used:c.to-c.from])
	a.used += n
	if int64(a.used) == c.to-c.from {
		a.drop()
		a.fill()
	}
	return n, nil
}

// await waits for a chunk, and adapts the window to whether that was needed.
func (a *ahead) await(c *chunk) {
	select {
	case <-c.done:
		a.adapt(true)
	default:
		a.adapt(false)
		<-c.done
	}
}

// adapt doubles the window if the reader was faster than the chunks, and halves
// it if it was slower for as many chunks as there are in it. With 0, nothing is
// read ahead any more.
func (a *ahead) adapt(ready bool) {
	if !ready {
		a.window, a.calm = min(max(2*a.window, 2), a.share.m.limit), 0
	} else if a.calm++; a.calm > a.window {
		a.window, a.calm = a.window/2, 0
	}
}

// drop gives the memory of the first chunk back.
func (a *ahead) drop() {
	a.share.give(a.list[0].buf)
	a.list, a.used = a.list[1:], 0
}

// stop ends all requests, waits for them and gives all memory back.
func (a *ahead) stop() {
	if a.share == nil {
		return
	}
	a.cancel()
	a.wg.Wait()
	for len(a.list) > 0 {
		a.drop()
	}
	a.share.leave()
	a.share = nil
}
