// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/dray-tools/dray/oci"
)

// A Client talks to any number of registries. It is safe for concurrent use.
type Client struct {
	o    Options
	log  *slog.Logger
	dial func(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error)

	mu      sync.Mutex
	hosts   map[Endpoint]*host
	groups  map[groupKey]*group
	lookups map[lookupKey]*lookup
	pacers  map[string]*pacer
	warned  map[string]bool
	secrets secrets
}

// New makes a client. It does not talk to anybody yet.
func New(o Options) *Client {
	setDefault(&o.UserAgent, "dray")
	setDefault(&o.RequestsPerHost, 64)
	setDefault(&o.Attempts, 10) // with every fifth request failing, one of 10 million gives up
	setDefault(&o.MaxWait, 120*time.Second)
	setDefault(&o.ConnectTimeout, 10*time.Second)
	setDefault(&o.HeaderTimeout, 30*time.Second)
	setDefault(&o.StallTimeout, 60*time.Second)
	c := &Client{
		o: o, log: o.Log,
		hosts: map[Endpoint]*host{}, groups: map[groupKey]*group{}, lookups: map[lookupKey]*lookup{},
		pacers: map[string]*pacer{}, warned: map[string]bool{},
		dial: func(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, addr)
		},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Close ends the connections that are not in use.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.closeIdle()
	}
}

// Do sends a request and returns the answer once its headers are there; the
// caller closes the body. It asks for tokens, follows the redirects of GET and
// HEAD, and tries again what is worth it, with pauses that end when ctx does.
//
// A status outside r.Accept is an [*Error]. Failures of the network, stalls
// (also of the body, later) and a server that stays busy are oci.ErrBusy; what
// the rules about hosts, addresses and TLS forbid is oci.ErrDenied; an error of
// r.Body comes back as it is, as does that of the context.
func (c *Client) Do(ctx context.Context, r *Request) (*http.Response, error) {
	h, err := c.host(r.Endpoint)
	if err != nil {
		return nil, err
	}
	k := &call{h: h, r: r}
	if err := k.check(); err != nil {
		return nil, err
	}
	var resp *http.Response
	err = c.retry(ctx, r.Once, func() (err error) {
		resp, err = k.answer(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// A call is one Do.
type call struct {
	h *host
	r *Request
}

// check refuses what would otherwise fail late or be sent elsewhere.
func (k *call) check() error {
	r := k.r
	if !httpguts.ValidHeaderFieldName(r.Method) { // a method is a token, too
		return oci.Errorf(oci.ErrInvalid, "method %s is not valid", oci.Quote(r.Method))
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return oci.Errorf(oci.ErrInvalid, "header %s has a value that cannot be sent", oci.Quote(name))
		}
	}
	if r.Size < -1 || r.Size != 0 && r.Body == nil || r.Size < 0 && !r.Once {
		return oci.Errorf(oci.ErrInvalid, "request has no body of known size")
	}
	if _, err := scopesOf(r.Scopes...); err != nil {
		return err
	}
	u, err := k.target()
	if err == nil && r.URL != nil {
		err = k.h.checkLocation(u)
	}
	return err
}

// target is where the request goes, which changes when a loopback registry
// turns out to speak TLS.
func (k *call) target() (*url.URL, error) {
	var u *url.URL
	if k.r.URL != nil {
		clone := *k.r.URL
		u = &clone
	} else {
		path, err := url.PathUnescape(k.r.Path)
		if err != nil || !strings.HasPrefix(path, "/v2/") || strings.ContainsAny(k.r.Path, "?#") || dotted(path) {
			return nil, oci.Errorf(oci.ErrInvalid, "path %s is not one of a registry", oci.Quote(k.r.Path))
		}
		u = k.h.origin()
		u.Path, u.RawPath = path, k.r.Path
	}
	if q := k.r.Query.Encode(); q != "" && u.RawQuery != "" {
		u.RawQuery += "&" + q // the server's part stays byte for byte
	} else if q != "" {
		u.RawQuery = q
	}
	return u, nil
}

func dotted(path string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }),
		func(s string) bool { return s == "." || s == ".." })
}

// accepts reports whether a status is an answer.
func (k *call) accepts(status int) bool {
	if len(k.r.Accept) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(k.r.Accept, status)
}

// answer sends the request until the registry has said something other than
// that it wants to know who asks.
func (k *call) answer(ctx context.Context) (*http.Response, error) {
	landed, err := k.h.await(ctx, k.r)
	if err != nil {
		return nil, err
	}
	defer landed()
	var refusal *Error
	var g grant
	for round := 0; ; round++ {
		if g, err = k.h.authorize(ctx, k.r.Scopes, g); err != nil {
			return nil, err
		}
		if refusal != nil && g.value == "" {
			return nil, refusal
		}
		resp, home, err := k.exchange(ctx, g)
		landed()
		if err != nil {
			return nil, k.settle(ctx, err)
		}
		if k.accepts(resp.StatusCode) {
			return resp, checkEncoding(resp)
		}
		refusal = k.h.c.readError(resp)
		if err := k.settle(ctx, refusal); err == errSwitched {
			return nil, err
		}
		if !home || round == 3 || !k.h.refused(&g, refusal) || k.r.Size < 0 {
			return nil, refusal
		}
	}
}

// settle finds out about TLS, unless the URL is not ours to choose.
func (k *call) settle(ctx context.Context, err error) error {
	if k.r.URL != nil {
		return err
	}
	return k.h.settle(ctx, err)
}

// checkEncoding refuses a body that was compressed on its way although nobody
// asked for that: its size and digest would be those of something else.
func checkEncoding(resp *http.Response) error {
	e := strings.Join(resp.Header.Values("Content-Encoding"), ", ")
	if e == "" || strings.EqualFold(e, "identity") {
		return nil
	}
	if resp.Body == http.NoBody { // of a HEAD: the length is that of other bytes
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
		return nil
	}
	_ = resp.Body.Close()
	return oci.Errorf(oci.ErrInvalid, "server sent content encoding %s although none was asked for", oci.Quote(e))
}

// exchange sends the request once, with its redirects. home tells whether the
// answer is the registry's own, with no other host in between.
func (k *call) exchange(ctx context.Context, g grant) (resp *http.Response, home bool, err error) {
	u, err := k.target()
	if err != nil {
		return nil, false, err
	}
	leave, err := k.h.admit(ctx, k.r)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	m := message{method: k.r.Method, url: u, header: k.r.Header, body: k.r.Body, size: k.r.Size}
	home = k.h.isOrigin(u)
	for hop := 0; ; hop++ {
		if m.auth = ""; home {
			m.auth = g.value
		}
		resp, err = k.h.send(ctx, &m)
		if err != nil {
			return nil, false, err
		}
		if home && resp.StatusCode == http.StatusUnauthorized { // now, for those that wait for it
			k.h.learn(parseChallenges(resp.Header.Values("WWW-Authenticate")))
		}
		if !redirects(k.r.Method, resp.StatusCode) || k.accepts(resp.StatusCode) {
			return resp, home, nil
		}
		if m.url, err = k.h.follow(m.url, resp, hop); err != nil {
			return nil, false, err
		}
		home = home && k.h.isOrigin(m.url) // once away, credentials do not come back
	}
}
