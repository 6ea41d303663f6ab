// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

const uploadAttempts = 8 // without progress in between

// opened notes the session that an answer offers.
func (r *Repo) opened(resp *http.Response, s *session) error {
	u, err := r.g.o.Client.Location(resp)
	if err != nil {
		return err
	}
	s.location, s.offset = u, 0
	if n, err := parseInt(resp.Header.Get("OCI-Chunk-Min-Length")); err == nil {
		s.minChunk = n
	}
	return nil
}

// upload sends a blob into a session: in one PUT, or in chunks where the host
// has refused a large body. After a failure it asks the registry how far it
// got and goes on there.
func (r *Repo) upload(ctx context.Context, b oci.Blob, s *session) error {
	d := b.Descriptor()
	c := &cursor{b: b}
	defer c.close()
	resumed := s.resumed
	for failed := 0; ; {
		before := s.offset
		s.save()
		err := r.send(ctx, d, c, s)
		switch {
		case err == nil:
			s.forget()
			return nil
		case ctx.Err() != nil: // the session stays for the next run
			return context.Cause(ctx)
		case isKind(c.err, oci.ErrCorrupt):
			r.cancel(ctx, s)
			return c.err
		case c.err != nil && !isKind(c.err, oci.ErrBusy):
			return c.err
		}
		var status *transport.Error
		isStatus := errors.As(err, &status)
		switch {
		case isStatus && status.Status == http.StatusRequestEntityTooLarge && !r.g.chunked.Load():
			r.g.chunked.Store(true)
		case isStatus && resumed && status.Has("DIGEST_INVALID"): // the half that was there was wrong
			resumed = false
			r.cancel(ctx, s)
		case isStatus && status.Has("DIGEST_INVALID"):
			return oci.Errorf(oci.ErrCorrupt, "registry finds another digest than it was told: %w", err)
		case isStatus && !isKind(err, oci.ErrBusy) && !sessionLost(status.Status):
			r.cancel(ctx, s)
			return err
		}
		if s.offset-before >= progress {
			failed = 0
		}
		if failed++; failed >= uploadAttempts {
			return err
		}
		r.g.o.Log.Info("upload broke off, going on", "blob", d.Digest, "error", err)
		if err := pause(ctx, failed); err != nil {
			return err
		}
		if err := r.resync(ctx, d, s); err != nil {
			return err
		}
		if s.offset-before >= progress {
			failed = 0
		}
	}
}

// sessionLost reports statuses that say something about the session rather
// than about the blob.
func sessionLost(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusConflict, http.StatusGone,
		http.StatusRequestEntityTooLarge, http.StatusBadRequest, http.StatusLengthRequired:
		return true
	}
	return false
}

// resync asks how much of the blob the session has; if the session is gone,
// a new one is started.
func (r *Repo) resync(ctx context.Context, d oci.Descriptor, s *session) error {
	if s.location != nil && r.status(ctx, d, s) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return r.start(ctx, d, s)
}

// status asks the session for its offset (distribution-spec, "Getting upload
// status").
func (r *Repo) status(ctx context.Context, d oci.Descriptor, s *session) error {
	resp, err := r.do(ctx, transport.Request{Method: http.MethodGet, URL: s.location, Scopes: r.push(),
		Accept: []int{http.StatusNoContent, http.StatusAccepted, http.StatusOK}})
	if err != nil {
		return err
	}
	resp.Body.Close()
	offset, err := rangeEnd(resp.Header.Get("Range"))
	if err != nil || offset > d.Size {
		return oci.Errorf(oci.ErrInvalid, "registry has the range %s of an upload", oci.Quote(resp.Header.Get("Range")))
	}
	if u, err := r.g.o.Client.Location(resp); err == nil {
		s.location = u
	}
	s.offset = offset
	return nil
}

// rangeEnd reads "0-LAST" as the number of bytes there. "0-0" is taken for
// none, as distribution means it: one byte is cheap to send again.
func rangeEnd(s string) (int64, error) {
	first, last, ok := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	n, err := parseInt(last)
	switch {
	case s == "":
		return 0, nil
	case !ok || first != "0" || err != nil:
		return 0, fmt.Errorf("range %s", oci.Quote(s))
	case n == 0:
		return 0, nil
	}
	return n + 1, nil
}

// send moves the bytes that the session does not have.
func (r *Repo) send(ctx context.Context, d oci.Descriptor, c *cursor, s *session) error {
	if r.g.chunked.Load() {
		for s.offset < d.Size {
			if err := r.patch(ctx, d, c, s); err != nil {
				return err
			}
			s.save()
		}
	}
	u := *s.location
	q := u.Query()
	q.Set("digest", string(d.Digest))
	u.RawQuery = q.Encode()
	resp, err := r.do(ctx, r.part(http.MethodPut, &u, c, s.offset, d.Size))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// patch sends one chunk.
func (r *Repo) patch(ctx context.Context, d oci.Descriptor, c *cursor, s *session) error {
	end := min(d.Size, s.offset+max(r.g.o.ChunkSize, s.minChunk))
	resp, err := r.do(ctx, r.part(http.MethodPatch, s.location, c, s.offset, end))
	if err != nil {
		return err
	}
	resp.Body.Close()
	got, err := rangeEnd(resp.Header.Get("Range"))
	if err != nil || got > end || got < s.offset {
		return oci.Errorf(oci.ErrBusy, "registry has the range %s after a chunk that ends at %d", oci.Quote(resp.Header.Get("Range")), end)
	}
	if resp.Header.Get("Range") == "" {
		got = end
	}
	if s.location, err = r.g.o.Client.Location(resp); err != nil {
		return err
	}
	s.offset = got
	return nil
}

// part is the request that sends the bytes from one offset to another.
func (r *Repo) part(method string, u *url.URL, c *cursor, from, to int64) transport.Request {
	q := transport.Request{Method: method, URL: u, Scopes: r.push(), Size: to - from, Large: true, Once: true,
		Header: http.Header{"Content-Type": {"application/octet-stream"}}}
	if from > 0 || method == http.MethodPatch {
		if to > from {
			q.Header.Set("Content-Range", fmt.Sprintf("%d-%d", from, to-1))
		}
	}
	if to > from {
		q.Body = func(ctx context.Context) (io.ReadCloser, error) {
			if err := c.seek(ctx, from); err != nil {
				c.err = err
				return nil, err
			}
			return io.NopCloser(io.LimitReader(c, to-from)), nil
		}
	}
	return q
}

// cancel gives an upload session back; the registry may not care.
func (r *Repo) cancel(ctx context.Context, s *session) {
	if s.location == nil {
		return
	}
	resp, err := r.do(ctx, transport.Request{Method: http.MethodDelete, URL: s.location, Scopes: r.push(), Once: true})
	if err == nil {
		resp.Body.Close()
	}
	s.location, s.offset = nil, 0
	s.forget()
}

// A cursor reads a blob from any offset, going on with an open stream where it
// can. A stream from the start is verified; one from the middle cannot be, and
// the registry's own check of the digest has to do.
type cursor struct {
	b   oci.Blob
	rc  io.ReadCloser
	pos int64
	err error // of the blob, as opposed to the connection
}

func (c *cursor) seek(ctx context.Context, off int64) error {
	c.err = nil
	if c.rc != nil && c.pos == off {
		return nil
	}
	c.close()
	if rb, ok := c.b.(oci.RangeBlob); ok && off > 0 {
		rc, err := rb.OpenRange(ctx, off, -1)
		if err == nil {
			c.rc, c.pos = rc, off
			return nil
		}
		if !isKind(err, oci.ErrUnsupported) {
			return err
		}
	}
	rc, err := c.b.Open(ctx)
	if err != nil {
		return err
	}
	c.rc, c.pos = oci.Verify(rc, c.b.Descriptor()), 0
	n, err := io.CopyN(io.Discard, c.rc, off)
	c.pos = n
	return err
}

func (c *cursor) Read(p []byte) (int, error) {
	n, err := c.rc.Read(p)
	c.pos += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (c *cursor) close() {
	if c.rc != nil {
		c.rc.Close()
		c.rc = nil
	}
}
