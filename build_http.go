// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/dray-tools/dray/oci"
)

// Limits of what is not in registries.
const (
	maxRedirects = 10
	maxSilence   = time.Minute // without an answer, or in the middle of one
)

// plainHTTP is for what is not in registries: it has the user's proxy and no
// credentials, hands out bytes as the server sends them, and does not wait for a
// server that says nothing.
func (c *Client) plainHTTP() *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	t := &http.Transport{
		Proxy: c.env.Proxy, TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: maxSilence, ForceAttemptHTTP2: true,
		DisableCompression: true, MaxResponseHeaderBytes: 256 << 10,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &impatient{conn}, nil
		},
	}
	c.closeLater(idle{t})
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, before []*http.Request) error {
		switch {
		case len(before) >= maxRedirects:
			return oci.Errorf(oci.ErrInvalid, "more than %d redirects", maxRedirects)
		case r.URL.Scheme != "https" && before[len(before)-1].URL.Scheme == "https":
			return oci.Errorf(oci.ErrInvalid, "redirect from https to %s", oci.Quote(r.URL.Scheme+"://"+r.URL.Host))
		}
		return nil
	}}
}

// impatient is a connection whose reads end if nothing comes.
type impatient struct{ net.Conn }

// Read implements net.Conn.
func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(maxSilence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// idle closes the connections that nobody uses.
type idle struct{ *http.Transport }

// Close implements io.Closer.
func (t idle) Close() error {
	t.CloseIdleConnections()
	return nil
}
