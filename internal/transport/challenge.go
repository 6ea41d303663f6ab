// SPDX-License-Identifier: Apache-2.0

package transport

import "strings"

// A challenge is one of WWW-Authenticate (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string            // lower case
	params map[string]string // keys in lower case; of repeated ones the first counts
}

const (
	maxChallenges = 16
	maxParams     = 64
)

// parseChallenges reads all header lines, each of which can hold several
// challenges. What is malformed is skipped, not guessed at.
func parseChallenges(lines []string) []challenge {
	var out []challenge
	for _, line := range lines {
		p := scanner{line}
		for len(out) <= maxChallenges {
			p.skip(" \t,")
			if p.s == "" {
				break
			}
			name := strings.ToLower(p.token())
			if name == "" { // garbage up to the next comma
				p.until(",")
				continue
			}
			p.skip(" \t")
			if !strings.HasPrefix(p.s, "=") {
				out = append(out, challenge{scheme: name, params: map[string]string{}})
				continue
			}
			p.s = p.s[1:]
			p.skip(" \t")
			value := p.value()
			if len(out) == 0 {
				continue
			}
			params := out[len(out)-1].params
			if _, ok := params[name]; !ok && len(params) < maxParams {
				params[name] = value
			}
		}
	}
	return out[:min(len(out), maxChallenges)]
}

// A scanner reads what is left of a header.
type scanner struct{ s string }

func (p *scanner) skip(set string) { p.s = strings.TrimLeft(p.s, set) }

func (p *scanner) until(set string) string {
	i := strings.IndexAny(p.s, set)
	if i < 0 {
		i = len(p.s)
	}
	out := p.s[:i]
	p.s = p.s[i:]
	return out
}

func (p *scanner) token() string {
	i := 0
	for i < len(p.s) && isTokenByte(p.s[i]) {
		i++
	}
	out := p.s[:i]
	p.s = p.s[i:]
	return out
}

func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// value reads a quoted string or anything up to the next comma or space. A
// quoted string that does not end is no value.
func (p *scanner) value() string {
	if !strings.HasPrefix(p.s, `"`) {
		return p.until(", \t")
	}
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			p.s = p.s[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.s):
			i++
			b.WriteByte(p.s[i])
		default:
			b.WriteByte(c)
		}
	}
	p.s = ""
	return ""
}

// A demand is how a registry wants to be told who asks. The zero value is a
// registry that has not asked.
type demand struct {
	basic          bool
	realm, service string // of a token service
}

// demanded picks the challenge to answer: a token if there is a choice, because
// then the password goes to the token service alone.
func demanded(list []challenge) demand {
	var d demand
	for _, c := range list {
		switch {
		case c.scheme == "bearer" && c.params["realm"] != "":
			return demand{realm: c.params["realm"], service: c.params["service"]}
		case c.scheme == "basic":
			d.basic = true
		}
	}
	return d
}

// rejected reports whether the registry says that a token is no good at all,
// rather than that it does not allow enough (RFC 6750, section 3.1).
func rejected(list []challenge) bool {
	for _, c := range list {
		if c.params["error"] == "invalid_token" {
			return true
		}
	}
	return false
}
