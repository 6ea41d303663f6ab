// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"io"
	"time"

	"github.com/dray-tools/dray/oci"
)

// partSizes says when and how a blob is read in parts; in bytes.
type partSizes struct {
	least  int64 // a smaller rest is one stream
	lead   int64 // of the first request to a host whose speed is not known
	probe  int64 // of a stream, after which it is judged first
	window int64 // of a stream, after which it is judged again
	// slow judges a stream by the bytes of a window, the time that was spent
	// waiting for them and all the time that passed.
	slow func(n int64, waited, passed time.Duration) bool
}

var defaultSizes = partSizes{least: 32 << 20, lead: 8 << 20, probe: 4 << 20, window: 32 << 20, slow: slow}

// fastEnough is the bytes a second of one connection from which on others
// beside it cost more than they bring.
const fastEnough = 100 << 20

func slow(n int64, waited, passed time.Duration) bool {
	return waited > passed/2 && float64(n) < fastEnough*waited.Seconds()
}

// A parts reads the bytes from pos to end of a blob and adapts to how fast they
// come (docs/decisions/0008-parallel-ranges.md). It begins with one stream. If
// that keeps the reader waiting, chunks further on are fetched beside it into
// buffers: twice as many each time the reader has to wait for one, half as many
// after a while in which it does not. Bytes are handed out in order and are not verified.
type parts struct {
	ctx     context.Context
	r       *Repo
	d       oci.Descriptor
	pos     int64
	end     int64
	partial bool // as that of download
	going   bool // as that of download
	err     error

	stream *download // of the bytes from pos on, if they are not in a chunk
	meter  meter
	ahead  ahead
}

// A meter measures a stream.
type meter struct {
	began  time.Time
	waited time.Duration
	bytes  int64
	due    int64 // bytes at which to judge; 0: never
}

// parallel reports whether n bytes may be worth several requests.
// Bytes that go on into an upload, which is one connection, are worth less.
func (g *Registry) parallel(ctx context.Context, n int64) bool {
	least := g.sizes.least
	if ctx.Value(onward{}) != nil {
		least *= 8
	}
	return n >= least && !g.noParts.Load()
}

// onward marks the context of reading what is being uploaded.
type onward struct{}

// open begins with all of the bytes, or with few if they may turn out to come
// slowly.
func (b *parts) open() error {
	to := b.end
	if !b.r.g.fast.Load() {
		to = min(b.end, b.pos+b.r.g.sizes.lead)
	}
	b.ahead.b = b
	return b.begin(to)
}

// begin opens a stream up to an offset, and beyond if the registry sends all
// of the blob anyway.
func (b *parts) begin(to int64) error {
	if b.r.g.noParts.Load() { // every further request might read from the start
		to = b.end
	}
	b.stream = &download{ctx: b.ctx, r: b.r, d: b.d, off: b.pos, end: to, partial: b.partial, whole: !b.partial && b.pos == 0, going: b.going}
	b.meter = meter{began: time.Now(), due: b.r.g.sizes.probe}
	if err := b.stream.begin(); err != nil {
		return oci.Wrap("", b.r.place(string(b.d.Digest)), err)
	}
	b.going = true
	b.ahead.next = b.stream.end
	if b.r.g.noParts.Load() {
		b.meter.due = 0
	}
	return nil
}

func (b *parts) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 && b.err == nil {
		switch {
		case b.pos == b.end && b.end < b.d.Size || b.pos == b.end && b.stream == nil:
			b.err = io.EOF
		case b.stream != nil:
			n, b.err = b.readStream(p)
		case len(b.ahead.list) > 0:
			n, b.err = b.readChunk(p)
		case b.ahead.share == nil:
			b.err = b.begin(b.end)
		case b.ahead.window == 0: // the reader is the slow side; that may change
			b.ahead.stop()
			b.err = b.begin(b.end)
			b.meter.due *= 8 * b.r.g.sizes.window / b.r.g.sizes.probe
		default: // no memory is free; there may be some later
			b.err = b.begin(min(b.end, b.pos+b.r.g.sizes.least))
			b.ahead.fill()
		}
	}
	if b.err != nil {
		b.ahead.stop()
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

func (b *parts) readStream(p []byte) (int, error) {
	began := time.Now()
	n, err := b.stream.Read(p)
	b.meter.waited += time.Since(began)
	b.meter.bytes += int64(n)
	b.pos += int64(n)
	switch {
	case err == io.EOF && b.pos == b.stream.end:
		b.stream.Close()
		b.stream = nil
		return n, nil
	case err == nil && b.meter.due > 0 && b.meter.bytes >= b.meter.due:
		b.judge()
	}
	return n, err
}

// judge decides whether to go on with the one stream.
func (b *parts) judge() {
	m, g := b.meter, b.r.g
	b.meter = meter{began: time.Now(), due: g.sizes.window}
	slow := g.sizes.slow(m.bytes, m.waited, time.Since(m.began))
	g.fast.Store(!slow)
	if slow && len(b.ahead.list) == 0 && !g.noParts.Load() {
		b.ahead.begin(min(b.stream.end, b.pos+g.sizes.probe))
	}
}

func (b *parts) readChunk(p []byte) (int, error) {
	n, err := b.ahead.read(p)
	b.pos += int64(n)
	if !isKind(err, oci.ErrUnsupported) {
		return n, err
	}
	// It has sent parts before, or another mirror has: go on with a stream.
	b.r.g.noParts.Store(true)
	b.ahead.stop()
	return n, b.begin(b.end)
}

// Close ends all requests and waits for them.
func (b *parts) Close() error {
	b.ahead.stop()
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	if b.stream == nil {
		return nil
	}
	return b.stream.Close()
}
