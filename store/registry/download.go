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
	going   bool  // it has been open
	noRange bool  // a place has answered Range with something else
	again   int   // readings from the start to get to the middle
	failed  int   // attempts since the last progress
	mark    int64 // off at that time
}

const (
	downloadAttempts = 8       // without progress in between
	progress         = 1 << 20 // bytes that count as progress
)

// begin opens the download for the first time.
func (b *download) begin() (err error) {
	if b.places, err = b.r.mirrors(true); err != nil {
		return err
	}
	b.mark = b.off
	err = b.open()
	b.going = err == nil
	return err
}

// open asks the places for the bytes from off on.
func (b *download) open() error {
	_, err := first(b.ctx, b.r, b.places, func(m Mirror) (struct{}, error) { return struct{}{}, b.openAt(m) })
	return err
}

func (b *download) openAt(m Mirror) error {
	q := b.r.read(m, http.MethodGet, kindPath(b.d))
	q.Header = http.Header{}
	if oci.IsManifest(b.d.MediaType) {
		q.Header = acceptManifests.Clone()
	}
	q.Large = !oci.IsManifest(b.d.MediaType)
	ranged := !b.noRange && (b.off > 0 || b.end < b.d.Size)
	if ranged {
		q.Header.Set("Range", "bytes="+strconv.FormatInt(b.off, 10)+"-"+strconv.FormatInt(b.end-1, 10))
	}
	resp, err := b.r.g.o.Client.Do(b.ctx, q)
	var status *transport.Error
	if errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable && ranged {
		return oci.Errorf(oci.ErrCorrupt, "registry has fewer than %d bytes", b.end)
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
	case ranged && b.whole && b.off == 0:
		b.end = b.d.Size
		b.r.g.noParts.Store(true)
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

// acceptPart checks the Content-Range. After a wrong one nothing is spliced:
// the blob is read from its start instead.
func (b *download) acceptPart(resp *http.Response) error {
	values := resp.Header.Values("Content-Range")
	if len(values) == 1 {
		first, last, size, ok := contentRange(values[0])
		if ok && first == b.off && last < b.end && (size < 0 || size == b.d.Size) {
			b.stop = last + 1
			return nil
		}
	}
	b.noRange = true
	kind := oci.ErrInvalid
	if b.strict || b.partial && !b.going {
		kind = oci.ErrUnsupported
	}
	return oci.Errorf(kind, "registry sends the part %s, want %d-%d of %d", oci.Quote(strings.Join(values, ", ")), b.off, b.end-1, b.d.Size)
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
	b.body.Close()
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
		if !isKind(cause, oci.ErrBusy) && !isKind(cause, oci.ErrInvalid) {
			return cause
		}
	}
}

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
