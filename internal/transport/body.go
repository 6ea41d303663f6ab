// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dray-tools/dray/oci"
)

// minProgress is what a body has to move within the stall timeout.
const minProgress = 1 << 10

// A stall watches one direction of a body. Reads cost it two atomic additions;
// a timer that ticks four times in the timeout does the rest.
type stall struct {
	moved atomic.Int64 // bytes
	turns atomic.Int64 // beginnings and ends of Read: odd while one runs
	mine  int64        // turns&1 while the network is waited for
	fail  func()
	every time.Duration

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
	seen   int64 // moved when there last was progress
	turn   int64 // turns at the last tick
	stale  int
}

// newStall makes a watch. inRead tells whether the network is waited for within
// Read (a response) or between Reads (a request).
func newStall(timeout time.Duration, inRead bool, fail func()) *stall {
	s := &stall{fail: fail, every: timeout / 4}
	if inRead {
		s.mine = 1
	}
	return s
}

func (s *stall) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.closed {
		s.timer = time.AfterFunc(s.every, s.tick)
	}
}

func (s *stall) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	moved, turn := s.moved.Load(), s.turns.Load()
	// A whole tick on the other side is not the network's fault; nor is it when
	// a body that is sent is being waited for, as all before it is gone.
	elsewhere := turn&1 != s.mine && (turn == s.turn || s.mine == 0)
	s.turn = turn
	if s.stale++; elsewhere || moved-s.seen >= minProgress {
		s.seen, s.stale = moved, 0
	}
	if s.stale >= 4 {
		s.closed = true
		s.fail()
		return
	}
	s.timer.Reset(s.every)
}

func (s *stall) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *stall) read(r io.Reader, p []byte) (int, error) {
	s.turns.Add(1)
	n, err := r.Read(p)
	s.moved.Add(int64(n))
	s.turns.Add(1)
	return n, err
}

func (c *Client) stalled(host string) error {
	return busyf(host, "no progress for %s", c.o.StallTimeout)
}

// A received body is that of an answer.
type received struct {
	io.ReadCloser
	*stall
	c      *Client
	host   string
	outer  context.Context // the caller's
	inner  context.Context // the request's, ends with a stall
	cancel context.CancelCauseFunc
	ended  atomic.Bool
}

func (c *Client) receive(outer, inner context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, host string) io.ReadCloser {
	b := &received{ReadCloser: body, c: c, host: host, outer: outer, inner: inner, cancel: cancel}
	b.stall = newStall(c.o.StallTimeout, true, func() { cancel(c.stalled(host)) })
	b.stall.start()
	return b
}

func (b *received) Read(p []byte) (int, error) {
	n, err := b.stall.read(b.ReadCloser, p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		b.ended.Store(true)
		b.stall.stop()
		return n, io.EOF
	case b.outer.Err() != nil:
		return n, context.Cause(b.outer)
	}
	if lost, ok := context.Cause(b.inner).(*netError); ok {
		return n, lost
	}
	return n, busyf(b.host, "connection lost: %s", clean(b.c.secrets.scrub(err.Error()), maxErrorText))
}

// Close reads a short rest, so that the connection can be used again, but does
// not wait for it.
func (b *received) Close() error {
	if !b.ended.Load() {
		t := time.AfterFunc(50*time.Millisecond, func() { b.cancel(nil) })
		_, _ = io.CopyN(io.Discard, b.ReadCloser, 16<<10)
		t.Stop()
	}
	b.stall.stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// A headWait limits the time from the end of a request to the headers of its
// answer.
type headWait struct {
	cancel context.CancelCauseFunc // of the request
	d      time.Duration

	mu    sync.Mutex
	timer *time.Timer // nil: over
}

func (c *Client) awaitHead(m *message, cancel context.CancelCauseFunc) *headWait {
	d := c.o.HeaderTimeout
	if m.method != http.MethodGet && m.method != http.MethodHead {
		d *= 10 // commits take their time
	}
	return &headWait{cancel: cancel, d: d, timer: time.AfterFunc(d, func() {
		cancel(busyf(m.url.Host, "no answer for %s", d))
	})}
}

// hold stops the clock while a body is sent, which a stall watches instead.
func (w *headWait) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// begin starts the clock anew.
func (w *headWait) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Reset(w.d)
	}
}

func (w *headWait) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// A sentBody keeps what went wrong with the body of a request on our side.
type sentBody struct {
	mu  sync.Mutex
	err error
}

func (s *sentBody) keep(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *sentBody) cause() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// sending is one opening of a request's body.
type sending struct {
	io.ReadCloser
	*stall
	sent *sentBody
	head *headWait
	left int64
	free bool        // its size is not known
	over atomic.Bool // sent or closed
}

func (c *Client) openBody(ctx context.Context, m *message, head *headWait, sent *sentBody) (io.ReadCloser, error) {
	body, err := m.body(ctx)
	if err != nil {
		sent.keep(err)
		return nil, err
	}
	s := &sending{ReadCloser: body, sent: sent, head: head, left: m.size, free: m.size < 0}
	s.stall = newStall(c.o.StallTimeout, false, func() { head.cancel(c.stalled(m.url.Host)) })
	return s, nil
}

func (s *sending) Read(p []byte) (int, error) {
	if s.turns.Load() == 0 { // only now there is a connection
		s.head.hold()
		s.start()
	}
	n, err := s.stall.read(s.ReadCloser, p)
	s.left -= int64(n)
	switch {
	case err != nil && err != io.EOF:
		s.sent.keep(err)
	case s.free:
	case s.left < 0:
		err = oci.Errorf(oci.ErrCorrupt, "body goes on after its size")
		s.sent.keep(err)
	case err == io.EOF && s.left > 0:
		err = oci.Errorf(oci.ErrCorrupt, "body ends %d bytes before its size", s.left)
		s.sent.keep(err)
	}
	if err != nil {
		s.finish()
	}
	return n, err
}

func (s *sending) Close() error {
	s.finish()
	return s.ReadCloser.Close()
}

func (s *sending) finish() {
	if s.over.CompareAndSwap(false, true) {
		s.stall.stop()
		s.head.begin()
	}
}
