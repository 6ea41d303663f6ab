// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func TestBad_037_TLS(t *testing.T) {
	day := 24 * time.Hour
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		host     string
		from, to time.Time
		want     string
	}{
		"expired":     {"reg.example", now.Add(-2 * day), now.Add(-day), "the clock here says 2000-01-01"},
		"not yet":     {"reg.example", now.Add(day), now.Add(2 * day), "the clock here says 2000-01-01"},
		"other host":  {"evil.test", now.Add(-day), now.Add(day), "certificate is for another host"},
		"nobody's CA": {"", now, now, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				name := tc.host
				if name == "" {
					w.o.TLS = nil
					name, tc.from, tc.to = "reg.example", now.Add(-day), now.Add(day)
				}
				w.serve("reg.example:443", ok, authority().issue(name, tc.from, tc.to))
				w.serve("reg.example:80", ok)
				_, err := w.get("reg.example", "/v2/a/b/x")
				if !errors.Is(err, oci.ErrDenied) || errors.Is(err, oci.ErrBusy) || !strings.Contains(fmt.Sprint(err), tc.want) {
					t.Errorf("got %v", err)
				}
				if len(w.dials) != 1 || len(w.requests()) != 0 {
					t.Errorf("dialled %v, requests %v", w.dials, w.requests())
				}
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Endpoint.InsecureTLS = true
				if _, _, err := w.do(r); err != nil {
					t.Errorf("insecure: %v", err)
				}
			})
		})
	}
	t.Run("plain server", func(t *testing.T) {
		play(t, func(w *world) {
			s := w.listen("reg.example:443")
			srv := &http.Server{Handler: http.HandlerFunc(ok)}
			go func() { _ = srv.Serve(s) }()
			w.cleanup = append(w.cleanup, func() { _ = srv.Close() })
			_, err := w.get("reg.example", "/v2/a/b/x")
			if !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), "--plain-http") || len(w.dials) != 1 {
				t.Errorf("got %v after %v", err, w.dials)
			}
		})
	})
	t.Run("insecure is for the registry alone", func(t *testing.T) {
		play(t, func(w *world) {
			w.o.TLS = nil
			w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "https://cdn.test/", http.StatusTemporaryRedirect)
			})
			w.serve("cdn.test:443", ok)
			r := pull("reg.example", "/v2/a/b/x", "a/b")
			r.Endpoint.InsecureTLS = true
			if _, _, err := w.do(r); !errors.Is(err, oci.ErrDenied) || !strings.Contains(err.Error(), "cdn.test") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestBad_037_Proxy(t *testing.T) {
	play(t, func(w *world) {
		proxied := 0
		w.serve("proxy.corp:3128", func(rw http.ResponseWriter, r *http.Request) {
			proxied++
			if u, pw, _ := basicOf(r.Header.Get("Proxy-Authorization")); u != "me" || pw != "canary-proxy" {
				t.Errorf("proxy got %v", r.Header)
			}
			switch r.URL.Path {
			case "/v2/private":
				http.Redirect(rw, r, "http://10.0.0.1/", http.StatusTemporaryRedirect)
			case "/v2/local":
				http.Redirect(rw, r, "http://localhost/", http.StatusTemporaryRedirect)
			case "/v2/public":
				http.Redirect(rw, r, "http://cdn.test/", http.StatusTemporaryRedirect)
			}
		})
		w.o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:canary-proxy@proxy.corp:3128") }
		for path, want := range map[string]error{"/v2/private": oci.ErrDenied, "/v2/local": oci.ErrDenied, "/v2/public": nil, "/v2/x": nil} {
			r := pull("reg.example", path, "a/b")
			r.Endpoint.PlainHTTP = true
			if _, _, err := w.do(r); !errors.Is(err, want) {
				t.Errorf("%s: %v", path, err)
			}
		}
		if proxied != 5 {
			t.Errorf("%d requests at the proxy", proxied)
		}
		if out := w.out.String(); strings.Contains(out, "canary") {
			t.Error("proxy password in the log:", out)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("proxy.corp:3128", func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusProxyAuthRequired) })
			w.o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:canary-proxy@proxy.corp:3128") }
			for _, plain := range []bool{true, false} {
				r := pull("reg.example", "/v2/x", "a/b")
				r.Endpoint.PlainHTTP = plain
				if _, _, err := w.do(r); err == nil || strings.Contains(err.Error()+w.out.String(), "canary") {
					t.Errorf("got %v", err)
				}
			}
		})
	})
}

func basicOf(h string) (user, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": {h}}}
	return r.BasicAuth()
}

func TestLoopbackThatSpeaksTLS(t *testing.T) {
	for name, serve := range map[string]func(w *world){
		"go server, told by 400": func(w *world) { w.serve("localhost:8443", basicOnly) },
		"silent end": func(w *world) {
			w.serve("localhost:8443", basicOnly)
			inFront(w, "localhost:8443", "")
		},
		"alert": func(w *world) {
			w.serve("localhost:8443", basicOnly)
			inFront(w, "localhost:8443", "\x15\x03\x01\x00\x02\x02\x0a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				serve(w)
				w.o.Credentials = user(alice)
				for range 3 {
					if body, err := w.get("localhost:8443", "/v2/a/b/x"); err != nil || body != "fine" {
						t.Fatalf("got %q, %v", body, err)
					}
				}
				if c := w.client(); !strings.HasPrefix(c.OriginOf(transport.Endpoint{Host: "localhost:8443"}), "https:") {
					t.Error("not remembered")
				}
				if n := len(w.dials); n != 3 { // http, a look, https
					t.Errorf("%d connections", n)
				}
			})
		})
	}
	t.Run("plain stays plain", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("localhost:5000", fails(2, 400))
			for range 2 {
				if _, err := w.get("localhost:5000", "/v2/a/b/x"); !errors.Is(err, oci.ErrInvalid) {
					t.Errorf("got %v", err)
				}
			}
			if _, err := w.get("localhost:5000", "/v2/a/b/x"); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("never back", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("localhost:8443", ok)
			if _, err := w.get("localhost:8443", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
			w.client().Close()
			s := w.listen("localhost:8443")
			srv := &http.Server{Handler: http.HandlerFunc(ok)}
			go func() { _ = srv.Serve(s) }()
			w.cleanup = append(w.cleanup, func() { _ = srv.Close() })
			if _, err := w.get("localhost:8443", "/v2/a/b/x"); !errors.Is(err, oci.ErrDenied) {
				t.Errorf("got %v", err)
			}
		})
	})
}

// inFront stands before a TLS server and answers what is not TLS itself: by
// ending the connection, or with an alert.
func inFront(w *world, addr, answer string) {
	behind := w.sites[addr]
	front := w.listen(addr)
	go func() {
		for {
			conn, err := front.Accept()
			if err != nil {
				return
			}
			go func() {
				first := make([]byte, 1)
				if _, err := io.ReadFull(conn, first); err != nil || first[0] != 0x16 {
					_, _ = io.WriteString(conn, answer)
					_ = conn.Close()
					return
				}
				behind.conns <- &peeked{conn, first}
			}()
		}
	}()
}

type peeked struct {
	net.Conn
	first []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// A registry that registries.conf calls insecure may speak either.
func TestInsecureSpeaksEither(t *testing.T) {
	for _, addr := range []string{"reg.corp.example:8443", "reg.corp.example:443", "reg.corp.example:5000", "reg.corp.example:80"} {
		t.Run(addr, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve(addr, basicOnly)
				w.o.Credentials = user(alice)
				name := strings.TrimSuffix(strings.TrimSuffix(addr, ":443"), ":80")
				r := pull(name, "/v2/a/b/x", "a/b")
				r.Endpoint.PlainHTTP, r.Endpoint.InsecureTLS = true, true
				for range 2 {
					if _, body, err := w.do(r); err != nil || body != "fine" {
						t.Fatalf("got %q, %v", body, err)
					}
				}
			})
		})
	}
}
