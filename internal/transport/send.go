// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A message is one HTTP request to one host.
type message struct {
	method string
	url    *url.URL
	header http.Header
	auth   string // value of Authorization
	body   func(ctx context.Context) (io.ReadCloser, error)
	size   int64
}

// send makes one round trip, after waiting for the host's pause to end. The
// body of the answer is watched for stalls; closing it frees all that belongs
// to the request.
func (h *host) send(ctx context.Context, m *message) (*http.Response, error) {
	l, err := h.link(m.url)
	if err != nil {
		return nil, err
	}
	if err := l.checkHost(m.url); err != nil {
		return nil, err
	}
	pace := h.c.pacer(l.addr)
	if err := pace.wait(ctx); err != nil {
		return nil, err
	}
	wctx, cancel := context.WithCancelCause(context.WithValue(ctx, hostKey{}, h))
	head := h.c.awaitHead(m, cancel)
	req, sent, err := h.request(wctx, m, head)
	if err != nil {
		head.done()
		cancel(nil)
		return nil, err
	}
	start := time.Now()
	resp, err := l.t.RoundTrip(req)
	head.done()
	if err != nil {
		err = l.failure(ctx, wctx, err, sent, m.url.Scheme == "http")
		cancel(nil)
		h.c.logFailure(ctx, l, m, time.Since(start), err)
		return nil, err
	}
	h.c.logAnswer(ctx, l, m, time.Since(start), resp)
	if l.own && resp.StatusCode != http.StatusBadRequest { // 400 may be TLS's answer to http
		h.trust()
	}
	if s := resp.StatusCode; s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable {
		if wish := retryAfter(resp.Header, time.Now()); wish <= h.c.o.MaxWait {
			pace.hold(wish)
		}
	}
	if m.method == http.MethodHead || resp.ContentLength == 0 {
		_ = resp.Body.Close()
		resp.Body = http.NoBody
		cancel(nil)
		return resp, nil
	}
	resp.Body = h.c.receive(ctx, wctx, cancel, resp.Body, l.addr)
	return resp, nil
}

// request builds the HTTP request. Headers are set here, for this host, and
// nowhere else.
func (h *host) request(ctx context.Context, m *message, head *headWait) (*http.Request, *sentBody, error) {
	header := make(http.Header, len(m.header)+4)
	for name, values := range m.header {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Authorization", "Proxy-Authorization", "Cookie", "Accept-Encoding", "Referer", "Host", "Content-Length":
		default:
			header[name] = values
		}
	}
	header.Set("User-Agent", h.c.o.UserAgent)
	header.Set("Accept-Encoding", "identity")
	if m.auth != "" {
		header.Set("Authorization", m.auth)
	}
	req := (&http.Request{
		Method: m.method, URL: m.url, Host: m.url.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}).WithContext(ctx)
	if m.size == 0 || m.body == nil {
		return req, nil, nil
	}
	sent := &sentBody{}
	// net/http opens a body anew only where none of it has been sent.
	req.GetBody = func() (io.ReadCloser, error) { return h.c.openBody(ctx, m, head, sent) }
	body, err := req.GetBody()
	if err != nil {
		return nil, nil, err
	}
	req.Body, req.ContentLength = body, m.size
	return req, sent, nil
}
