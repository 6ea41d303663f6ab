// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

const octets = "application/octet-stream"

// getBlob answers GET and HEAD of a blob (distribution-spec, "Pulling blobs").
func (c *call) getBlob() error {
	d, err := c.statBlob()
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.describe(d.Digest)
	h.Set("Content-Type", octets)
	if matches(c.r.Header.Get("If-None-Match"), d.Digest) {
		return &httpError{status: http.StatusNotModified}
	}
	offset, length, status := int64(0), d.Size, http.StatusOK
	if !c.Quirks.NoRange {
		h.Set("Accept-Ranges", "bytes")
		if from, n, ok, good := c.wantedRange(d); ok && !good {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", d.Size))
			return answer(http.StatusRequestedRangeNotSatisfiable, codeSizeInvalid, "the blob has no such range")
		} else if ok {
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, d.Size))
			offset, length, status = from, n, http.StatusPartialContent
		}
	}
	if c.r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
		c.w.WriteHeader(status)
		return nil
	}
	rc, err := c.openRange(d, offset, length)
	if err != nil {
		return orUnknown(err, codeBlobUnknown)
	}
	defer rc.Close()
	return c.send(rc, status, length)
}

func (c *call) statBlob() (oci.Descriptor, error) {
	d, err := c.repo.Stat(c.r.Context(), oci.Descriptor{MediaType: octets, Digest: c.at.digest})
	return d, orUnknown(err, codeBlobUnknown)
}

// describe sets the headers that depend on the digest alone.
func (c *call) describe(d oci.Digest) {
	h := c.w.Header()
	if !c.Quirks.NoDigestHeader {
		h.Set("Docker-Content-Digest", string(d))
	}
	h.Set("Etag", `"`+string(d)+`"`)
}

// matches reports whether an If-Match or If-None-Match header names the
// content.
func matches(header string, d oci.Digest) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || strings.Trim(tag, `"`) == string(d) {
			return true
		}
	}
	return false
}

// wantedRange is the range that is asked for; If-Range with another content
// asks for all of it.
func (c *call) wantedRange(d oci.Descriptor) (offset, length int64, ok, satisfiable bool) {
	if cond := c.r.Header.Get("If-Range"); cond != "" && !matches(cond, d.Digest) {
		return 0, 0, false, false
	}
	return parseRange(c.r.Header.Get("Range"), d.Size)
}

// openRange opens a part of a blob, by reading from its start if the store
// cannot do better.
func (c *call) openRange(d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	ctx := c.r.Context()
	if offset == 0 && length == d.Size {
		return c.repo.Open(ctx, d)
	}
	if r, ok := oci.As[oci.Ranger](c.repo); ok {
		if rc, err := r.OpenRange(ctx, d, offset, length); !errors.Is(err, oci.ErrUnsupported) {
			return rc, err
		}
	}
	rc, err := c.repo.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, rc, offset); err != nil {
		_ = rc.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(rc, length), rc}, nil
}

// send writes a body of known length. A client that takes nothing for
// Limits.Stall is dropped.
func (c *call) send(r io.Reader, status int, length int64) error {
	c.w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	c.w.WriteHeader(status)
	conn := http.NewResponseController(c.w)
	n, err := io.CopyBuffer(writerFunc(func(p []byte) (int, error) {
		_ = conn.SetWriteDeadline(time.Now().Add(c.Limits.Stall)) // unknown to test recorders
		return c.w.Write(p)
	}), struct{ io.Reader }{r}, make([]byte, 128<<10))
	if err == nil && n != length {
		err = io.ErrUnexpectedEOF
	}
	return err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// deleteBlob answers DELETE of a blob.
func (c *call) deleteBlob() error {
	del, ok := oci.As[oci.Deleter](c.repo)
	if !ok {
		return oci.ErrUnsupported
	}
	d, err := c.statBlob()
	if err != nil {
		return err
	}
	if err := del.Delete(c.r.Context(), d); err != nil {
		return orUnknown(err, codeBlobUnknown)
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}
