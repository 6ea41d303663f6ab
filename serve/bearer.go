// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const tokenPath = "/token"

// tokens gives out and checks tokens.
type tokens struct {
	Bearer
	now func() time.Time
	key [32]byte
}

func newTokens(b Bearer, now func() time.Time) *tokens {
	t := &tokens{Bearer: b, now: now}
	t.Service = cmp.Or(t.Service, "registry")
	t.Life = cmp.Or(t.Life, 5*time.Minute)
	_, _ = rand.Read(t.key[:])
	return t
}

// claims are what a token says. A refresh token gives no access.
type claims struct {
	Access  []string  `json:"access"` // type:name:action
	Refresh bool      `json:"refresh,omitempty"`
	Until   time.Time `json:"until"`
}

func (t *tokens) sign(c claims) string {
	raw, _ := json.Marshal(c)
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write(raw)
	return base64.RawURLEncoding.EncodeToString(raw) + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (t *tokens) verify(token string) (c claims, ok bool) {
	body, sum, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return c, false
	}
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write(raw)
	got, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(got, mac.Sum(nil)) || json.Unmarshal(raw, &c) != nil {
		return c, false
	}
	return c, t.now().Before(c.Until)
}

// challengeError asks for a token.
type challengeError struct{ challenge string }

func (e *challengeError) Error() string     { return "a token is needed" }
func (e *challengeError) Challenge() string { return e.challenge }

// check is the authorisation of a request by its token.
func (t *tokens) check(r *http.Request, a Access) error {
	scope, need := "", ""
	switch {
	case a.Action == List:
		scope, need = "registry:catalog:*", "registry:catalog:*"
	case a.Repository != "":
		need = "repository:" + a.Repository + ":" + string(a.Action)
		if scope = need; a.Action == Push {
			scope = "repository:" + a.Repository + ":pull,push"
		}
	}
	realm := t.Realm
	if realm == "" {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		realm = scheme + "://" + r.Host + tokenPath
	}
	challenge := fmt.Sprintf("Bearer realm=%q,service=%q", realm, t.Service)
	if scope != "" {
		challenge += fmt.Sprintf(",scope=%q", scope)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return &challengeError{challenge}
	}
	c, ok := t.verify(token)
	switch {
	case !ok || c.Refresh:
		return &challengeError{challenge + `,error="invalid_token"`}
	case need != "" && !slices.Contains(c.Access, need):
		return &challengeError{challenge + `,error="insufficient_scope"`}
	}
	return nil
}

// ServeHTTP is the token server.
func (t *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "malformed request", http.StatusBadRequest)
		return
	}
	known, given := t.who(r)
	if given && !known || !given && t.User != "" && !t.AnonymousPull {
		w.Header().Set("Www-Authenticate", `Basic realm="token"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong user or password"}]}`, http.StatusUnauthorized)
		return
	}
	c := claims{Until: t.now().Add(t.Life)}
	for _, scopes := range r.Form["scope"] {
		for scope := range strings.FieldsSeq(scopes) {
			c.Access = append(c.Access, grant(scope, known || t.User == "")...)
		}
	}
	out := map[string]any{"token": t.sign(c), "access_token": t.sign(c), "expires_in": int(t.Life.Seconds()),
		"issued_at": t.now().UTC().Format(time.RFC3339)}
	if r.Form.Get("access_type") == "offline" || r.Form.Get("offline_token") == "true" {
		out["refresh_token"] = t.sign(claims{Refresh: true, Until: t.now().Add(24 * time.Hour)})
	}
	writeJSON(w, "application/json", out)
}

// grant splits repository:name:pull,push into one entry for each action.
func grant(scope string, all bool) (out []string) {
	i := strings.LastIndexByte(scope, ':')
	if i < 0 {
		return nil
	}
	for action := range strings.SplitSeq(scope[i+1:], ",") {
		switch {
		case !all && action != string(Pull):
		case action == "*" && strings.HasPrefix(scope, "repository:"):
			out = append(out, scope[:i+1]+string(Pull), scope[:i+1]+string(Push), scope[:i+1]+string(Delete))
		default:
			out = append(out, scope[:i+1]+action)
		}
	}
	return out
}

// who reads the credentials of a token request.
func (t *tokens) who(r *http.Request) (known, given bool) {
	user, password, given := r.BasicAuth()
	switch r.Form.Get("grant_type") {
	case "password":
		user, password, given = r.Form.Get("username"), r.Form.Get("password"), true
	case "refresh_token":
		c, ok := t.verify(r.Form.Get("refresh_token"))
		return ok && c.Refresh, true
	}
	if !given || t.User == "" {
		return given, given
	}
	return same(user, t.User) && same(password, t.Password), true
}

// same compares in a time that does not tell how much is equal.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
