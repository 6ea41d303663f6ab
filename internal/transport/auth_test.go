// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

const realm = "https://auth.reg.example/token"

func user(cred transport.Credential) func(context.Context, string, string) (transport.Credential, error) {
	return func(context.Context, string, string) (transport.Credential, error) { return cred, nil }
}

var alice = transport.Credential{Username: "alice", Password: "canary-password"}

const aliceBasic = "Basic YWxpY2U6Y2FuYXJ5LXBhc3N3b3Jk"

func (w *world) want(requests ...string) {
	w.t.Helper()
	if got := strings.Join(w.requests(), "\n"); got != strings.Join(requests, "\n") {
		w.t.Errorf("requests:\n%s\nwant:\n%s", got, strings.Join(requests, "\n"))
	}
}

func TestTokenIsSharedAndProactive(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", s.ServeHTTP)
		w.o.Credentials = user(alice)
		for range 3 {
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := w.do(pull("reg.example", "/v2/c/d/x", "c/d")); err != nil {
			t.Fatal(err)
		}
		w.want("GET reg.example:443/v2/a/b/x",
			"GET auth.reg.example:443/token?scope=repository%3Aa%2Fb%3Apull&service=svc",
			"GET reg.example:443/v2/a/b/x", "GET reg.example:443/v2/a/b/x", "GET reg.example:443/v2/a/b/x",
			"GET auth.reg.example:443/token?scope=repository%3Ac%2Fd%3Apull&service=svc",
			"GET reg.example:443/v2/c/d/x")
		if got := w.to("auth.")[0].Auth; got != aliceBasic {
			t.Errorf("token service got %q", got)
		}
	})
}

func TestTokenSingleFlight(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			s.ServeHTTP(rw, r)
		})
		w.client()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(w.to("auth.")); n != 1 {
			t.Errorf("%d token requests", n)
		}
		if n := len(w.to("reg.")); n != 51 { // the first goes alone
			t.Errorf("%d requests, want one 401 in all", n)
		}
	})
}

func TestTokenFetchOutlivesFirstWaiter(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Second)
			s.ServeHTTP(rw, r)
		})
		c := w.client()
		gone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(w.ctx, 5*time.Second, gone)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Do(ctx, pull("reg.example", "/v2/a/b/x", "a/b")); !errors.Is(err, gone) {
				t.Errorf("first: %v", err)
			}
		})
		wg.Go(func() {
			time.Sleep(time.Second)
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Errorf("second: %v", err)
			}
		})
		wg.Wait()
		if n := len(w.to("auth.")); n != 1 {
			t.Errorf("%d token requests", n)
		}
	})
}

func TestTokenRenewal(t *testing.T) {
	for life, renew := range map[int]time.Duration{0: 48 * time.Second, 5: 48 * time.Second, 300: 240 * time.Second, -1: 48 * time.Second} {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			play(t, func(w *world) {
				s := &tokenServer{realm: realm, life: life}
				w.serve("reg.example:443", s.guard(ok))
				w.serve("auth.reg.example:443", s.ServeHTTP)
				for _, at := range []time.Duration{0, renew - time.Second, 2 * time.Second} {
					time.Sleep(at)
					if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
						t.Fatal(err)
					}
				}
				if n := len(w.to("auth.")); n != 2 {
					t.Errorf("%d token requests, want 2", n)
				}
				if n := len(w.to("reg.")); n != 4 {
					t.Errorf("%d requests, want no 401 but the first", n)
				}
			})
		})
	}
}

func TestTokenRevoked(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", s.ServeHTTP)
		for range 2 {
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
			s.revoke()
		}
		if n := len(w.to("auth.")); n != 2 {
			t.Errorf("%d token requests", n)
		}
	})
}

func TestExpectWidensOnce(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", s.ServeHTTP)
		e := transport.Endpoint{Host: "reg.example"}
		const n = 40
		for i := range n {
			w.client().Expect(e, transport.Scope{Repository: fmt.Sprintf("a/%d", i), Actions: "pull,push"})
		}
		for i := range n {
			if _, _, err := w.do(pull("reg.example", fmt.Sprintf("/v2/a/%d/x", i), fmt.Sprintf("a/%d", i))); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(w.to("auth.")); got != 3 {
			t.Errorf("%d token requests for %d repositories", got, n)
		}
		if got := len(w.to("reg.")); got != n+1 {
			t.Errorf("%d requests, want %d", got, n+1)
		}
	})
}

func TestWidenedTokenFallsBack(t *testing.T) {
	denied := func(scope string) bool { return !strings.Contains(scope, "secret") }
	t.Run("not granted", func(t *testing.T) {
		play(t, func(w *world) {
			s := &tokenServer{realm: realm, life: 300, grants: denied}
			w.serve("reg.example:443", s.guard(ok))
			w.serve("auth.reg.example:443", s.ServeHTTP)
			w.client().Expect(transport.Endpoint{Host: "reg.example"}, transport.Scope{Repository: "a/secret", Actions: "pull"})
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
			_, _, err := w.do(pull("reg.example", "/v2/a/secret/x", "a/secret"))
			if !errors.Is(err, oci.ErrUnauthorized) {
				t.Errorf("got %v", err)
			}
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil { // its token is still good
				t.Fatal(err)
			}
			asked := w.to("auth.")
			if len(asked) != 2 || strings.Count(asked[0].URI, "scope=") != 2 || strings.Count(asked[1].URI, "scope=") != 1 {
				t.Errorf("asked %v", asked)
			}
		})
	})
	t.Run("all refused", func(t *testing.T) {
		play(t, func(w *world) {
			s := &tokenServer{realm: realm, life: 300}
			w.serve("reg.example:443", s.guard(ok))
			w.serve("auth.reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.RequestURI, "secret") {
					rw.WriteHeader(http.StatusForbidden)
					return
				}
				s.ServeHTTP(rw, r)
			})
			w.client().Expect(transport.Endpoint{Host: "reg.example"}, transport.Scope{Repository: "a/secret", Actions: "pull"})
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
			if n := len(w.to("auth.")); n != 2 {
				t.Errorf("%d token requests", n)
			}
		})
	})
}

func TestIdentityToken(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", s.ServeHTTP)
		w.o.Credentials = user(transport.Credential{IdentityToken: "canary-identity"})
		if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
			t.Fatal(err)
		}
		got := w.to("auth.")[0]
		want := "client_id=dray&grant_type=refresh_token&refresh_token=canary-identity&scope=repository%3Aa%2Fb%3Apull&service=svc"
		if got.Method != http.MethodPost || got.URI != "/token" || got.Auth != "" || got.Body != want {
			t.Errorf("got %+v", got)
		}
	})
}

func TestTokenByPostOnly(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				rw.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			s.ServeHTTP(rw, r)
		})
		w.o.Credentials = user(alice)
		if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
			t.Fatal(err)
		}
		if got := w.to("auth.")[1].Body; !strings.Contains(got, "grant_type=password&password=canary-password&") || !strings.Contains(got, "username=alice") {
			t.Errorf("got %q", got)
		}
	})
}

func basicOnly(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != aliceBasic {
		w.Header().Set("WWW-Authenticate", `Basic realm="reg"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	ok(w, r)
}

func TestBasic(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", basicOnly)
		asked := map[string]int{}
		w.o.Credentials = func(_ context.Context, host, repository string) (transport.Credential, error) {
			asked[host+" "+repository]++
			return alice, nil
		}
		for range 3 {
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.requests()); n != 4 {
			t.Errorf("%d requests", n)
		}
		if len(asked) != 1 || asked["reg.example a/b"] != 1 {
			t.Errorf("asked for credentials %v", asked)
		}
	})
}

func TestNoCredentials(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", basicOnly)
		_, err := w.get("reg.example", "/v2/a/b/x")
		if !errors.Is(err, oci.ErrUnauthorized) || len(w.requests()) != 1 {
			t.Errorf("got %v after %v", err, w.requests())
		}
	})
}

func TestRegistryToken(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: "https://elsewhere.test/token"}
		s.valid = map[string]bool{"T:repository:a/b:pull#0": true}
		w.serve("reg.example:443", s.guard(ok))
		w.o.Credentials = user(transport.Credential{RegistryToken: "T:repository:a/b:pull#0"})
		if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWrongPasswordIsAskedOnce(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"details":"incorrect username or password"}`))
		})
		w.o.Credentials = user(alice)
		for i := range 5 {
			_, _, err := w.do(pull("reg.example", "/v2/a/b/x", fmt.Sprintf("a/%d", i)))
			if !errors.Is(err, oci.ErrUnauthorized) || !strings.Contains(err.Error(), "incorrect username") {
				t.Errorf("got %v", err)
			}
		}
		if n := len(w.to("auth.")); n != 1 {
			t.Errorf("%d token requests with a wrong password", n)
		}
	})
}

// A service that heeds only the first scope costs a few refusals, not one for
// every repository.
func TestServiceOfOneScope(t *testing.T) {
	play(t, func(w *world) {
		s := &tokenServer{realm: realm, life: 300}
		w.serve("reg.example:443", s.guard(ok))
		w.serve("auth.reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			r.Form["scope"] = r.Form["scope"][:1]
			s.ServeHTTP(rw, r)
		})
		const n = 40
		for i := range n {
			w.client().Expect(transport.Endpoint{Host: "reg.example"}, transport.Scope{Repository: fmt.Sprintf("a/%02d", i), Actions: "pull"})
		}
		for i := range n {
			if _, _, err := w.do(pull("reg.example", fmt.Sprintf("/v2/a/%02d/x", i), fmt.Sprintf("a/%02d", i))); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(w.to("reg.")); got > n+5 {
			t.Errorf("%d requests for %d repositories", got, n)
		}
		if got := len(w.to("auth.")); got > n+5 {
			t.Errorf("%d token requests for %d repositories", got, n)
		}
	})
}
