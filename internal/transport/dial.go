// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dray-tools/dray/oci"
)

// class says how far away an address is.
type class int32

const (
	unknown class = iota
	never         // link-local, multicast, unspecified: no registry may send us there
	public
	private
	loopback
)

func (k class) String() string {
	return [...]string{"unknown", "link-local or reserved", "public", "private", "loopback"}[k]
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var (
	neverNets = prefixes("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "fe80::/10", "ff00::/8", "::/128", "2001::/32",
		// Services of clouds that tell secrets, outside the link-local ranges.
		"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128")
	privateNets = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24",
		"198.18.0.0/15", "fc00::/7", "fec0::/10", "64:ff9b:1::/48")
	// Addresses that carry an IPv4 address in them, and where.
	embedded = map[netip.Prefix]int{
		netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2, netip.MustParsePrefix("::/96"): 12,
	}
)

// classify tells the class of an address, or of the IPv4 address in it.
func classify(a netip.Addr) class {
	a = a.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case !a.IsValid() || slices.ContainsFunc(neverNets, in):
		return never
	case a.IsLoopback():
		return loopback
	case slices.ContainsFunc(privateNets, in):
		return private
	}
	for p, at := range embedded {
		if p.Contains(a) {
			b := a.As16()
			return min(classify(netip.AddrFrom4([4]byte(b[at:at+4]))), private)
		}
	}
	return public
}

// A link is the connections of one endpoint to one host: the registry itself,
// its token service, or where it redirects to. The registry's client
// certificate and the leave to skip verification are its alone.
type link struct {
	h     *host
	addr  string // host:port
	own   bool   // it is the registry
	named bool   // by the user, so that it may be anywhere
	alive atomic.Bool
	t     *http.Transport
}

// maxLinks bounds what a registry that redirects to ever new hosts can make us
// keep.
const maxLinks = 64

// link finds the connections for a URL.
func (h *host) link(u *url.URL) (*link, error) {
	addr := hostPort(u)
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[addr]; l != nil {
		return l, nil
	}
	l := &link{h: h, addr: addr}
	self := &url.URL{Scheme: u.Scheme, Host: h.addr}
	l.own = addr == hostPort(self)
	l.named = l.own || h.c.trustsRealm(u)
	config, err := h.tlsConfig(u, self)
	if err != nil {
		return nil, err
	}
	l.t = &http.Transport{
		Proxy:                  l.proxy,
		DialContext:            l.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    h.c.o.ConnectTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         64 << 10,
		WriteBufferSize:        64 << 10,
	}
	for other, old := range h.links {
		if len(h.links) < maxLinks {
			break
		}
		if !old.own {
			old.t.CloseIdleConnections()
			delete(h.links, other)
		}
	}
	h.links[addr] = l
	return l, nil
}

func (h *host) tlsConfig(u, self *url.URL) (*tls.Config, error) {
	config := &tls.Config{}
	if h.c.o.TLS != nil {
		name := u.Host
		if u.Host == h.addr {
			name = h.e.Host // docker.io, not registry-1.docker.io
		}
		given, err := h.c.o.TLS(name)
		if err != nil {
			return nil, oci.Wrap("TLS settings of", name, err)
		}
		if given != nil {
			config = given.Clone()
		}
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	if h.e.InsecureTLS && hostname(u.Hostname()) == hostname(self.Hostname()) {
		config.InsecureSkipVerify = true
	}
	return config, nil
}

func (h *host) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.links {
		l.t.CloseIdleConnections()
	}
}

// proxy asks for the proxy; this machine needs none to reach itself.
func (l *link) proxy(r *http.Request) (*url.URL, error) {
	if l.h.c.o.Proxy == nil || isLocal(r.URL.Hostname()) {
		return nil, nil
	}
	return l.h.c.o.Proxy(r)
}

// dialError marks failures before there was a connection.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// policyError is an address that may not be connected to. It gets through
// net.Dialer's wrapping.
type policyError struct{ text string }

func (e *policyError) Error() string { return e.text }
func (e *policyError) Unwrap() error { return oci.ErrDenied }

// dial connects to the link's host, or to the proxy in front of it, and
// decides about the address after it has been resolved.
func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	direct := addr == l.addr
	d := &net.Dialer{Timeout: l.h.c.o.ConnectTimeout, KeepAlive: 30 * time.Second, Resolver: l.h.c.o.Resolver}
	if direct {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return l.permit(at.Addr())
		}
	}
	conn, err := l.h.c.dial(ctx, d, network, addr)
	if err != nil {
		return nil, &dialError{err}
	}
	l.alive.Store(true)
	if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); direct && l.own && err == nil {
		l.h.reached(classify(at.Addr()))
	}
	return conn, nil
}

// permit decides whether the link may lead to an address.
func (l *link) permit(a netip.Addr) error {
	k := classify(a)
	name, _, _ := net.SplitHostPort(l.addr)
	switch {
	case l.own && l.h.local && !l.h.e.PlainHTTP && k != loopback:
		// It would be spoken to in plain text because of its name.
		return &policyError{name + " does not mean this machine here but " + a.String()}
	case l.named || l.h.mayName(k):
		return nil
	}
	return &policyError{l.h.e.Host + " leads to " + name + " at " + a.String() + ": no connection is made to a " + k.String() + " address that the user did not name"}
}

// mayName reports whether the registry may send us to an address of a class:
// anywhere public, and to its own kind of network.
func (h *host) mayName(k class) bool {
	at := class(h.reach.Load())
	if at == unknown { // behind a proxy
		at = public
		if a, err := netip.ParseAddr(hostname((&url.URL{Host: h.addr}).Hostname())); err == nil {
			at = classify(a)
		}
	}
	return k == public || k > public && k <= at
}

// reached notes where the registry itself was found. Found at several places,
// it counts as what gives it least.
func (h *host) reached(k class) {
	for {
		old := h.reach.Load()
		if old != int32(unknown) && old <= int32(k) || h.reach.CompareAndSwap(old, int32(k)) {
			return
		}
	}
}

// checkHost decides by the text of a URL alone, which is all there is when a
// proxy resolves the name.
func (l *link) checkHost(u *url.URL) error {
	if l.named {
		return nil
	}
	name := hostname(u.Hostname())
	a, err := netip.ParseAddr(name)
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case err == nil:
		return l.permit(a)
	case isLocal(name):
		return l.permit(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	case strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "": // 127.1, 0x7f000001: an address to some
		return &policyError{l.h.e.Host + " leads to " + oci.Quote(name) + ", which is neither a name nor an address"}
	}
	return nil
}
