// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/dray-tools/dray/oci"
)

// A host is all that the client knows of one endpoint. Nothing of it is shared
// with another endpoint, so that no registry can use what belongs to another.
type host struct {
	c     *Client
	e     Endpoint // in normal form
	addr  string   // host[:port] in URLs
	local bool     // loopback by name
	slots chan struct{}
	rate  *rate.Limiter // nil: no limit
	reach atomic.Int32  // class of the addresses the registry was reached at

	scout     chan struct{} // held by the first request, while nothing is known
	known     chan struct{} // closed when that has ended
	knownOnce sync.Once

	mu       sync.Mutex
	tls      bool // https, not http
	sure     bool // that this is right
	demand   demand
	expected []Scope
	awaited  map[Scope]bool // the same as a set
	next     int            // of expected
	links    map[string]*link
}

// host finds the endpoint's state or makes it.
func (c *Client) host(e Endpoint) (*host, error) {
	e.Host = strings.ToLower(e.Host)
	if e.Host == "index.docker.io" {
		e.Host = "docker.io"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[e]; h != nil {
		return h, nil
	}
	u, err := url.Parse("https://" + e.Host + "/")
	if strings.Contains(e.Host, "@") { // what is before it may be a password
		return nil, oci.Errorf(oci.ErrInvalid, "host name has a user name or password in it")
	}
	if err != nil || u.Host != e.Host || u.Path != "/" || checkURL(u) != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "%s is not a host name", oci.Quote(e.Host))
	}
	h := &host{
		c: c, e: e, addr: e.Host, local: isLocal(u.Hostname()),
		slots: make(chan struct{}, max(c.o.RequestsPerHost, 1)),
		scout: make(chan struct{}, 1), known: make(chan struct{}),
		links: map[string]*link{}, awaited: map[Scope]bool{},
	}
	if e.Host == "docker.io" {
		h.addr = "registry-1.docker.io"
	}
	if c.o.RatePerHost > 0 {
		h.rate = rate.NewLimiter(rate.Limit(c.o.RatePerHost), 1)
	}
	h.tls = !e.PlainHTTP && !h.local
	h.sure = !h.guessed()
	c.hosts[e] = h
	return h, nil
}

// isLocal reports whether a name means this machine, by itself and not by what
// it looks like: 127.0.0.1.example.com does not.
func isLocal(name string) bool {
	name = hostname(name)
	if a, err := netip.ParseAddr(name); err == nil {
		return a.IsLoopback() && !a.Is4In6()
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// guessed reports whether http is only where to begin: the registry may turn
// out to speak TLS.
func (h *host) guessed() bool {
	if h.e.PlainHTTP {
		return h.e.InsecureTLS
	}
	return h.local
}

// origin is the root of the registry.
func (h *host) origin() *url.URL {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tls {
		return &url.URL{Scheme: "https", Host: h.addr}
	}
	return &url.URL{Scheme: "http", Host: h.addr}
}

// trust notes that the registry has answered as one, so that the guess about
// TLS was right.
func (h *host) trust() {
	h.mu.Lock()
	h.sure = true
	h.mu.Unlock()
}

// errSwitched says that the request is to be sent again, over https.
var errSwitched = errors.New("registry speaks TLS")

// settle looks at the first bad answers of a registry that was tried over http
// on a guess: if it speaks TLS, that is what will be spoken from then on, and
// err becomes errSwitched. It never goes the other way.
func (h *host) settle(ctx context.Context, err error) error {
	h.mu.Lock()
	sure, switched := h.sure, h.tls && h.guessed()
	h.mu.Unlock()
	answer, answered := err.(*Error)
	lost, _ := err.(*netError)
	switch {
	case switched && answered && !strings.HasPrefix(answer.URL, "https:"), switched && lost != nil && lost.plain:
		return errSwitched // another request has found out
	case sure || ctx.Err() != nil:
		return err
	case answered && answer.Status != http.StatusBadRequest:
		return err
	case !answered && (lost == nil || lost.dial && !h.e.PlainHTTP): // without a port, http and https have two
		return err
	case !h.speaksTLS(ctx):
		return err
	}
	h.mu.Lock()
	h.tls, h.sure = true, true
	h.mu.Unlock()
	h.c.log.Info("registry speaks TLS", "host", h.e.Host)
	return errSwitched
}

// speaksTLS tries a handshake, which sends nothing of the user's.
func (h *host) speaksTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, h.c.o.ConnectTimeout)
	defer cancel()
	u := &url.URL{Scheme: "https", Host: h.addr}
	l, err := h.link(u)
	if err != nil {
		return false
	}
	conn, err := l.dial(ctx, "tcp", hostPort(u))
	if err != nil {
		return false
	}
	defer conn.Close()
	err = tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}).HandshakeContext(ctx)
	op, ok := errors.AsType[*net.OpError](err)
	return err == nil || ok && op.Op == "remote error" // an alert is TLS, too
}

// await lets the very first request to a host go alone, because its answer may
// bring a challenge that all others need. landed must be called when its
// headers are there, or it has failed; calling it again does nothing.
func (h *host) await(ctx context.Context, r *Request) (landed func(), err error) {
	nothing := func() {}
	if r.Size != 0 {
		return nothing, nil
	}
	select {
	case <-h.known:
		return nothing, nil
	default:
	}
	select {
	case <-h.known:
		return nothing, nil
	case h.scout <- struct{}{}: // never given back
		return func() { h.knownOnce.Do(func() { close(h.known) }) }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// admit waits until the host's limits let a request through. leave must be
// called when its headers are there, or it has failed.
func (h *host) admit(ctx context.Context, r *Request) (leave func(), err error) {
	if h.rate != nil {
		if err := sleep(ctx, h.rate.Reserve().Delay()); err != nil {
			return nil, err
		}
	}
	if r.Large {
		return func() {}, nil
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
