// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// The numbers are those of the catalogue of bad inputs.

// asks is a registry that wants a token of a realm.
func asks(realm string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			ok(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="svc",scope="repository:other/thing:push,delete"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func gives(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"token":%q}`, token) }
}

// noSecrets checks that nothing of a credential reached a host or a text.
func (w *world) noSecrets(host string, texts ...any) {
	w.t.Helper()
	all := w.out.String() + fmt.Sprint(texts...)
	for _, s := range w.to(host) {
		all += fmt.Sprint(s.URI, s.Header, s.Body)
	}
	for _, canary := range []string{"canary", strings.TrimPrefix(aliceBasic, "Basic ")} {
		if i := strings.Index(all, canary); i >= 0 {
			w.t.Errorf("secret got out at %s: …%s", host, all[max(0, i-100):min(len(all), i+50)])
		}
	}
}

func TestBad_027_RealmOnOtherHost(t *testing.T) {
	for name, tc := range map[string]struct {
		host, realm string
		trusted     []string
		nobody      bool
		want        error
	}{
		"other site":           {host: "reg.example", realm: "https://evil.test/token", want: oci.ErrDenied},
		"below a suffix":       {host: "reg.co.uk", realm: "https://evil.co.uk/token", want: oci.ErrDenied},
		"below a hoster":       {host: "me.github.io", realm: "https://you.github.io/token", want: oci.ErrDenied},
		"look-alike":           {host: "reg.example", realm: "https://reg.example.evil.test/token", want: oci.ErrDenied},
		"docker for others":    {host: "reg.example", realm: "https://auth.docker.io/token", want: oci.ErrDenied},
		"trust for another":    {host: "reg.example", realm: "https://evil.test/token", trusted: []string{"good.test"}, want: oci.ErrDenied},
		"loopback is no site":  {host: "127.0.0.1:443", realm: "https://localhost/token", want: oci.ErrDenied},
		"other site, nobody":   {host: "reg.example", realm: "https://evil.test/token", nobody: true},
		"trusted":              {host: "reg.example", realm: "https://good.test/token", trusted: []string{"good.test"}},
		"same site":            {host: "reg.example.com", realm: "https://auth.example.com/token"},
		"same host, port":      {host: "reg.example", realm: "https://reg.example:8443/token"},
		"docker":               {host: "docker.io", realm: "https://auth.docker.io/token"},
		"docker, another name": {host: "index.docker.io", realm: "https://auth.docker.io/token"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				_, rest, _ := strings.Cut(tc.realm, "//")
				realmHost, _, _ := strings.Cut(rest, "/")
				addr := realmHost
				if !strings.Contains(addr, ":") {
					addr += ":443"
				}
				reg := tc.host
				if strings.HasSuffix(reg, "docker.io") {
					reg = "registry-1.docker.io"
				}
				if !strings.Contains(reg, ":") {
					reg += ":443"
				}
				w.serve(reg, asks(tc.realm))
				w.serve(addr, gives("t0ken"))
				w.o.TrustedRealms = tc.trusted
				if !tc.nobody {
					w.o.Credentials = user(alice)
				}
				_, err := w.get(tc.host, "/v2/a/b/x")
				if !errors.Is(err, tc.want) {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				asked := w.to(addr)
				if tc.want != nil {
					if len(asked) != 0 || !strings.Contains(err.Error(), realmHost) || !strings.Contains(err.Error(), "--trust-realm "+realmHost) {
						t.Errorf("asked %v, error %v", asked, err)
					}
				} else if len(asked) != 1 || (asked[0].Auth == aliceBasic) == tc.nobody {
					t.Errorf("asked %v", asked)
				}
			})
		})
	}
}

func TestBad_028_RealmForms(t *testing.T) {
	for _, realm := range []string{
		"http://reg.example/token", "https://user:pw@reg.example/token", "file:///etc/passwd", "ftp://reg.example/", "//reg.example/token",
		"https://169.254.169.254/token", "https://[fe80::1]/token", "https://[::ffff:169.254.169.254]/", "https://10.0.0.1/token",
		"https://127.0.0.1/token", "https://localhost/token", "https://2130706433/token", "https://0x7f.1/token", "https:///token", "::", "https:reg.example",
	} {
		for _, cred := range []transport.Credential{{}, alice} {
			t.Run(realm+" "+cred.Username, func(t *testing.T) {
				play(t, func(w *world) {
					w.serve("reg.example:443", asks(realm))
					w.o.Credentials = user(cred)
					_, err := w.get("reg.example", "/v2/a/b/x")
					if !errors.Is(err, oci.ErrDenied) {
						t.Errorf("got %v", err)
					}
					if len(w.dials) != 1 {
						t.Errorf("dialled %v", w.dials)
					}
				})
			})
		}
	}
}

func TestBad_029_TokenReplies(t *testing.T) {
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, to, http.StatusTemporaryRedirect)
				return
			}
			gives("t0ken")(w, r)
		}
	}
	reply := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	for name, tc := range map[string]struct {
		service http.HandlerFunc
		want    error
	}{
		"redirect to other host": {redirect("https://evil.test/token2"), oci.ErrDenied},
		"redirect to other port": {redirect("https://auth.reg.example:8443/token2"), oci.ErrDenied},
		"redirect to http":       {redirect("http://auth.reg.example/token2"), oci.ErrDenied},
		"redirect for ever":      {redirect("/token"), oci.ErrDenied},
		"redirect at home":       {redirect("/token2"), nil},
		"too big":                {reply(`{"token":"` + strings.Repeat("x", 64<<10) + `"}`), oci.ErrInvalid},
		"no token":               {reply(`{}`), oci.ErrInvalid},
		"no JSON":                {reply(`<html>`), oci.ErrInvalid},
		"newline":                {reply(`{"token":"canary\r\nX-Evil: 1"}`), oci.ErrInvalid},
		"space":                  {reply(`{"token":"canary b"}`), oci.ErrInvalid},
		"not ASCII":              {reply(`{"token":"canäry"}`), oci.ErrInvalid},
		"odd life":               {reply(`{"token":"t","expires_in":"soon"}`), nil},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b"))
		}, oci.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", asks(realm))
				w.serve("auth.reg.example:443", tc.service)
				w.o.Credentials = user(alice)
				_, err := w.get("reg.example", "/v2/a/b/x")
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				w.noSecrets("evil.test", err)
				if n := len(w.dials); tc.want != nil && n != 2 {
					t.Errorf("dialled %v", w.dials)
				}
			})
		})
	}
}

func TestBad_029_ExpiresIn(t *testing.T) {
	for in, want := range map[string]time.Duration{
		`0`: time.Minute, `-5`: time.Minute, `1e400`: time.Minute, `"300"`: 5 * time.Minute, `300`: 5 * time.Minute,
		`300.5`: 300500 * time.Millisecond, `null`: time.Minute, `1e300`: 24 * time.Hour, `{}`: time.Minute, `99999999999999999999`: 24 * time.Hour,
	} {
		_, life, err := transport.ParseToken([]byte(`{"token":"t","issued_at":"1999-01-01T00:00:00Z","expires_in":` + in + `}`))
		if err != nil || life != want {
			t.Errorf("%s: %v, %v; want %v", in, life, err, want)
		}
	}
}

func TestBad_030_ScopeInflation(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", asks(realm)) // wants other/thing:push,delete
		w.serve("auth.reg.example:443", gives("t0ken"))
		w.o.Credentials = user(alice)
		if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
			t.Fatal(err)
		}
		if got := w.to("auth.")[0].URI; got != "/token?scope=repository%3Aa%2Fb%3Apull&service=svc" {
			t.Errorf("asked %s", got)
		}
	})
	for _, s := range []transport.Scope{{Repository: "a b", Actions: "pull"}, {Repository: "a:pull repository:b", Actions: "pull"}, {Actions: "pull"}, {Repository: "a"}} {
		c := transport.New(transport.Options{})
		r := pull("reg.example", "/v2/", "x")
		r.Scopes = []transport.Scope{s}
		if _, err := c.Do(t.Context(), r); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestBad_036_CredentialsOfTheHostOnly(t *testing.T) {
	play(t, func(w *world) {
		for _, h := range []string{"reg.example", "mirror.test"} {
			w.serve(h+":443", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Add("WWW-Authenticate", `Basic realm="x", Bearer realm="https://`+h+`/token"`)
				if r.URL.Path == "/token" {
					gives("t")(rw, r)
				} else if r.Header.Get("Authorization") == "" {
					rw.WriteHeader(http.StatusUnauthorized)
				}
			})
		}
		w.o.Credentials = func(_ context.Context, host, _ string) (transport.Credential, error) {
			return transport.Credential{Username: host, Password: "canary-" + host}, nil
		}
		for _, h := range []string{"reg.example", "mirror.test"} {
			if _, err := w.get(h, "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range w.seen {
			basic, isBasic := strings.CutPrefix(s.Auth, "Basic ")
			name, _, _ := strings.Cut(s.Host, ":")
			if isBasic != strings.HasPrefix(s.URI, "/token") || isBasic && unbase(basic) != name+":canary-"+name {
				t.Errorf("%v got %s", s, s.Auth)
			}
		}
	})
}

func TestBad_102_TokenClock(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Date", "Mon, 01 Jan 1990 00:00:00 GMT")
			s.ServeHTTP(rw, r)
		})
		for range 2 {
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.to("auth.")); n != 1 {
			t.Errorf("%d token requests", n)
		}
	})
}
