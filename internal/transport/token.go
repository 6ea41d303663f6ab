// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dray-tools/dray/oci"
)

const (
	maxTokenReply = 64 << 10
	minTokenLife  = time.Minute // also when the service does not say
	maxTokenLife  = 24 * time.Hour
	maxTokens     = 256 // kept of one group
	maxGroups     = 256
	maxWithdrawn  = 3 // after which expected scopes are left out
)

// A token is what a token service gave.
type token struct {
	value  string
	scopes scopes // that it was asked for with; guarded by the group
	wide   bool   // asked for with more than one request needed
	renew  time.Time
}

// groupKey tells tokens apart. The host is part of it: a token that was made
// for one registry is never shown to another.
type groupKey struct {
	host, realm, service string
	cred                 Credential
}

// A group is the tokens of one service for one credential.
type group struct {
	mu      sync.Mutex
	tokens  []*token
	flights []*flight
	narrow  bool  // the service has refused expected scopes
	good    bool  // it has given a token
	failed  int   // how often a token did not give what it was asked for with
	refused error // it does not know the credential; asking again could lock the account
}

// A flight is a request for a token that others can wait for.
type flight struct {
	scopes  scopes
	wide    bool
	waiters int
	cancel  context.CancelCauseFunc
	done    chan struct{}
	token   *token
	err     error
}

// A want is what get is asked for.
type want struct {
	need   scopes
	narrow bool          // no wider token will do
	login  bool          // there is a credential
	wider  func() scopes // need and what is expected
	fetch  func(ctx context.Context, s scopes) (*token, error)
}

func (c *Client) group(key groupKey) *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[key]
	if g == nil {
		for old := range c.groups { // a registry can name ever new token services
			if len(c.groups) < maxGroups {
				break
			}
			delete(c.groups, old)
		}
		g = &group{}
		c.groups[key] = g
	}
	return g
}

// get finds a token, or waits for one that is being fetched, or fetches it.
func (g *group) get(ctx context.Context, w want) (grant, error) {
	var ask scopes
	for {
		g.mu.Lock()
		if g.refused != nil {
			g.mu.Unlock()
			return grant{}, g.refused
		}
		if t := g.find(w); t != nil {
			defer g.mu.Unlock()
			return g.grant(t, w, false), nil
		}
		f := g.join(w)
		if f == nil && ask == nil {
			narrow := g.narrow || w.narrow
			g.mu.Unlock()
			if ask = w.need; !narrow {
				ask = w.wider()
			}
			continue
		}
		if f == nil {
			f = g.start(ctx, w, ask)
		}
		f.waiters++
		g.mu.Unlock()
		if err := g.await(ctx, f); err != nil {
			return grant{}, err
		}
		g.mu.Lock()
		if f.token.scopes.covers(w.need) {
			defer g.mu.Unlock()
			return g.grant(f.token, w, true), nil
		}
		g.mu.Unlock()
		ask = nil
	}
}

func (g *group) grant(t *token, w want, fresh bool) grant {
	return grant{value: "Bearer " + t.value, group: g, token: t, need: w.need, fresh: fresh, wide: t.wide, narrow: w.narrow}
}

// find looks for a token that serves, and forgets what has ended.
func (g *group) find(w want) *token {
	now := time.Now()
	g.tokens = slices.DeleteFunc(g.tokens, func(t *token) bool { return !now.Before(t.renew) })
	for _, t := range g.tokens {
		if t.scopes.covers(w.need) && !(w.narrow && t.wide) {
			return t
		}
	}
	return nil
}

// join looks for a flight that will bring what is wanted.
func (g *group) join(w want) *flight {
	for _, f := range g.flights {
		if f.scopes.covers(w.need) && !(w.narrow && f.wide) {
			return f
		}
	}
	return nil
}

// start fetches a token on behalf of all that wait for it: it goes on when the
// first of them gives up, and ends when the last one does.
func (g *group) start(ctx context.Context, w want, ask scopes) *flight {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	f := &flight{scopes: ask, wide: !w.need.covers(ask), cancel: cancel, done: make(chan struct{})}
	g.flights = append(g.flights, f)
	go func() {
		defer cancel(nil)
		asked, wide := ask, f.wide
		t, err := w.fetch(ctx, asked)
		tooMuch := wide && refusal(err)
		if tooMuch { // some services refuse all if they refuse one
			asked, wide = w.need, false
			t, err = w.fetch(ctx, asked)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.narrow = g.narrow || tooMuch
		if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusUnauthorized && w.login && !g.good {
			g.refused = err
		}
		if err == nil {
			g.good = true
			t.scopes, t.wide = asked, wide
			g.tokens = append(g.tokens, t)
			g.tokens = g.tokens[max(0, len(g.tokens)-maxTokens):]
		}
		f.token, f.err = t, err
		g.leave(f)
		close(f.done)
	}()
	return f
}

// refusal reports whether a token service refused what it was asked for.
func refusal(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

func (g *group) leave(f *flight) {
	g.flights = slices.DeleteFunc(g.flights, func(o *flight) bool { return o == f })
}

func (g *group) await(ctx context.Context, f *flight) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		g.leave(f)
		f.cancel(context.Cause(ctx))
	}
	return context.Cause(ctx)
}

// covers reports whether a token for the scopes is there.
func (g *group) covers(s scopes) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.find(want{need: s}) != nil
}

// drop forgets a token that is no good.
func (g *group) drop(t *token) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = slices.DeleteFunc(g.tokens, func(o *token) bool { return o == t })
}

// withdraw notes that a token does not give the rights it was asked for with.
// Where that is the rule, as with services that heed only one scope, there is
// no use in asking for more.
func (g *group) withdraw(t *token, s scopes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.scopes = t.scopes.minus(s)
	if g.failed++; g.failed == maxWithdrawn {
		g.narrow = true
		g.tokens = slices.DeleteFunc(g.tokens, func(t *token) bool { return t.wide })
	}
}

// fetchToken asks a token service, with GET as long as there is no refresh
// token, because not all of them know POST.
func (h *host) fetchToken(ctx context.Context, realm *url.URL, service string, cred Credential, s scopes) (*token, error) {
	form := url.Values{"client_id": {"dray"}, "service": {service}, "scope": {strings.Join(s.list(), " ")}}
	if len(s) == 0 {
		form.Del("scope")
	}
	if cred.IdentityToken != "" {
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", cred.IdentityToken)
		return h.askToken(ctx, message{method: http.MethodPost, url: realm}, form)
	}
	auth, err := h.c.basic(cred)
	if err != nil {
		return nil, err
	}
	u := *realm
	q := u.Query()
	if service != "" {
		q.Set("service", service)
	}
	for _, scope := range s.list() {
		q.Add("scope", scope)
	}
	u.RawQuery = q.Encode()
	t, err := h.askToken(ctx, message{method: http.MethodGet, url: &u, auth: auth}, nil)
	if e, ok := err.(*Error); ok && auth != "" && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed) {
		form.Set("grant_type", "password")
		form.Set("username", cred.Username)
		form.Set("password", cred.Password)
		return h.askToken(ctx, message{method: http.MethodPost, url: realm}, form)
	}
	return t, err
}

// askToken sends a request for a token, with retries.
func (h *host) askToken(ctx context.Context, m message, form url.Values) (*token, error) {
	m.header = http.Header{"Accept": {"application/json"}}
	if form != nil {
		body := form.Encode()
		m.header.Set("Content-Type", "application/x-www-form-urlencoded")
		m.size = int64(len(body))
		m.body = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	}
	var t *token
	err := h.c.retry(ctx, false, func() error {
		asked := time.Now()
		reply, err := h.askOnce(ctx, m)
		if err != nil {
			return err
		}
		value, life, err := parseToken(reply)
		if err != nil {
			return err
		}
		h.c.secrets.token(value)
		t = &token{value: value, renew: asked.Add(life * 4 / 5)}
		return nil
	})
	return t, err
}

// askOnce follows redirects of the token service within its own origin only.
func (h *host) askOnce(ctx context.Context, m message) ([]byte, error) {
	start := m.url
	for hop := 0; ; hop++ {
		resp, err := h.send(ctx, &m)
		if err != nil {
			return nil, err
		}
		if redirects(m.method, resp.StatusCode) {
			if m.url, err = h.follow(m.url, resp, hop); err != nil {
				return nil, err
			}
			if !sameOrigin(m.url, start) {
				return nil, oci.Errorf(oci.ErrDenied, "redirect to another host, %s", m.url.Host)
			}
			continue
		}
		if resp.StatusCode != http.StatusOK {
			return nil, h.c.readError(resp)
		}
		if err := checkEncoding(resp); err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		reply, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenReply+1))
		if err != nil {
			return nil, err
		}
		if len(reply) > maxTokenReply {
			return nil, oci.Errorf(oci.ErrInvalid, "reply has more than %d bytes", maxTokenReply)
		}
		return reply, nil
	}
}

// parseToken reads the reply of a token service. The time of issue is not
// looked at: clocks differ, so the life of a token begins when it was asked
// for.
func parseToken(reply []byte) (value string, life time.Duration, err error) {
	var doc struct {
		Token       string          `json:"token"`
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if json.Unmarshal(reply, &doc) != nil { // its text could quote the token
		return "", 0, oci.Errorf(oci.ErrInvalid, "reply is not the JSON of a token")
	}
	if value = doc.Token; value == "" {
		value = doc.AccessToken
	}
	switch {
	case value == "":
		return "", 0, oci.Errorf(oci.ErrInvalid, "reply has no token in it")
	case !printable(value):
		return "", 0, oci.Errorf(oci.ErrInvalid, "token has characters that cannot be sent")
	}
	life = minTokenLife
	if n, err := strconv.ParseFloat(strings.Trim(string(doc.ExpiresIn), `"`), 64); err == nil && n > minTokenLife.Seconds() {
		life = maxTokenLife
		if n < maxTokenLife.Seconds() {
			life = time.Duration(n * float64(time.Second))
		}
	}
	return value, life, nil
}
