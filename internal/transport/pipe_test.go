// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"net"
	"sync"
	"time"
)

// pipe is net.Pipe with room for some bytes under way, as in a real network.
func pipe() (net.Conn, net.Conn) {
	a, b := net.Pipe()
	return newBuffered(a), newBuffered(b)
}

type buffered struct {
	net.Conn
	cond   *sync.Cond
	queue  []byte
	closed bool
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c, cond: sync.NewCond(&sync.Mutex{})}
	go b.pump()
	return b
}

func (b *buffered) pump() {
	for {
		b.cond.L.Lock()
		for len(b.queue) == 0 && !b.closed {
			b.cond.Wait()
		}
		p := b.queue
		b.queue = nil
		b.cond.Broadcast()
		b.cond.L.Unlock()
		if len(p) == 0 {
			_ = b.Conn.Close()
			return
		}
		if _, err := b.Conn.Write(p); err != nil {
			_ = b.Close()
		}
	}
}

func (b *buffered) Write(p []byte) (int, error) {
	b.cond.L.Lock()
	defer b.cond.L.Unlock()
	for len(b.queue) > 64<<10 && !b.closed {
		b.cond.Wait()
	}
	if b.closed {
		return 0, net.ErrClosed
	}
	b.queue = append(b.queue, p...)
	b.cond.Broadcast()
	return len(p), nil
}

// Close lets the other side read what is under way, and our own side no more.
func (b *buffered) Close() error {
	b.cond.L.Lock()
	defer b.cond.L.Unlock()
	b.closed = true
	b.cond.Broadcast()
	time.AfterFunc(time.Second, func() { _ = b.Conn.Close() }) // nobody may be reading
	return b.Conn.SetReadDeadline(time.Unix(1, 0))
}
