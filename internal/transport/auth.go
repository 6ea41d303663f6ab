// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A grant is what a request says about who sends it.
type grant struct {
	value  string // of the Authorization header; "" is nobody
	demand demand // that it answers
	group  *group // of the token, if it is one of a token service
	token  *token
	need   scopes
	wide   bool // the token is for more than the request needs
	fresh  bool // the token was fetched for this request
	narrow bool // ask for exactly the scopes next time
}

// authorize makes what a request needs, as far as the registry has asked for
// it. last is the grant that was refused before.
func (h *host) authorize(ctx context.Context, list []Scope, last grant) (grant, error) {
	h.mu.Lock()
	d := h.demand
	h.mu.Unlock()
	if d == (demand{}) {
		return grant{}, nil
	}
	repository := ""
	if len(list) > 0 {
		repository = list[0].Repository
	}
	cred, err := h.c.credential(ctx, h.e.Host, repository)
	if err != nil {
		return grant{}, err
	}
	g, err := h.grant(ctx, d, cred, list, last.narrow)
	g.demand = d
	return g, err
}

// learn notes how the registry wants to be told who asks.
func (h *host) learn(list []challenge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := demanded(list); d != (demand{}) {
		h.demand = d
	}
}

// grant answers a demand with a credential.
func (h *host) grant(ctx context.Context, d demand, cred Credential, list []Scope, narrow bool) (grant, error) {
	if cred.RegistryToken != "" {
		if !printable(cred.RegistryToken) {
			return grant{}, oci.Errorf(oci.ErrInvalid, "registry token for %s has characters that cannot be sent", h.e.Host)
		}
		return grant{value: "Bearer " + cred.RegistryToken}, nil
	}
	if d.basic {
		value, err := h.c.basic(cred)
		return grant{value: value}, err
	}
	realm, err := h.realm(d, cred)
	if err != nil {
		return grant{}, err
	}
	need, err := scopesOf(list...)
	if err != nil {
		return grant{}, err
	}
	g := h.c.group(groupKey{host: h.e.Host, realm: d.realm, service: d.service, cred: cred})
	w := want{need: need, narrow: narrow, login: cred != (Credential{})}
	w.wider = func() scopes { return h.wider(ctx, g, need, cred) }
	w.fetch = func(ctx context.Context, s scopes) (*token, error) {
		t, err := h.fetchToken(ctx, realm, d.service, cred, s)
		return t, oci.Wrap("token service", realm.Host, err)
	}
	return g.get(ctx, w)
}

// basic is the header value for a user name and password, "" without them.
func (c *Client) basic(cred Credential) (string, error) {
	if cred.Username == "" && cred.Password == "" {
		return "", nil
	}
	if strings.Contains(cred.Username, ":") {
		return "", oci.Errorf(oci.ErrInvalid, "user name %s has a colon in it", oci.Quote(cred.Username))
	}
	v := base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password))
	c.secrets.credential(v)
	return "Basic " + v, nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// refused learns from an answer of 401 or 403 and reports whether the request
// should be sent again with another grant. It sets in g what the next one must
// heed.
func (h *host) refused(g *grant, e *Error) bool {
	if e.Status != http.StatusUnauthorized && (e.Status != http.StatusForbidden || !g.wide) {
		return false
	}
	h.mu.Lock()
	d := h.demand
	h.mu.Unlock()
	switch {
	case d != g.demand: // learned from this answer or another
		return true
	case g.token == nil:
		return false
	case g.wide && !rejected(e.challenges): // it may be good for others
		g.group.withdraw(g.token, g.need)
		g.narrow = true
		return true
	}
	g.group.drop(g.token)
	again := !g.fresh || g.wide
	g.narrow = g.narrow || g.wide
	return again
}

// realm checks that a token service may be asked, with the credential if there
// is one.
func (h *host) realm(d demand, cred Credential) (*url.URL, error) {
	u, err := url.Parse(d.realm)
	if err != nil {
		return nil, oci.Errorf(oci.ErrDenied, "%s names a token service that is not a URL", h.e.Host)
	}
	if err := checkURL(u); err != nil {
		return nil, oci.Wrap("token service of", h.e.Host, err)
	}
	u.Fragment, u.RawFragment = "", ""
	o := h.origin()
	if o.Scheme == "https" && u.Scheme != "https" {
		return nil, oci.Errorf(oci.ErrDenied, "%s names a token service on plain http, %s", h.e.Host, u.Host)
	}
	switch {
	case cred == (Credential{}):
	case u.Scheme == "http" && !h.e.PlainHTTP && !isLocal(u.Hostname()):
		return nil, oci.Errorf(oci.ErrDenied, "%s wants credentials sent in plain text to the token service %s", h.e.Host, u.Host)
	case !sameSite(u.Hostname(), o.Hostname()) && !paired(h.e.Host, u) && !h.c.trustsRealm(u):
		return nil, oci.Errorf(oci.ErrDenied, "%s wants credentials sent to the token service %s, which is of another site; --trust-realm %s allows that",
			h.e.Host, u.Host, u.Host)
	}
	return u, nil
}

// paired knows the registries whose token service has another name.
func paired(host string, realm *url.URL) bool {
	switch host {
	case "docker.io", "registry.hub.docker.com":
		return hostPort(realm) == "auth.docker.io:443"
	}
	return false
}

// trustsRealm reports whether the user trusts the host of a URL with
// credentials for token services.
func (c *Client) trustsRealm(u *url.URL) bool {
	return slices.ContainsFunc(c.o.TrustedRealms, func(s string) bool {
		s = strings.ToLower(s)
		return s == hostname(u.Hostname()) || s == strings.ToLower(u.Host) || s == hostPort(u)
	})
}

type lookupKey struct{ host, repository string }

// A lookup is one question for credentials, asked once.
type lookup struct {
	turn chan struct{} // holds a value while somebody asks
	done bool
	cred Credential
	err  error
}

// credential looks up what the user has for a repository. Only an end of the
// context is not remembered.
func (c *Client) credential(ctx context.Context, host, repository string) (Credential, error) {
	if c.o.Credentials == nil {
		return Credential{}, nil
	}
	c.mu.Lock()
	key := lookupKey{host, repository}
	l := c.lookups[key]
	if l == nil {
		l = &lookup{turn: make(chan struct{}, 1)}
		c.lookups[key] = l
	}
	c.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return Credential{}, context.Cause(ctx)
	}
	if l.done {
		return l.cred, l.err
	}
	cred, err := c.o.Credentials(ctx, host, repository)
	if err != nil && ctx.Err() != nil {
		return Credential{}, context.Cause(ctx)
	}
	for _, s := range []string{cred.Password, cred.IdentityToken, cred.RegistryToken} {
		c.secrets.credential(s)
	}
	l.done, l.cred, l.err = true, cred, err
	return cred, err
}

// Expect announces scopes that the run will need at a registry, so that one
// token serves many requests.
func (c *Client) Expect(e Endpoint, list ...Scope) {
	h, err := c.host(e)
	if err != nil {
		return // Do will say so
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range list {
		if _, err := scopesOf(s); err == nil && !h.awaited[s] {
			h.awaited[s] = true
			h.expected = append(h.expected, s)
		}
	}
}

const (
	maxWider = 16  // expected scopes that go along in a token request
	maxLook  = 256 // of them looked at for that
)

// wider adds to scopes what is expected, not yet covered and open to the same
// credential.
func (h *host) wider(ctx context.Context, g *group, need scopes, cred Credential) scopes {
	out := need
	added := 0
	h.mu.Lock()
	look := min(maxLook, len(h.expected))
	h.mu.Unlock()
	for range look {
		if added == maxWider {
			break
		}
		s := h.nextExpected()
		more, err := scopesOf(s)
		if err != nil || out.covers(more) || g.covers(more) {
			continue
		}
		if other, err := h.c.credential(ctx, h.e.Host, s.Repository); err != nil || other != cred {
			continue
		}
		out = out.plus(more)
		added++
	}
	return out
}

// nextExpected gives the expected scopes in turn, for ever. There must be one.
func (h *host) nextExpected() Scope {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.expected[h.next%len(h.expected)]
	h.next++
	return s
}

// Login checks a credential: oci.ErrUnauthorized if the registry or its token
// service refuses it. A registry that does not ask who is there has nothing to
// refuse.
func (c *Client) Login(ctx context.Context, e Endpoint, cred Credential) error {
	if cred == (Credential{}) {
		return oci.Errorf(oci.ErrInvalid, "there is no credential to check")
	}
	h, err := c.host(e)
	if err != nil {
		return err
	}
	for _, s := range []string{cred.Password, cred.IdentityToken, cred.RegistryToken} {
		c.secrets.credential(s)
	}
	k := &call{h: h, r: &Request{Endpoint: e, Method: http.MethodGet, Path: "/v2/"}}
	try := func(g grant) error {
		return c.retry(ctx, false, func() error {
			resp, _, err := k.exchange(ctx, g)
			if err == nil && k.accepts(resp.StatusCode) {
				return resp.Body.Close()
			}
			if err == nil {
				err = c.readError(resp)
			}
			return k.settle(ctx, err)
		})
	}
	err = try(grant{})
	asked, ok := err.(*Error)
	if !ok || asked.Status != http.StatusUnauthorized {
		return err
	}
	g, err := h.proof(ctx, demanded(asked.challenges), cred)
	if err != nil {
		return err
	}
	if err = try(g); errors.Is(err, oci.ErrDenied) && isAnswer(err) {
		return oci.Errorf(oci.ErrUnauthorized, "%s refuses the credentials: %w", h.e.Host, err)
	}
	return err
}

// proof is a grant for no repository, from a token service only if that takes
// exactly this credential.
func (h *host) proof(ctx context.Context, d demand, cred Credential) (grant, error) {
	if d == (demand{}) {
		return grant{}, oci.Errorf(oci.ErrUnsupported, "%s does not say how it wants credentials", h.e.Host)
	}
	if d.basic || cred.RegistryToken != "" {
		g, err := h.grant(ctx, d, cred, nil, true)
		if err == nil && g.value == "" {
			err = oci.Errorf(oci.ErrUnauthorized, "%s wants a user name and a password", h.e.Host)
		}
		return g, err
	}
	realm, err := h.realm(d, cred)
	if err != nil {
		return grant{}, err
	}
	t, err := h.fetchToken(ctx, realm, d.service, cred, scopes{})
	if e, ok := errors.AsType[*Error](err); ok && (e.Status == http.StatusBadRequest || e.Status == http.StatusForbidden) {
		err = oci.Errorf(oci.ErrUnauthorized, "credentials refused: %w", err)
	}
	if err != nil {
		return grant{}, oci.Wrap("token service", realm.Host, err)
	}
	return grant{value: "Bearer " + t.value}, nil
}

func isAnswer(err error) bool { _, ok := errors.AsType[*Error](err); return ok }
