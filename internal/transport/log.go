// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const levelRetry = slog.LevelInfo

// attrs describe a failed attempt.
func attrs(err error, try int, wait time.Duration) []slog.Attr {
	return []slog.Attr{slog.String("cause", err.Error()), slog.Int("attempt", try), slog.Duration("wait", wait.Round(time.Millisecond))}
}

// secrets remembers what must not appear in any text: a server can put what it
// was sent into its answers.
type secrets struct {
	mu     sync.Mutex
	always []string // credentials
	tokens []string // the latest
}

const maxSecretTokens = 128

// add notes a secret and the form it has in a URL. Very short ones would make
// texts unreadable and protect nothing.
func (s *secrets) add(list *[]string, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range []string{secret, url.QueryEscape(secret)} {
		if len(v) >= 4 && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
	if n := len(s.tokens) - maxSecretTokens; n > 0 {
		s.tokens = slices.Delete(s.tokens, 0, n)
	}
}

func (s *secrets) credential(v string) { s.add(&s.always, v) }
func (s *secrets) token(v string)      { s.add(&s.tokens, v) }

// scrub removes the secrets from a text.
func (s *secrets) scrub(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range [][]string{s.always, s.tokens} {
		for _, v := range list {
			text = strings.ReplaceAll(text, v, "***")
		}
	}
	return text
}

// showURL is a URL as it may be seen: without query and user information, and
// elsewhere than at the registry, where paths can be secret, without path.
func (c *Client) showURL(r *http.Request) string {
	h, _ := r.Context().Value(hostKey{}).(*host)
	return c.show(r.URL, h != nil && hostPort(r.URL) == hostPort(&url.URL{Scheme: r.URL.Scheme, Host: h.addr}))
}

func (c *Client) show(u *url.URL, own bool) string {
	s := u.Scheme + "://" + u.Host
	switch {
	case !own:
		return clean(s, maxErrorText) + "/…"
	case u.RawQuery != "":
		return clean(c.secrets.scrub(s+u.EscapedPath()), maxErrorText) + "?…"
	}
	return clean(c.secrets.scrub(s+u.EscapedPath()), maxErrorText)
}

func (c *Client) logAnswer(ctx context.Context, l *link, m *message, took time.Duration, resp *http.Response) {
	c.warn(ctx, l.addr, resp.Header)
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("method", m.method), slog.String("url", c.show(m.url, l.own)),
		slog.Int("status", resp.StatusCode), slog.Duration("took", took), slog.Int64("sent", m.size), slog.Int64("received", max(resp.ContentLength, 0)))
}

func (c *Client) logFailure(ctx context.Context, l *link, m *message, took time.Duration, err error) {
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("method", m.method), slog.String("url", c.show(m.url, l.own)),
		slog.String("error", c.secrets.scrub(err.Error())), slog.Duration("took", took))
}

const (
	maxWarning  = 256 // characters of one
	maxWarnings = 100 // in a run
)

// warn passes on each warning of a registry once (distribution-spec,
// "Warnings").
func (c *Client) warn(ctx context.Context, addr string, h http.Header) {
	for _, line := range h.Values("Warning") {
		text, ok := strings.CutPrefix(line, "299 - ")
		if !ok {
			continue
		}
		text = clean(c.secrets.scrub(strings.Trim(text, `"`)), maxWarning)
		c.mu.Lock()
		key := addr + " " + text
		news := !c.warned[key] && len(c.warned) < maxWarnings
		if news {
			c.warned[key] = true
		}
		c.mu.Unlock()
		if news {
			c.log.LogAttrs(ctx, slog.LevelWarn, "registry warns", slog.String("host", addr), slog.String("text", text))
		}
	}
}
