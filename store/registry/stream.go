// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// dropWait bounds giving back the session of a stream that has failed.
const dropWait = 5 * time.Second

// Stream implements oci.Streamer: a POST, one PATCH whose length nobody knows,
// as Docker's own push sends it, and the PUT that names the digest. The session
// of a stream that fails is given back, as no one could go on with it.
func (r *Repo) Stream(ctx context.Context, src io.Reader, ended func() (oci.Descriptor, error)) error {
	place := r.g.endpoint.Host + "/" + r.name
	if r.g.noStream.Load() || r.g.chunked.Load() {
		return oci.Wrap("", place, oci.Errorf(oci.ErrUnsupported, "registry takes no upload of unknown size"))
	}
	s := &session{}
	if err := r.start(ctx, oci.Descriptor{}, s); err != nil {
		return oci.Wrap("", place, err)
	}
	d, err := r.pour(ctx, src, s, ended)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWait)
		defer cancel()
		r.cancel(ctx, s)
		return oci.Wrap("", place, err)
	}
	r.s.learn(d, done, d.Size)
	return nil
}

// pour sends the stream into the session and ends that.
func (r *Repo) pour(ctx context.Context, src io.Reader, s *session, ended func() (oci.Descriptor, error)) (d oci.Descriptor, err error) {
	b := newStream(src)
	resp, err := r.do(ctx, transport.Request{Method: http.MethodPatch, URL: s.location, Scopes: r.push(), Size: -1, Large: true, Once: true,
		Header: http.Header{"Content-Type": {"application/octet-stream"}}, Body: b.open})
	size, whole := b.stop()
	if err != nil {
		return d, r.g.unstreamed(err)
	}
	resp.Body.Close()
	if !whole {
		return d, oci.Errorf(oci.ErrBusy, "registry has answered before the upload ended")
	}
	if err := r.went(resp, s, size); err != nil {
		return d, err
	}
	if d, err = ended(); err != nil {
		return d, err
	}
	if err := oci.CheckDescriptor(d); err != nil {
		return d, err
	}
	if d.Size != size {
		return d, oci.Errorf(oci.ErrCorrupt, "%s has %d bytes, the stream had %d", d.Digest, d.Size, size)
	}
	c := &cursor{ctx: ctx, b: spent{d}}
	defer c.close()
	_, err = r.upload(ctx, c, s) // nothing is left of it but the PUT
	return d, err
}

// unstreamed finds out from a failure whether the host takes streams at all.
func (g *Registry) unstreamed(err error) error {
	var status *transport.Error
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status {
	case http.StatusRequestEntityTooLarge:
		g.chunked.Store(true)
	case http.StatusLengthRequired, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		g.noStream.Store(true)
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable: // it may only have lost the session
	default:
		return err
	}
	return oci.Errorf(oci.ErrUnsupported, "registry takes no upload of unknown size: %w", err)
}

var errSpent = errors.New("upload broke off, and a stream cannot be sent again")

// A stream is a body that is read once. The reader below may wait for what is
// being made, while net/http waits for the end of a Read before it gives up a
// request; so the reader is read beside it, and Read ends with the request.
type stream struct {
	r       io.Reader
	ctx     context.Context // of the request
	stopped chan struct{}

	mu    sync.Mutex
	begun bool
	n     int64 // bytes that went out
	whole bool  // it has ended as it should

	buf  []byte
	got  []byte // of buf, not yet handed out
	err  error  // after got
	next chan readEnd
}

type readEnd struct {
	n   int
	err error
}

const streamBuffer = 128 << 10 // bytes that are asked for at a time

func newStream(r io.Reader) *stream {
	return &stream{r: r, stopped: make(chan struct{}), buf: make([]byte, streamBuffer), next: make(chan readEnd, 1)}
}

func (b *stream) open(ctx context.Context) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun {
		return nil, errSpent
	}
	b.ctx = ctx
	return b, nil
}

func (b *stream) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.begun = true
	b.mu.Unlock()
	if len(b.got) == 0 && b.err == nil {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.got)
	b.got = b.got[n:]
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	if len(b.got) > 0 {
		return n, nil
	}
	b.whole = b.err == io.EOF
	return n, b.err
}

// fill waits for more bytes, as long as the request lasts.
func (b *stream) fill() error {
	go func() {
		n, err := b.r.Read(b.buf)
		b.next <- readEnd{n, err}
	}()
	select {
	case e := <-b.next:
		b.got, b.err = b.buf[:e.n], e.err
		return nil
	case <-b.ctx.Done():
		b.err = context.Cause(b.ctx)
	case <-b.stopped:
		b.err = io.ErrClosedPipe
	}
	return b.err
}

// Close does nothing: what was opened and not read can be opened again.
func (b *stream) Close() error { return nil }

// stop ends it, and tells how many bytes went out and whether that was all.
func (b *stream) stop() (n int64, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.stopped)
	return b.n, b.whole
}

// spent is the blob that a stream was.
type spent struct{ d oci.Descriptor }

func (b spent) Descriptor() oci.Descriptor { return b.d }

func (b spent) Open(context.Context) (io.ReadCloser, error) { return nil, errSpent }
