// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// SetDial replaces the network. What goes through it is not checked by address.
func (c *Client) SetDial(f func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c.dial = func(ctx context.Context, _ *net.Dialer, network, addr string) (net.Conn, error) {
		return f(ctx, network, addr)
	}
}

// Challenges gives the schemes and parameters of WWW-Authenticate.
func Challenges(lines ...string) (schemes []string, params []map[string]string) {
	for _, c := range parseChallenges(lines) {
		schemes, params = append(schemes, c.scheme), append(params, c.params)
	}
	return schemes, params
}

// Demanded is the challenge that would be answered.
func Demanded(lines ...string) (basic bool, realm, service string) {
	d := demanded(parseChallenges(lines))
	return d.basic, d.realm, d.service
}

// Classify names the class of an address.
func Classify(s string) string { return classify(netip.MustParseAddr(s)).String() }

// OriginOf is where an endpoint is reached before anything is known of it.
func (c *Client) OriginOf(e Endpoint) string {
	h, err := c.host(e)
	if err != nil {
		return err.Error()
	}
	return h.origin().String()
}

func ParseToken(b []byte) (string, time.Duration, error)    { return parseToken(b) }
func RetryAfter(h http.Header, now time.Time) time.Duration { return retryAfter(h, now) }
func SameSite(a, b string) bool                             { return sameSite(a, b) }
func Clean(s string, limit int) string                      { return clean(s, limit) }

// Permit decides about an address behind a URL, for a registry that was
// reached at the addresses in at.
func (c *Client) Permit(e Endpoint, at []string, to, address string) error {
	h, err := c.host(e)
	if err != nil {
		return err
	}
	for _, a := range at {
		h.reached(classify(netip.MustParseAddr(a)))
	}
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	l, err := h.link(u)
	if err != nil {
		return err
	}
	return l.permit(netip.MustParseAddr(address))
}
