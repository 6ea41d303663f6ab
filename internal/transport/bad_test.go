// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func TestBad_002_Hosts(t *testing.T) {
	for _, host := range []string{
		"", " ", "user:pw@reg.example", "reg.example/path", "reg.example?x", "reg.example#x", "reg.example\nHost: evil", "reg%2fexample",
		"[fe80::1%25eth0]:5000", "reg.example:port", "a b", "[::1", "reg.example\x00", `reg\example`, ":5000", "..", "a..b", "bücher.test",
	} {
		_, err := transport.New(transport.Options{}).Do(t.Context(), pull(host, "/v2/", "a/b"))
		if !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestBad_003_LookAlikeLoopback(t *testing.T) {
	c := transport.New(transport.Options{})
	for host, want := range map[string]string{
		"localhost": "http", "localhost:5000": "http", "LocalHost": "http", "reg.localhost:5000": "http", "127.0.0.1:5000": "http",
		"127.255.0.1": "http", "[::1]:5000": "http", "[::1]": "http",
		"127.0.0.1.evil.test": "https", "my127.0.0.1x.io": "https", "[2001:db8::1]:5000": "https", "localhost.evil.test": "https",
		"notlocalhost": "https", "127.1": "https", "0x7f.0.0.1": "https", "[::ffff:127.0.0.1]": "https", "10.0.0.1:5000": "https", "0.0.0.0": "https",
	} {
		if got := c.OriginOf(transport.Endpoint{Host: host}); got != want+"://"+strings.ToLower(host) {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
		if got := c.OriginOf(transport.Endpoint{Host: host, PlainHTTP: true}); !strings.HasPrefix(got, "http:") {
			t.Errorf("%s, plain: %s", host, got)
		}
	}
	for _, host := range []string{"docker.io", "index.docker.io"} {
		if got := c.OriginOf(transport.Endpoint{Host: host}); got != "https://registry-1.docker.io" {
			t.Errorf("%s: %s", host, got)
		}
	}
}

func TestBad_005_Paths(t *testing.T) {
	for _, path := range []string{"", "/", "/v1/", "v2/", "/v2/a/../../x", "/v2/a/%2e%2e/x", `/v2/..\x`, "/v2/./a", "/v2/a?x=1", "/v2/a#x", "/v2/%zz", "//evil.test/v2/", "/v2/blobs/sha256:../../x"} {
		_, err := transport.New(transport.Options{}).Do(t.Context(), pull("reg.example", path, "a/b"))
		if !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
	r := pull("reg.example", "/v2/a/b/manifests/x", "a/b")
	r.Header = http.Header{"Content-Type": {"text/plain\r\nX-Evil: 1"}}
	if _, err := transport.New(transport.Options{}).Do(t.Context(), r); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("header: %v", err)
	}
}

func TestBad_012_ContentEncoding(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write([]byte("\x1f\x8b\x08\x00"))
		})
		_, err := w.get("reg.example", "/v2/a/b/x")
		if !errors.Is(err, oci.ErrInvalid) || len(w.requests()) != 1 {
			t.Errorf("got %v", err)
		}
		r := pull("reg.example", "/v2/a/b/x", "a/b")
		r.Method = http.MethodHead
		resp, _, err := w.do(r)
		if err != nil || resp.ContentLength != -1 || resp.Header.Get("Content-Length") != "" {
			t.Errorf("HEAD tells the length of other bytes: %v", err)
		}
		for _, s := range w.seen {
			if got := s.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("asked for %q", got)
			}
		}
	})
}

func TestBad_056_ErrorBodies(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		kind   string // content type
		body   string
		want   string
		is     error
	}{
		"specification": {404, "application/json", `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"a":1}}]}`, "404 MANIFEST_UNKNOWN: manifest unknown", oci.ErrNotFound},
		"two":           {400, "", `{"errors":[{"code":"DIGEST_INVALID"},{"code":"SIZE_INVALID","message":"x"}]}`, "400 DIGEST_INVALID, SIZE_INVALID: x", oci.ErrInvalid},
		"escapes":       {403, "", `{"errors":[{"code":"DENIED\u001b[31m","message":"a\u0007b\u202ec\nd"}]}`, `403 DENIED\x1b[31m: a\ab\u202ec d`, oci.ErrDenied},
		"html":          {404, "text/html; charset=utf-8", "<html><body>no</body></html>", "404 Not Found", oci.ErrNotFound},
		"hidden html":   {404, "", "\n <!DOCTYPE html>", "404 Not Found", oci.ErrNotFound},
		"text":          {405, "text/plain", "not \x1b[2J here\xff\n", `405 Method Not Allowed: not \x1b[2J here\xff`, oci.ErrUnsupported},
		"code":          {400, "", `{"errors":[{"code":"UNSUPPORTED"}]}`, "400 UNSUPPORTED", oci.ErrUnsupported},
		"unknown":       {400, "", `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, "400 BLOB_UNKNOWN", oci.ErrNotFound},
		"number":        {422, "", `{"errors":[{"code":17,"message":"x"}]}`, "422 17: x", oci.ErrInvalid},
		"null":          {409, "", `{"errors":[null,{}]}`, "409 Conflict", oci.ErrInvalid},
		"no JSON":       {413, "application/json", `{"errors":[{"code":`, `413 Request Entity Too Large: {"errors":[{"code":`, oci.ErrInvalid},
		"other":         {401, "", `{"details":"who?"}`, "401 Unauthorized: who?", oci.ErrUnauthorized},
		"empty":         {416, "", "", "416 Requested Range Not Satisfiable", oci.ErrInvalid},
		"redirect":      {308, "", "", "308 Permanent Redirect", oci.ErrUnsupported},
		"strange":       {418, "", "", "418 I'm a teapot", oci.ErrInvalid},
		"501":           {501, "", "", "501 Not Implemented", oci.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", func(rw http.ResponseWriter, _ *http.Request) {
					rw.Header()["Content-Type"] = []string{tc.kind}
					rw.WriteHeader(tc.status)
					_, _ = rw.Write([]byte(tc.body))
				})
				r := pull("reg.example", "/v2/a/b/manifests/x", "a/b")
				r.Method = http.MethodPut
				_, _, err := w.do(r)
				if err == nil || err.Error() != tc.want || !errors.Is(err, tc.is) {
					t.Errorf("got %v, want %s", err, tc.want)
				}
			})
		})
	}
	t.Run("endless", func(t *testing.T) {
		play(t, func(w *world) {
			var sent atomic.Int64
			w.serve("reg.example:80", func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(http.StatusNotFound)
				for range 100 {
					n, err := rw.Write([]byte(strings.Repeat("\x1b[2J", 1<<18)))
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			})
			r := pull("reg.example", "/v2/a/b/x", "a/b")
			r.Endpoint.PlainHTTP = true
			_, _, err := w.do(r)
			if !errors.Is(err, oci.ErrNotFound) || len(err.Error()) > 1100 || strings.Contains(err.Error(), "\x1b") || sent.Load() > 4<<20 {
				t.Errorf("read %d, %d bytes of error", sent.Load(), len(err.Error()))
			}
		})
	})
}

func TestBad_056_Warnings(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Add("Warning", `299 - "going away \x1b soon"`)
			rw.Header().Add("Warning", `199 - "not for us"`)
			rw.Header().Add("Warning", "299 - \""+strings.Repeat("x", 5000)+r.URL.Path+"\"")
		})
		for i := range 150 {
			if _, err := w.get("reg.example", fmt.Sprintf("/v2/%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		out := w.out.String()
		if strings.Count(out, "going away") != 1 || strings.Contains(out, "not for us") || strings.Count(out, "level=WARN") != 2 || strings.Contains(out, strings.Repeat("x", 300)) {
			t.Error(out[:2000])
		}
	})
}

func TestBad_057_HeaderFlood(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", "Bearer "+strings.Repeat("x", 10<<20))
			rw.WriteHeader(http.StatusUnauthorized)
		})
		if _, err := w.get("reg.example", "/v2/a/b/x"); err == nil || len(err.Error()) > 1100 || len(w.requests()) > 3 {
			t.Errorf("got %.200v", err)
		}
	})
}

func TestBad_094_Secrets(t *testing.T) {
	// A registry that says everything back that it was told.
	echo := func(rw http.ResponseWriter, r *http.Request, status int, cred transport.Credential) {
		said := r.Header.Get("Authorization")
		rw.Header().Set("Warning", "299 - \""+said+"\"")
		rw.WriteHeader(status)
		fmt.Fprintf(rw, `{"errors":[{"code":%q,"message":%q}]}`, said, said+" "+cred.Password+" "+cred.IdentityToken+" "+cred.RegistryToken)
	}
	for name, cred := range map[string]transport.Credential{
		"basic": alice, "identity": {IdentityToken: "canary-identity"}, "registry": {RegistryToken: "canary-registry"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/token" {
						gives("canary-token")(rw, r)
						return
					}
					if r.Header.Get("Authorization") == "" {
						rw.Header().Set("WWW-Authenticate", `Bearer realm="https://reg.example/token?key=canary-query"`)
						rw.WriteHeader(http.StatusUnauthorized)
						return
					}
					switch r.URL.Path {
					case "/v2/redirect":
						http.Redirect(rw, r, "https://cdn.test/canary-path?sig=canary-signature", http.StatusTemporaryRedirect)
					case "/v2/busy":
						echo(rw, r, 503, cred)
					default:
						echo(rw, r, 403, cred)
					}
				})
				w.serve("cdn.test:443", func(rw http.ResponseWriter, r *http.Request) { http.NotFound(rw, r) })
				w.o.Credentials = user(cred)
				w.o.Attempts = 2
				var all []string
				for _, path := range []string{"/v2/x", "/v2/redirect", "/v2/busy"} {
					_, err := w.get("reg.example", path)
					all = append(all, fmt.Sprintf("%v %+v", err, err))
					if e, ok := errors.AsType[*transport.Error](err); ok {
						all = append(all, e.URL, e.Text, fmt.Sprint(e.Codes))
					}
				}
				err := w.client().Login(w.ctx, transport.Endpoint{Host: "reg.example"}, cred)
				out := fmt.Sprint(all, err, w.out.String())
				for _, canary := range []string{"canary", strings.TrimPrefix(aliceBasic, "Basic ")} {
					if i := strings.Index(out, canary); i >= 0 {
						t.Errorf("…%s", out[max(0, i-300):min(len(out), i+60)])
					}
				}
				if !strings.Contains(out, "***") || !strings.Contains(out, "level=DEBUG") {
					t.Error("the test does not reach what it means to:", out)
				}
			})
		})
	}
}

func TestCutConnections(t *testing.T) {
	for _, addr := range []string{"reg.example:443", "reg.example:80"} {
		t.Run(addr, func(t *testing.T) {
			play(t, func(w *world) {
				n := 0
				w.serve(addr, func(rw http.ResponseWriter, r *http.Request) {
					if n++; n < 8 {
						panic(http.ErrAbortHandler)
					}
				})
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Endpoint.PlainHTTP = strings.HasSuffix(addr, ":80")
				r.Method, r.Size, r.Body = http.MethodPut, 4, text("body")
				if _, _, err := w.do(r); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestNoSuchHost(t *testing.T) {
	t.Parallel()
	n := 0
	c := transport.New(transport.Options{})
	c.SetDial(func(context.Context, string, string) (net.Conn, error) {
		n++
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "reg.example", IsNotFound: true}}
	})
	if _, err := c.Do(t.Context(), pull("reg.example", "/v2/", "a/b")); !errors.Is(err, oci.ErrBusy) || n != 1 {
		t.Errorf("got %v after %d attempts", err, n)
	}
}
