// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// A download reads the bytes off to end of a blob. When the connection breaks
// it goes on where it was: with a Range request, or by reading from the start
// again and dropping what it had, where the registry ignores Range. The bytes
// are not verified here.
type download struct {
	ctx     context.Context
	r       *Repo
	d       oci.Descriptor
	off     int64
	end     int64
	partial bool // reading from the start is not wanted

	body    io.ReadCloser
	failed  int   // attempts since the last progress
	mark    int64 // off when the last attempt began
	lastErr error
}

const (
	downloadAttempts = 8       // without progress in between
	progress         = 1 << 20 // bytes that count as progress
)

// open asks all places for the bytes from off on.
func (b *download) open() error {
	b.mark = b.off
	_, err := first(b.r, true, func(m Mirror) (struct{}, error) { return struct{}{}, b.openAt(m) })
	return err
}

func (b *download) openAt(m Mirror) error {
	q := b.r.read(m, http.MethodGet, kindPath(b.d))
	q.Header = http.Header{}
	if oci.IsManifest(b.d.MediaType) {
		q.Header = acceptManifests.Clone()
	}
	q.Large = !oci.IsManifest(b.d.MediaType)
	whole := b.off == 0 && b.end == b.d.Size
	if !whole {
		q.Header.Set("Range", "bytes="+strconv.FormatInt(b.off, 10)+"-"+strconv.FormatInt(b.end-1, 10))
	}
	resp, err := b.r.g.o.Client.Do(b.ctx, q)
	var status *transport.Error
	if errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable && !whole {
		return oci.Errorf(oci.ErrCorrupt, "registry has fewer than %d bytes", b.end)
	}
	if err != nil {
		return err
	}
	if err := b.accept(resp, whole); err != nil {
		resp.Body.Close()
		return err
	}
	b.body = resp.Body
	return nil
}

// accept checks that the answer is about the bytes that were asked for.
func (b *download) accept(resp *http.Response, whole bool) error {
	switch {
	case whole && resp.StatusCode == http.StatusOK:
		if resp.ContentLength >= 0 && resp.ContentLength != b.d.Size {
			return oci.Errorf(oci.ErrCorrupt, "registry has %d bytes, want %d", resp.ContentLength, b.d.Size)
		}
		return nil
	case !whole && resp.StatusCode == http.StatusPartialContent:
		values := resp.Header.Values("Content-Range")
		if len(values) != 1 {
			return oci.Errorf(oci.ErrInvalid, "registry sends a part with %d Content-Range headers", len(values))
		}
		first, last, size, ok := contentRange(values[0])
		if !ok || first != b.off || last >= b.end || size >= 0 && size != b.d.Size {
			return oci.Errorf(oci.ErrInvalid, "registry sends the part %s, want %d-%d of %d", oci.Quote(values[0]), b.off, b.end-1, b.d.Size)
		}
		return nil
	case resp.StatusCode == http.StatusOK && b.partial && b.off == b.mark && b.lastErr == nil:
		return oci.Errorf(oci.ErrUnsupported, "registry does not send parts")
	case resp.StatusCode == http.StatusOK: // it ignores Range: drop what was read before
		_, err := io.CopyN(io.Discard, resp.Body, b.off)
		if err != nil {
			return busy(b.ctx, err)
		}
		return nil
	}
	return oci.Errorf(oci.ErrInvalid, "registry answers with status %d", resp.StatusCode)
}

func (b *download) Read(p []byte) (int, error) {
	for {
		if b.off >= b.end && b.partial {
			return 0, io.EOF
		}
		if b.partial && int64(len(p)) > b.end-b.off {
			p = p[:b.end-b.off]
		}
		n, err := b.body.Read(p)
		b.off += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if err == io.EOF && b.off >= b.end {
			return 0, io.EOF
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err := b.again(err); err != nil {
			return 0, oci.Wrap("", b.r.place(string(b.d.Digest)), err)
		}
	}
}

// again opens the rest after a failure.
func (b *download) again(cause error) error {
	b.body.Close()
	b.body = http.NoBody
	for {
		if b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
		if b.off-b.mark >= progress {
			b.failed = 0
		}
		if b.failed++; b.failed >= downloadAttempts {
			return busy(b.ctx, cause)
		}
		b.lastErr = cause
		b.r.g.o.Log.Info("download broke off, going on", "blob", b.d.Digest, "offset", b.off, "error", cause)
		if err := pause(b.ctx, b.failed); err != nil {
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

// pause waits before attempt n: 50 ms doubling to 5 s, with full jitter.
func pause(ctx context.Context, n int) error {
	wait := min(50*time.Millisecond<<min(n, 10), 5*time.Second)
	t := time.NewTimer(time.Duration(rand.Int64N(int64(wait))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
