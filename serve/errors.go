// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"syscall"

	"github.com/dray-tools/dray/oci"
)

// Error codes (distribution-spec, "Error Codes").
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeUploadInvalid       = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown       = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     = "MANIFEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameInvalid         = "NAME_INVALID"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeSizeInvalid         = "SIZE_INVALID"
	codeUnauthorized        = "UNAUTHORIZED"
	codeDenied              = "DENIED"
	codeUnsupported         = "UNSUPPORTED"
	codeTooMany             = "TOOMANYREQUESTS"
	codeTagInvalid          = "TAG_INVALID"               // not in the table, but known to clients
	codePageInvalid         = "PAGINATION_NUMBER_INVALID" // likewise
	codeUnknown             = "UNKNOWN"                   // likewise
)

// httpError is an answer that is not a success.
type httpError struct {
	status  int
	header  http.Header
	entries []errorEntry
}

type errorEntry struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

func (e *httpError) Error() string {
	if len(e.entries) == 0 {
		return http.StatusText(e.status)
	}
	return e.entries[0].Message
}

func answer(status int, code, message string) *httpError {
	return &httpError{status: status, entries: []errorEntry{{Code: code, Message: message}}}
}

// orUnknown turns "not found" into the code for what was looked for.
func orUnknown(err error, code string) error {
	if errors.Is(err, oci.ErrNotFound) {
		return answer(http.StatusNotFound, code, err.Error())
	}
	return err
}

func authError(err error) error {
	if errors.Is(err, oci.ErrDenied) {
		return answer(http.StatusForbidden, codeDenied, err.Error())
	}
	challenge := `Basic realm="registry", charset="UTF-8"`
	var c interface{ Challenge() string }
	if errors.As(err, &c) {
		challenge = c.Challenge()
	}
	e := answer(http.StatusUnauthorized, codeUnauthorized, err.Error())
	e.header = http.Header{"Www-Authenticate": {challenge}}
	return e
}

// kinds maps the kinds of errors of a store to answers. What is not here is
// the registry's own trouble: it is logged and not told.
var kinds = []struct {
	kind   error
	status int
	code   string
}{
	{oci.ErrNotFound, http.StatusNotFound, codeNameUnknown},
	{oci.ErrUnauthorized, http.StatusUnauthorized, codeUnauthorized},
	{oci.ErrDenied, http.StatusForbidden, codeDenied},
	{oci.ErrUnsupported, http.StatusMethodNotAllowed, codeUnsupported},
	{oci.ErrExists, http.StatusConflict, codeDenied},
	{oci.ErrBusy, http.StatusServiceUnavailable, codeTooMany},
	{oci.ErrInvalid, http.StatusBadRequest, codeUnsupported},
}

// fail answers with an error, or cuts the connection if an answer has begun.
func (c *call) fail(w *recorder, err error) {
	if w.status != 0 {
		c.Log.LogAttrs(c.r.Context(), slog.LevelError, "answer cut short", slog.String("path", c.r.URL.Path), slog.Any("error", err))
		panic(http.ErrAbortHandler) // so that the client does not take it for whole
	}
	e := c.toHTTP(err)
	for k, v := range e.header {
		w.Header()[k] = v
	}
	if e.status == http.StatusServiceUnavailable || e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Del("Content-Length")
	if e.status == http.StatusNotModified {
		w.WriteHeader(e.status)
		return
	}
	w.Header().Del("Etag")
	body, _ := json.Marshal(map[string]any{"errors": e.entries})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.status)
	_, _ = w.Write(body)
}

func (c *call) toHTTP(err error) *httpError {
	var e *httpError
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.Canceled) && c.r.Context().Err() != nil {
		return answer(http.StatusBadRequest, codeUnknown, "the client went away")
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		c.Log.LogAttrs(c.r.Context(), slog.LevelError, "no space left", slog.String("path", c.r.URL.Path))
		return answer(http.StatusInsufficientStorage, codeTooMany, "no space left")
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) && !errors.Is(err, oci.ErrCorrupt) {
			return answer(k.status, k.code, err.Error())
		}
	}
	c.Log.LogAttrs(c.r.Context(), slog.LevelError, "internal error", slog.String("path", c.r.URL.Path), slog.Any("error", err))
	return answer(http.StatusInternalServerError, codeUnknown, "internal error")
}

// sendJSON writes a list, which can be long.
func (c *call) sendJSON(contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", contentType)
	return c.send(bytes.NewReader(body), http.StatusOK, int64(len(body)))
}

func writeJSON(w http.ResponseWriter, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // only types of this package come here
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
