// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// A proxy stands before a registry, counts what passes and does harm to every
// fifth request of a kind, so that what happens does not depend on luck.
type proxy struct {
	fault   string
	every   int64        // 5: a fifth of the requests, 1: all of them
	n       atomic.Int64 // requests that the fault could have hit
	faults  atomic.Int64
	in, out atomic.Int64 // bytes of bodies to and from the registry
	blobs   atomic.Int64 // bytes of blobs from the registry
	addr    string
}

// newProxy starts a proxy; fault is "", "503", "429", "cut", "put", "corrupt" or "norange+cut".
func newProxy(t *testing.T, upstream, fault string, every int64) *proxy {
	t.Helper()
	p := &proxy{fault: fault, every: every}
	target := &url.URL{Scheme: "http", Host: upstream}
	rp := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			if strings.HasPrefix(p.fault, "norange") {
				r.Out.Header.Del("Range")
			}
		},
		ModifyResponse: func(resp *http.Response) error { p.answer(resp); return nil },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		FlushInterval:  -1,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" && p.refuse(w) {
			return
		}
		p.request(r)
		rp.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	p.addr = strings.TrimPrefix(srv.URL, "http://")
	return p
}

func (p *proxy) hit() bool {
	if p.n.Add(1)%p.every != 0 {
		return false
	}
	p.faults.Add(1)
	return true
}

// refuse answers in place of the registry.
func (p *proxy) refuse(w http.ResponseWriter) bool {
	switch {
	case p.fault == "503" && p.hit():
		http.Error(w, `{"errors":[{"code":"UNAVAILABLE"}]}`, http.StatusServiceUnavailable)
	case p.fault == "429" && p.hit():
		w.Header().Set("Retry-After", "0")
		http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`, http.StatusTooManyRequests)
	default:
		return false
	}
	return true
}

func (p *proxy) request(r *http.Request) {
	b := &body{ReadCloser: r.Body, count: &p.in, cut: -1}
	if p.fault == "put" && r.ContentLength > 1 && strings.Contains(r.URL.Path, "/blobs/uploads/") && p.hit() {
		b.cut = r.ContentLength / 2
	}
	r.Body = b
}

func (p *proxy) answer(resp *http.Response) {
	b := &body{ReadCloser: resp.Body, count: &p.out, cut: -1}
	if resp.Request.Method == http.MethodGet && strings.Contains(resp.Request.URL.Path, "/blobs/sha256") && resp.ContentLength > 1 {
		b.also = &p.blobs
		switch {
		case strings.HasSuffix(p.fault, "cut") && p.hit():
			b.cut = resp.ContentLength / 2
		case p.fault == "corrupt" && p.hit():
			b.corrupt = true
		}
	}
	resp.Body = b
}

// A body counts bytes, and may end early or change one.
type body struct {
	io.ReadCloser
	count, also *atomic.Int64
	cut         int64
	corrupt     bool
	seen        int64
}

func (b *body) Read(p []byte) (int, error) {
	if b.cut >= 0 && b.seen >= b.cut {
		return 0, errors.New("cut")
	}
	if b.cut >= 0 && int64(len(p)) > b.cut-b.seen {
		p = p[:b.cut-b.seen]
	}
	n, err := b.ReadCloser.Read(p)
	if n > 0 && b.corrupt {
		p[n/2] ^= 0x20
		b.corrupt = false
	}
	b.seen += int64(n)
	b.count.Add(int64(n))
	if b.also != nil {
		b.also.Add(int64(n))
	}
	return n, err
}
