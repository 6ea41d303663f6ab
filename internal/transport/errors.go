// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dray-tools/dray/oci"
)

const (
	maxErrorBody = 64 << 10 // read of an error's body
	maxErrorText = 1 << 10  // shown of it
	maxCodes     = 16
)

// An ErrorCode is one entry of an error answer (distribution-spec, "Error
// Codes"). Both parts are safe to print.
type ErrorCode struct {
	Code, Message string
}

// An Error is an answer with a status that the caller did not accept.
// errors.Is finds the kind of error in package oci that status and codes mean.
type Error struct {
	Method     string
	URL        string // without query and, elsewhere than at the registry, without path
	Status     int
	Codes      []ErrorCode
	Text       string        // what the server said in another form, safe to print
	RetryAfter time.Duration // what the server wishes, 0 if nothing

	challenges []challenge
}

// Error is short: "404 MANIFEST_UNKNOWN: manifest unknown".
func (e *Error) Error() string {
	s := strconv.Itoa(e.Status)
	for i, c := range e.Codes {
		if i > 0 {
			s += ","
		}
		s += " " + c.Code
		if c.Message != "" {
			s += ": " + c.Message
		}
	}
	if len(e.Codes) == 0 {
		if t := http.StatusText(e.Status); t != "" {
			s += " " + t
		}
		if e.Text != "" {
			s += ": " + e.Text
		}
	}
	return cut(s, maxErrorText)
}

// Has reports whether the server gave one of the error codes, such as
// BLOB_UNKNOWN.
func (e *Error) Has(codes ...string) bool {
	return slices.ContainsFunc(e.Codes, func(c ErrorCode) bool { return slices.Contains(codes, c.Code) })
}

// Is reports whether target is the kind of the error.
func (e *Error) Is(target error) bool { return target != nil && target == e.kind() }

func (e *Error) kind() error {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return oci.ErrUnauthorized
	case http.StatusForbidden, http.StatusPaymentRequired, http.StatusUnavailableForLegalReasons:
		return oci.ErrDenied
	case http.StatusNotFound, http.StatusGone:
		return oci.ErrNotFound
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return oci.ErrUnsupported
	}
	if retryable(e.Status) || e.Status >= 500 {
		return oci.ErrBusy
	}
	for _, c := range e.Codes {
		switch c.Code {
		case "UNSUPPORTED":
			return oci.ErrUnsupported
		case "UNAUTHORIZED":
			return oci.ErrUnauthorized
		case "DENIED":
			return oci.ErrDenied
		case "NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN":
			return oci.ErrNotFound
		case "TOOMANYREQUESTS":
			return oci.ErrBusy
		}
	}
	if e.Status >= 300 && e.Status < 400 {
		return oci.ErrUnsupported
	}
	return oci.ErrInvalid
}

// readError makes an error of an answer and closes its body.
func (c *Client) readError(resp *http.Response) *Error {
	defer resp.Body.Close()
	e := &Error{
		Method: resp.Request.Method, Status: resp.StatusCode, URL: c.showURL(resp.Request),
		RetryAfter: retryAfter(resp.Header, time.Now()), challenges: parseChallenges(resp.Header.Values("WWW-Authenticate")),
	}
	if resp.Header.Get("Content-Encoding") != "" {
		return e
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what there is of it will do
	e.Codes, e.Text = parseError(body, resp.Header.Get("Content-Type"), c.secrets.scrub)
	return e
}

// parseError understands the form of the specification and those of token
// services; of anything else but HTML it gives the text.
func parseError(body []byte, contentType string, scrub func(string) string) (codes []ErrorCode, text string) {
	var doc struct {
		Errors []struct {
			Code    any    `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Error       any    `json:"error"`
		Description string `json:"error_description"`
		Message     string `json:"message"`
		Details     string `json:"details"`
	}
	show := func(s string) string { return clean(scrub(s), maxErrorText) }
	err := json.Unmarshal(body, &doc)
	for _, d := range doc.Errors {
		if len(codes) < maxCodes && (d.Code != nil || d.Message != "") {
			code := "UNKNOWN"
			if d.Code != nil {
				code = show(fmt.Sprint(d.Code))
			}
			codes = append(codes, ErrorCode{Code: code, Message: show(d.Message)})
		}
	}
	if codes != nil {
		return codes, ""
	}
	if s, ok := doc.Error.(string); ok && doc.Description == "" {
		doc.Description = s
	}
	for _, s := range []string{doc.Description, doc.Details, doc.Message} {
		if s != "" {
			return nil, show(s)
		}
	}
	if err == nil || strings.Contains(contentType, "html") || strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 64)])), "<") {
		return nil, ""
	}
	return nil, show(strings.TrimSpace(string(body)))
}

// clean makes text from outside safe for a terminal and a log, and short.
func clean(s string, limit int) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case b.Len() >= limit:
			b.WriteString("…")
			return b.String()
		case r == utf8.RuneError:
			b.WriteString(fmt.Sprintf(`\x%02x`, s[i]))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// A netError is a failure without an answer, of the kind oci.ErrBusy. It does
// not give its cause to errors.Is: a time limit of our own must not look like
// the end of the caller's context.
type netError struct {
	text  string
	dial  bool // nothing was sent
	rare  bool // a few attempts are enough
	final bool // another attempt is useless
	plain bool // it was tried over http
}

func (e *netError) Error() string { return e.text }
func (e *netError) Unwrap() error { return oci.ErrBusy }

func busyf(host, format string, args ...any) *netError {
	return &netError{text: host + ": " + fmt.Sprintf(format, args...)}
}

// cause is the text of a network error without the addresses that net puts
// before it, as the host is named already.
func cause(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "no such host"
		}
		return "name cannot be looked up: " + dns.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// failure says what the error of a round trip means.
func (l *link) failure(outer, inner context.Context, err error, sent *sentBody, plain bool) error {
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	if own := sent.cause(); own != nil {
		return own
	}
	if lost, ok := context.Cause(inner).(*netError); ok {
		lost.plain = plain
		return lost
	}
	if p, ok := errors.AsType[*policyError](err); ok {
		return p
	}
	if err := l.tlsFailure(err); err != nil {
		return err
	}
	_, dial := errors.AsType[*dialError](err)
	e := busyf(l.addr, "%s", clean(l.h.c.secrets.scrub(cause(err)), maxErrorText))
	e.dial, e.plain = dial, plain
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		e.final = true
	}
	e.rare = dial && !l.alive.Load() || !dial && !transient(err)
	return e
}

// streamError has the form of net/http's own HTTP/2 error, which errors.As
// fills into it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "" }

// transient reports whether an error is one that connections have now and then.
func transient(err error) bool {
	if _, ok := errors.AsType[streamError](err); ok {
		return true
	}
	_, network := errors.AsType[net.Error](err)
	_, system := errors.AsType[syscall.Errno](err)
	return network || system || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// tlsFailure says what is wrong with the TLS of a host, nil if nothing is.
func (l *link) tlsFailure(err error) error {
	var (
		invalid  x509.CertificateInvalidError
		unsigned x509.UnknownAuthorityError
		name     x509.HostnameError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		op       *net.OpError
		text     string
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text = fmt.Sprintf("certificate has expired or is not yet valid (the clock here says %s): %v", time.Now().UTC().Format(time.RFC3339), invalid)
	case errors.As(err, &unsigned):
		text = "certificate is signed by an unknown authority: add that to certs.d, or use --insecure-tls to go without verification"
	case errors.As(err, &name):
		text = fmt.Sprintf("certificate is for another host: %v", name)
	case errors.As(err, &invalid), errors.As(err, &verify):
		text = fmt.Sprintf("certificate is not good: %v", err)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		text = "host does not speak TLS: use --plain-http if that is meant"
	case errors.As(err, &op) && op.Op == "remote error":
		text = fmt.Sprintf("host refuses the TLS handshake: %v", err)
	default:
		return nil
	}
	return oci.Errorf(oci.ErrDenied, "%s: %s", l.addr, clean(text, maxErrorText))
}
