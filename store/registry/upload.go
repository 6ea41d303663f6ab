// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

const (
	uploadAttempts = 8        // without progress in between
	sessionLosses  = 4        // uploads of one blob that the registry may forget
	leastChunk     = 64 << 10 // bytes; a registry that refuses such a body is not served
)

// An uploading is a blob on its way into a session.
type uploading struct {
	r *Repo
	d oci.Descriptor
	c *cursor
	s *session

	body   int64 // size of the last body
	best   int64 // most bytes the registry had, in steps of progress
	failed int   // attempts since then
	lost   int   // sessions that the registry has forgotten

	mixed     bool // the session has bytes of more than one request
	restarted bool // because those were wrong
	refused   bool // the registry has called a request bad
}

// upload sends a blob into a session: in one PUT, or in chunks where the host
// has refused a large body. After a failure, and if another process has begun
// the session, it asks the registry how far it got and goes on there.
func (r *Repo) upload(ctx context.Context, c *cursor, s *session) (oci.How, error) {
	u := &uploading{r: r, d: c.b.Descriptor(), c: c, s: s}
	if s.resumed {
		if there, err := u.resync(ctx); there || err != nil {
			return oci.Existed, err
		}
	}
	for {
		s.save()
		err := u.send(ctx)
		if err == nil {
			s.forget()
			return oci.Sent, nil
		}
		if err := u.judge(ctx, err); err != nil {
			return 0, err
		}
		r.g.o.Log.Info("upload broke off, going on", "blob", u.d.Digest, "error", err)
		if u.failed > 0 {
			if err := r.g.pause(ctx, u.failed); err != nil {
				return 0, err
			}
		}
		if there, err := u.resync(ctx); there || err != nil {
			return oci.Sent, err
		}
	}
}

// judge decides what a failure means. It returns nil if another attempt is
// worth it.
func (u *uploading) judge(ctx context.Context, err error) error {
	source := u.c.stop()
	if ctx.Err() != nil { // the session stays for the next run
		return context.Cause(ctx)
	}
	if source != nil && !isKind(source, oci.ErrBusy) {
		if isKind(source, oci.ErrCorrupt) || u.s.file == "" {
			u.r.cancel(ctx, u.s)
		}
		return source
	}
	if err := u.weigh(ctx, err); err != nil {
		u.r.cancel(ctx, u.s)
		return err
	}
	if u.s.offset-u.best >= progress {
		u.best, u.failed = u.s.offset, 0
	}
	if u.failed >= uploadAttempts {
		return err
	}
	return nil
}

// weigh looks at an answer of the registry, and returns it if it is final.
func (u *uploading) weigh(ctx context.Context, err error) error {
	var status *transport.Error
	if !errors.As(err, &status) {
		u.failed++
		if isKind(err, oci.ErrBusy) {
			return nil
		}
		return err
	}
	switch {
	case status.Status == http.StatusRequestEntityTooLarge:
		if u.smaller() {
			return nil
		}
		return err
	case status.Has("DIGEST_INVALID"):
		if !u.mixed || u.restarted {
			return oci.Errorf(oci.ErrCorrupt, "registry finds another digest than it was told: %w", err)
		}
		u.restarted = true // what was there before was wrong
		u.r.cancel(ctx, u.s)
		return nil
	}
	u.failed++
	switch status.Status {
	case http.StatusBadRequest, http.StatusLengthRequired:
		if u.refused {
			return err
		}
		u.refused = true
		return nil
	case http.StatusNotFound, http.StatusGone, http.StatusConflict, http.StatusRequestedRangeNotSatisfiable:
		return nil // they say something about the session rather than about the blob
	}
	if isKind(err, oci.ErrBusy) {
		return nil
	}
	return err
}

// smaller finds a way to send smaller bodies, after one was too large.
func (u *uploading) smaller() bool {
	g := u.r.g
	if g.chunked.CompareAndSwap(false, true) {
		return true
	}
	size := g.chunk.Load()
	if u.body > max(size, u.s.minChunk) { // meanwhile another upload has found out
		return true
	}
	next := min(u.body, size) / 4
	if next < leastChunk || u.s.minChunk > next {
		return false
	}
	g.chunk.CompareAndSwap(size, next)
	return true
}

// resync asks how much of the blob the session has. If the session is gone, a
// new one is started, unless it is gone because the blob is there.
func (u *uploading) resync(ctx context.Context) (there bool, err error) {
	u.mixed = false
	if u.s.location != nil {
		lost := u.status(ctx)
		if lost == nil {
			u.mixed = true
			return false, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if _, answered := errors.AsType[*transport.Error](lost); !answered && isKind(lost, oci.ErrBusy) {
			return false, lost // out of reach; the session may be there when it is back
		}
		u.s.forget()
		if there, err := u.r.has(ctx, u.d); there || err != nil {
			return there, err
		}
		if u.lost++; u.lost > sessionLosses {
			return false, oci.Errorf(oci.ErrBusy, "registry keeps losing the upload: %w", lost)
		}
	}
	return false, u.r.start(ctx, u.d, u.s)
}

// status asks the session for its offset (distribution-spec, "Getting upload
// status").
func (u *uploading) status(ctx context.Context) error {
	resp, err := u.r.do(ctx, transport.Request{Method: http.MethodGet, URL: u.s.location, Scopes: u.r.push(),
		Accept: []int{http.StatusNoContent, http.StatusAccepted, http.StatusOK}})
	if err != nil {
		return err
	}
	resp.Body.Close()
	offset, err := rangeEnd(resp.Header.Get("Range"))
	if err != nil || offset > u.d.Size {
		return oci.Errorf(oci.ErrInvalid, "registry has the range %s of an upload", oci.Quote(resp.Header.Get("Range")))
	}
	if at, err := u.r.g.o.Client.Location(resp); err == nil {
		u.s.location = at
	}
	u.s.offset = offset
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
	case !ok || first != "0" || err != nil || n == 1<<63-1:
		return 0, fmt.Errorf("range %s", oci.Quote(s))
	case n == 0:
		return 0, nil
	}
	return n + 1, nil
}

// send moves the bytes that the session does not have.
func (u *uploading) send(ctx context.Context) error {
	for u.r.g.chunked.Load() {
		left := u.d.Size - u.s.offset
		if left <= 0 || left < u.s.minChunk { // only a PUT may be shorter
			break
		}
		if err := u.patch(ctx, u.s.offset+min(left, max(u.r.g.chunk.Load(), u.s.minChunk))); err != nil {
			return err
		}
		u.s.save()
	}
	at := *u.s.location
	digest := url.Values{"digest": {string(u.d.Digest)}}.Encode()
	if at.RawQuery != "" { // the server's part stays byte for byte
		digest = at.RawQuery + "&" + digest
	}
	at.RawQuery = digest
	resp, err := u.r.do(ctx, u.part(http.MethodPut, &at, u.d.Size))
	if err != nil {
		return err
	}
	resp.Body.Close()
	return checkStored(resp, u.d)
}

// patch sends one chunk. Less of it in the session than was sent is a failure,
// so that there is an end to it.
func (u *uploading) patch(ctx context.Context, end int64) error {
	resp, err := u.r.do(ctx, u.part(http.MethodPatch, u.s.location, end))
	if err != nil {
		return err
	}
	resp.Body.Close()
	if err := u.r.went(resp, u.s, end); err != nil {
		return err
	}
	u.mixed = true
	return nil
}

// went notes from the answer to a PATCH that the session has all bytes up to
// end, and where it goes on.
func (r *Repo) went(resp *http.Response, s *session, end int64) error {
	if resp.Header.Get("Location") != "" {
		at, err := r.g.o.Client.Location(resp)
		if err != nil {
			return err
		}
		s.location = at
	}
	if told := resp.Header.Get("Range"); told != "" {
		if got, err := rangeEnd(told); err != nil || got != end && end > 1 {
			return oci.Errorf(oci.ErrBusy, "registry has the range %s after a chunk that ends at %d", oci.Quote(told), end)
		}
	}
	s.offset = end
	return nil
}

func (r *Repo) giveBack(ctx context.Context, s *session) error {
	resp, err := r.do(ctx, transport.Request{Method: http.MethodDelete, URL: s.location, Scopes: r.push(), Once: true})
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// part is the request that sends the bytes from the session's offset to end.
func (u *uploading) part(method string, at *url.URL, end int64) transport.Request {
	from := u.s.offset
	u.body = end - from
	q := transport.Request{Method: method, URL: at, Scopes: u.r.push(), Size: u.body, Large: true, Once: true,
		Header: http.Header{"Content-Type": {"application/octet-stream"}}}
	if u.body == 0 {
		return q
	}
	if from > 0 || method == http.MethodPatch {
		q.Header.Set("Content-Range", fmt.Sprintf("%d-%d", from, end-1))
	}
	q.Body = func(context.Context) (io.ReadCloser, error) { return u.c.section(from, end) }
	return q
}

// cancel gives an upload session back; the registry may not care. One that got
// half a request has another place for it now, which it has to be asked for
// (distribution says 416 to the old one).
func (r *Repo) cancel(ctx context.Context, s *session) {
	if s.location == nil {
		return
	}
	err := r.giveBack(ctx, s)
	var status *transport.Error
	if errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable {
		u := &uploading{r: r, d: oci.Descriptor{Size: math.MaxInt64}, s: s}
		if u.status(ctx) == nil {
			_ = r.giveBack(ctx, s)
		}
	}
	s.location, s.offset = nil, 0
	s.forget()
}
