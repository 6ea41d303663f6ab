// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// A download reads the bytes off to end of a blob. When the connection breaks
// it goes on where it was, at the next place if there are several: with a
// Range request, or by reading from the start again and dropping what it had,
// where the registry does not do Range well. The bytes are not verified here.
type download struct {
	ctx     context.Context
	r       *Repo
	d       oci.Descriptor
	off     int64
	end     int64
	partial bool // reading from the start is not wanted
	strict  bool // nor is it to go on
	whole   bool // a registry that sends all, not only up to end, may go on

	places  []Mirror // to try, best first
	at      Mirror   // where body comes from
	body    io.ReadCloser
	stop    int64 // where body ends, by its Content-Range; 0: nothing is known
	going   bool  // it has been open, or another that this goes on with
	noRange bool  // a place that did not know Range has sent all
	again   int   // readings from the start to get to the middle
	failed  int   // attempts since the last progress
	mark    int64 // off at that time
}

const (
	downloadAttempts = 8       // without progress in between
	progress         = 1 << 20 // bytes that count as progress
)

// begin opens the download for the first time. One that is going on with
// another goes on after failures from here on.
func (b *download) begin() (err error) {
	if b.places, err = b.r.mirrors(true); err != nil {
		return err
	}
	b.mark = b.off
	if err = b.open(); b.going && passing(err) {
		return b.resume(err)
	}
	b.going = b.going || err == nil
	return err
}

// open asks the places for the bytes from off on.
func (b *download) open() error {
	_, err := first(b.ctx, b.r, b.places, func(m Mirror) (struct{}, error) { return struct{}{}, b.openAt(m) })
	return err
}

// openAt asks one place, and once more for all of the blob if it does not know
// what to do with a Range.
func (b *download) openAt(m Mirror) error {
	ranged := !b.noRange && (b.off > 0 || b.end < b.d.Size)
	err := b.ask(m, ranged)
	switch {
	case !ranged || b.strict || !isKind(err, oci.ErrUnsupported):
		return err
	case b.partial && !b.going:
		return b.blame(m, err)
	}
	b.r.g.o.Log.Info("registry does not send a part, asking for all", "blob", b.d.Digest, "offset", b.off, "error", err)
	if err := b.ask(m, false); err != nil {
		return err
	}
	b.noRange = true
	b.r.g.noParts.Store(true)
	return nil
}

// ask sends one request. Where a place does not send the part that was asked
// for, the error is ErrUnsupported.
func (b *download) ask(m Mirror, ranged bool) error {
	resp, err := b.send(m, ranged)
	if ranged && refused(err) {
		return oci.Errorf(oci.ErrUnsupported, "registry does not send bytes %d-%d: %w", b.off, b.end-1, err)
	}
	if err != nil {
		return err
	}
	if err := b.accept(resp, ranged); err != nil {
		resp.Body.Close()
		return err
	}
	b.body, b.at = resp.Body, m
	return nil
}

// blame finds out whether a status was about the Range, where all of the blob
// is of no use: only then may the caller think that parts are not supported.
func (b *download) blame(m Mirror, err error) error {
	var status *transport.Error
	if !errors.As(err, &status) {
		return err
	}
	resp, err2 := b.send(m, false)
	if err2 != nil {
		return err2
	}
	resp.Body.Close()
	b.r.g.noParts.Store(true)
	return oci.Errorf(oci.ErrUnsupported, "registry sends the blob but no part of it: %v", err)
}

func (b *download) send(m Mirror, ranged bool) (*http.Response, error) {
	q := b.r.read(m, http.MethodGet, kindPath(b.d))
	q.Header = http.Header{}
	if oci.IsManifest(b.d.MediaType) {
		q.Header = acceptManifests.Clone()
	}
	q.Large = !oci.IsManifest(b.d.MediaType)
	if ranged {
		q.Header.Set("Range", "bytes="+strconv.FormatInt(b.off, 10)+"-"+strconv.FormatInt(b.end-1, 10))
	}
	return b.r.g.o.Client.Do(b.ctx, q)
}

// refused reports whether an answer may mean the Range and not the blob. 403
// is among them, as some gateways and signed addresses forbid Range alone, and
// 416: whether there are too few bytes is seen when all are read.
func refused(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && e.Status < 500 && (isKind(err, oci.ErrInvalid) || isKind(err, oci.ErrDenied))
}

// accept checks that the answer is about the bytes that were asked for.
func (b *download) accept(resp *http.Response, ranged bool) error {
	b.stop = 0
	switch {
	case resp.StatusCode == http.StatusPartialContent && ranged:
		return b.acceptPart(resp)
	case resp.StatusCode != http.StatusOK:
		return oci.Errorf(oci.ErrInvalid, "registry answers with status %d", resp.StatusCode)
	case resp.ContentLength >= 0 && resp.ContentLength != b.d.Size:
		return oci.Errorf(oci.ErrCorrupt, "registry has %d bytes, want %d", resp.ContentLength, b.d.Size)
	case b.whole && b.off == 0:
		b.end = b.d.Size
		if ranged {
			b.r.g.noParts.Store(true)
		}
		return nil
	case b.strict || ranged && b.partial && !b.going:
		b.r.g.noParts.Store(true)
		return oci.Errorf(oci.ErrUnsupported, "registry does not send parts")
	case b.off == 0:
		return nil
	}
	if b.again++; b.again > downloadAttempts {
		return oci.Errorf(oci.ErrUnsupported, "registry breaks off and does not go on in the middle")
	}
	switch n, err := io.CopyN(io.Discard, resp.Body, b.off); {
	case err == io.EOF:
		return oci.Errorf(oci.ErrCorrupt, "registry has %d bytes, want %d", n, b.d.Size)
	case err != nil:
		return busy(b.ctx, err)
	}
	return nil
}

// acceptPart checks the Content-Range. After a wrong one nothing is spliced.
func (b *download) acceptPart(resp *http.Response) error {
	values := resp.Header.Values("Content-Range")
	if len(values) == 1 {
		first, last, size, ok := contentRange(values[0])
		if ok && first == b.off && last < b.end && (size < 0 || size == b.d.Size) {
			b.stop = last + 1
			return nil
		}
	}
	return oci.Errorf(oci.ErrUnsupported, "registry sends the part %s, want %d-%d of %d", oci.Quote(strings.Join(values, ", ")), b.off, b.end-1, b.d.Size)
}

func (b *download) Read(p []byte) (int, error) {
	for {
		if b.partial || b.end < b.d.Size {
			if b.off >= b.end {
				return 0, io.EOF
			}
			p = p[:min(int64(len(p)), b.end-b.off)]
		}
		n, err := b.body.Read(p)
		b.off += int64(n)
		switch {
		case n > 0 || err == nil:
			return n, nil
		case b.ctx.Err() != nil:
			return 0, context.Cause(b.ctx)
		case b.off >= b.end: // all is there, however the connection ended
			return 0, io.EOF
		case err == io.EOF && b.stop > 0 && b.off == b.stop: // a part of what was asked for
			err = io.ErrUnexpectedEOF
		case err == io.EOF: // it calls that all
			err = oci.Errorf(oci.ErrCorrupt, "registry sends %d bytes, want %d", b.off, b.end)
		}
		if err := b.resume(err); err != nil {
			return 0, oci.Wrap("", b.r.place(string(b.d.Digest)), err)
		}
	}
}

// resume opens the rest after a failure, the next place first.
func (b *download) resume(cause error) error {
	b.Close()
	b.body = http.NoBody
	if i := slices.Index(b.places, b.at); i >= 0 {
		b.places = slices.Concat(b.places[i+1:], b.places[:i+1])
	}
	for {
		if b.off-b.mark >= progress {
			b.mark, b.failed = b.off, 0
		}
		if b.failed++; b.failed >= downloadAttempts {
			return busy(b.ctx, cause)
		}
		b.r.g.o.Log.Info("download broke off, going on", "blob", b.d.Digest, "offset", b.off, "error", cause)
		if err := b.r.g.pause(b.ctx, b.failed); err != nil {
			return err
		}
		if cause = b.open(); cause == nil {
			return nil
		}
		if !passing(cause) {
			return cause
		}
	}
}

// passing reports whether a failure to open is worth another try.
func passing(err error) bool { return isKind(err, oci.ErrBusy) || isKind(err, oci.ErrInvalid) }

func (b *download) Close() error {
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

// pause waits after the n-th failure: at first up to 100 ms, doubling to 5 s,
// with full jitter.
func (g *Registry) pause(ctx context.Context, n int) error {
	wait := min(g.backoff<<min(n, 10), 100*g.backoff)
	t := time.NewTimer(rand.N(wait) + 1)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// contentRange reads "bytes FIRST-LAST/SIZE" (RFC 9110, 14.4); size is -1
// for "*".
func contentRange(s string) (first, last, size int64, ok bool) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, false
	}
	first, err1 := parseInt(a)
	last, err2 := parseInt(b)
	size, err3 := int64(-1), error(nil)
	if total != "*" {
		size, err3 = parseInt(total)
	}
	return first, last, size, err1 == nil && err2 == nil && err3 == nil && first <= last && (size < 0 || last < size)
}

// parseInt reads plain decimal digits: no sign, no blanks.
func parseInt(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}
