// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/dray-tools/dray/oci"
)

// maxHops is how many redirects one request may take.
const maxHops = 5

type hostKey struct{} // context key: the *host of a request

func redirects(method string, status int) bool {
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow reads where a redirect leads, closes its body and checks that the
// step may be taken.
func (h *host) follow(from *url.URL, resp *http.Response, hop int) (*url.URL, error) {
	_ = resp.Body.Close()
	if hop == maxHops {
		return nil, oci.Errorf(oci.ErrDenied, "%s redirects more than %d times", h.e.Host, maxHops)
	}
	u, err := locate(from, resp.Header)
	if err != nil {
		return nil, err
	}
	if from.Scheme == "https" && u.Scheme != "https" {
		return nil, oci.Errorf(oci.ErrDenied, "%s redirects from https to plain http at %s", from.Host, u.Host)
	}
	return u, nil
}

// locate makes the Location of an answer absolute. Only http and https without
// user information pass.
func locate(from *url.URL, header http.Header) (*url.URL, error) {
	to := header.Get("Location")
	if to == "" {
		return nil, oci.Errorf(oci.ErrInvalid, "%s answers without a Location", from.Host)
	}
	u, err := from.Parse(to)
	if err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "%s answers with a Location that is not a URL", from.Host)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, checkURL(u)
}

// checkURL refuses what is not a plain web address with a host.
func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return oci.Errorf(oci.ErrDenied, "URL with the scheme %s is not followed", oci.Quote(u.Scheme))
	case u.Opaque != "" || u.Hostname() == "" || strings.ContainsFunc(u.Host, oddInHost) || strings.HasPrefix(u.Host, ".") || strings.Contains(u.Host, ".."):
		return oci.Errorf(oci.ErrDenied, "URL without a proper host is not followed")
	case u.User != nil:
		return oci.Errorf(oci.ErrDenied, "URL with user name or password in it is not followed")
	}
	return nil
}

// oddInHost keeps what could harm out of messages, and out of the paths where
// certificates are looked for.
func oddInHost(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(".-_:[]", r)
}

// Location is the absolute URL that an answer of [Client.Do] names, to go on
// with an upload. oci.ErrDenied if it leads to another site than the registry's
// or away from https.
func (c *Client) Location(resp *http.Response) (*url.URL, error) {
	h, ok := resp.Request.Context().Value(hostKey{}).(*host)
	if !ok {
		return nil, oci.Errorf(oci.ErrInvalid, "answer is not one of this client")
	}
	u, err := locate(resp.Request.URL, resp.Header)
	if err != nil {
		return nil, err
	}
	return u, h.checkLocation(u)
}

// checkLocation decides whether an upload may go on at a URL.
func (h *host) checkLocation(u *url.URL) error {
	if err := checkURL(u); err != nil {
		return err
	}
	o := h.origin()
	if o.Scheme == "https" && u.Scheme != "https" {
		return oci.Errorf(oci.ErrDenied, "%s sends the upload from https to plain http at %s", h.e.Host, u.Host)
	}
	if !sameSite(u.Hostname(), o.Hostname()) {
		return oci.Errorf(oci.ErrDenied, "%s sends the upload to another site, %s", h.e.Host, u.Host)
	}
	return nil
}

// isOrigin reports whether a URL is at the registry itself: scheme, host and
// port.
func (h *host) isOrigin(u *url.URL) bool { return sameOrigin(u, h.origin()) }

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && hostPort(a) == hostPort(b)
}

// hostPort is the canonical host:port of a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(hostname(u.Hostname()), port)
}

func hostname(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".") }

// sameSite reports whether two host names are equal or below one registrable
// domain. Addresses have no domain.
func sameSite(a, b string) bool {
	a, b = hostname(a), hostname(b)
	if a == b {
		return true
	}
	for _, s := range []string{a, b} {
		if _, err := netip.ParseAddr(s); err == nil {
			return false
		}
	}
	x, errA := publicsuffix.EffectiveTLDPlusOne(a)
	y, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && x == y
}
