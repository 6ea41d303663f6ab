// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func unbase(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}

// sends is a registry with Basic that redirects blobs.
func sends(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/a/b/x" && r.Header.Get("Authorization") == aliceBasic {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		basicOnly(w, r)
	}
}

func TestBad_031_RedirectTargetChallenges(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", sends("https://cdn.test/blob?sig=canary-signature"))
		w.serve("cdn.test:443", basicOnly)
		w.o.Credentials = user(alice)
		_, err := w.get("reg.example", "/v2/a/b/x")
		e, isAnswer := errors.AsType[*transport.Error](err)
		if !isAnswer || e.Status != http.StatusUnauthorized || len(w.to("cdn.test")) != 1 {
			t.Errorf("got %v after %v", err, w.requests())
		}
		if got := w.to("cdn.test")[0]; got.Auth != "" || got.Header.Get("Referer") != "" {
			t.Errorf("other host got %v", got.Header)
		}
		if strings.Contains(e.URL, "sig") {
			t.Errorf("URL %s", e.URL)
		}
		w.noSecrets("none", err)
	})
}

func TestBad_032_RedirectToOtherOrigin(t *testing.T) {
	for _, to := range []string{"https://reg.example:8443/x", "https://sub.reg.example/x", "https://cdn.test/x"} {
		t.Run(to, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", sends(to))
				u, _ := url.Parse(to)
				addr := u.Host
				if u.Port() == "" {
					addr += ":443"
				}
				w.serve(addr, ok)
				w.o.Credentials = user(alice)
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Header = http.Header{"Cookie": {"canary"}, "Authorization": {"canary"}, "Range": {"bytes=5-"}}
				if _, body, err := w.do(r); err != nil || body != "fine" {
					t.Fatalf("got %q, %v", body, err)
				}
				got := w.to(addr)[0]
				if got.Auth != "" || got.Header.Get("Cookie") != "" || got.Header.Get("Range") != "bytes=5-" || got.Header.Get("Accept-Encoding") != "identity" {
					t.Errorf("got %v", got.Header)
				}
			})
		})
	}
	t.Run("and back", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", sends("https://cdn.test/x"))
			w.serve("cdn.test:443", func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "https://reg.example/v2/secret", http.StatusFound)
			})
			w.o.Credentials = user(alice)
			if _, err := w.get("reg.example", "/v2/a/b/x"); !errors.Is(err, oci.ErrUnauthorized) {
				t.Errorf("got %v", err)
			}
			if got := w.to("reg.example"); got[len(got)-1].URI != "/v2/secret" || got[len(got)-1].Auth != "" {
				t.Errorf("got %v", got)
			}
		})
	})
	t.Run("within", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", sends("/v2/a/b/y"))
			w.o.Credentials = user(alice)
			if body, err := w.get("reg.example", "/v2/a/b/x"); err != nil || body != "fine" {
				t.Errorf("got %q, %v", body, err)
			}
		})
	})
}

func TestBad_033_RedirectPolicy(t *testing.T) {
	for _, to := range []string{
		"file:///etc/passwd", "http://reg.example/x", "http://cdn.test/x", "ftp://cdn.test/", "https://user:pw@cdn.test/", "/v2/a/b/x",
		"https://10.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://a.localhost./", "https://169.254.169.254/latest/meta-data", "https://[::1]/",
		"https://[::ffff:10.0.0.1]/", "https://[fd00::1]/", "https://100.64.0.1/", "https://0.0.0.0/", "https://192.168.1.1/", "https://0x7f000001/",
		"https://127.1/", "https://[64:ff9b::a9fe:a9fe]/", "https://[fe80::1%25eth0]/", "gopher:x", "https://../x", "https://.reg.example/", "https://a%C2%9Bb.test/", "https://ev%E2%80%AEil.test/",
	} {
		t.Run(to, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", sends(to))
				w.o.Credentials = user(alice)
				_, err := w.get("reg.example", "/v2/a/b/x")
				if !errors.Is(err, oci.ErrDenied) {
					t.Errorf("got %v", err)
				}
				if len(w.dials) != 1 {
					t.Errorf("dialled %v", w.dials)
				}
				if n := len(w.requests()); n > 7 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
	t.Run("of an upload", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "https://cdn.test/", http.StatusTemporaryRedirect)
			})
			r := pull("reg.example", "/v2/a/b/x", "a/b")
			r.Method, r.Size, r.Body = http.MethodPut, 4, text("body")
			if _, _, err := w.do(r); !errors.Is(err, oci.ErrUnsupported) || len(w.requests()) != 1 {
				t.Errorf("got %v after %v", err, w.requests())
			}
		})
	})
	t.Run("accepted", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "https://cdn.test/", http.StatusTemporaryRedirect)
			})
			r := pull("reg.example", "/v2/a/b/x", "a/b")
			r.Accept = []int{307}
			if resp, _, err := w.do(r); err != nil || resp.StatusCode != 307 {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestBad_034_UploadLocation(t *testing.T) {
	for to, want := range map[string]struct {
		err  error
		at   string // where the body arrives
		auth bool
	}{
		"/v2/a/b/blobs/uploads/1?_state=%2Bx%3D": {nil, "reg.example.com:443", true},
		"?_state=1":                              {nil, "reg.example.com:443", true},
		"https://reg.example.com:443/up":         {nil, "reg.example.com:443", true},
		"https://reg.example.com:8443/up":        {nil, "reg.example.com:8443", false},
		"https://up.example.com/1":               {nil, "up.example.com:443", false},
		"https://evil.test/1":                    {err: oci.ErrDenied},
		"https://reg.example.com.evil.test/1":    {err: oci.ErrDenied},
		"//evil.test/1":                          {err: oci.ErrDenied},
		"http://reg.example.com/1":               {err: oci.ErrDenied},
		"https://u:p@reg.example.com/1":          {err: oci.ErrDenied},
		"file:///etc":                            {err: oci.ErrDenied},
		"https://169.254.169.254/":               {err: oci.ErrDenied},
		"":                                       {err: oci.ErrInvalid},
		"https://[bad/":                          {err: oci.ErrInvalid},
	} {
		t.Run(to, func(t *testing.T) {
			play(t, func(w *world) {
				for _, h := range []string{"reg.example.com:8443", "up.example.com:443", "evil.test:443"} {
					w.serve(h, ok)
				}
				w.o.Credentials = user(alice)
				r := pull("reg.example.com", "/v2/a/b/blobs/uploads/", "a/b")
				r.Method = http.MethodPost
				w.serve("reg.example.com:443", func(rw http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") == "" {
						basicOnly(rw, r)
						return
					}
					if r.Method == http.MethodPost && to != "" {
						rw.Header().Set("Location", to)
					}
				})
				resp, _, err := w.do(r)
				if err != nil {
					t.Fatal(err)
				}
				u, err := w.client().Location(resp)
				if !errors.Is(err, want.err) {
					t.Fatalf("Location: %v, want %v", err, want.err)
				}
				if err != nil { // and not by hand either
					if u, err = url.Parse(to); err != nil || !u.IsAbs() {
						return
					}
				}
				r = &transport.Request{Endpoint: r.Endpoint, Method: http.MethodPut, URL: u, Query: url.Values{"digest": {"d"}},
					Body: text("layer"), Size: 5, Scopes: r.Scopes, Once: true}
				if _, _, err = w.do(r); !errors.Is(err, want.err) {
					t.Fatalf("PUT: %v, want %v", err, want.err)
				}
				if want.err != nil {
					if n := len(w.to("evil")); n != 0 {
						t.Errorf("%d requests elsewhere", n)
					}
					return
				}
				got := w.to(want.at)
				last := got[len(got)-1]
				if last.Body != "layer" || (last.Auth == aliceBasic) != want.auth || !strings.HasSuffix(last.URI, "digest=d") || strings.Contains(to, "state=%2B") && !strings.Contains(last.URI, "_state=%2Bx%3D&") {
					t.Errorf("got %v with %q and %s", last, last.Body, last.Auth)
				}
			})
		})
	}
}
