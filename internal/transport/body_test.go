// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func drip(w http.ResponseWriter, r *http.Request, n int, every time.Duration) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, n)); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-time.After(every):
		case <-r.Context().Done():
		}
	}
}

func TestBad_044_SlowBody(t *testing.T) {
	for name, tc := range map[string]struct {
		host string
		h    http.HandlerFunc
	}{
		"one byte a second, http/2": {"reg.example:443", func(w http.ResponseWriter, r *http.Request) { drip(w, r, 1, time.Second) }},
		"one byte a second":         {"reg.example:80", func(w http.ResponseWriter, r *http.Request) { drip(w, r, 1, time.Second) }},
		"nothing after 1 MiB":       {"reg.example:80", func(w http.ResponseWriter, r *http.Request) { drip(w, r, 1<<20, time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve(tc.host, tc.h)
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Endpoint.PlainHTTP = strings.HasSuffix(tc.host, ":80")
				start := time.Now()
				_, _, err := w.do(r)
				if !errors.Is(err, oci.ErrBusy) || !strings.HasSuffix(err.Error(), "no progress for 1m0s") {
					t.Errorf("got %v", err)
				}
				if d := time.Since(start); d < time.Minute || d > 76*time.Second {
					t.Errorf("took %v", d)
				}
			})
		})
	}
	t.Run("slow enough", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
				defer cancel()
				drip(rw, r.WithContext(ctx), 100, time.Second)
			})
			if body, err := w.get("reg.example", "/v2/a/b/x"); err != nil || len(body) < 360000 {
				t.Errorf("got %d bytes, %v", len(body), err)
			}
		})
	})
	t.Run("slow reader", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 1<<20)) })
			resp, err := w.client().Do(w.ctx, pull("reg.example", "/v2/a/b/x", "a/b"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			time.Sleep(time.Hour) // its own time
			if n, err := io.Copy(io.Discard, resp.Body); n != 1<<20 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
		})
	})
}

func TestBad_044_SilentServer(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for method, limit := range map[string]time.Duration{http.MethodGet: 30 * time.Second, http.MethodHead: 30 * time.Second, http.MethodPut: 5 * time.Minute, http.MethodPost: 5 * time.Minute} {
		t.Run(method, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", silent)
				w.o.Attempts = 1
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Method = method
				if method == http.MethodPut {
					r.Size, r.Body = 4, text("body")
				}
				start := time.Now()
				_, _, err := w.do(r)
				if !errors.Is(err, oci.ErrBusy) || errors.Is(err, context.Canceled) || time.Since(start) != limit {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
			})
		})
	}
	t.Run("before TLS", func(t *testing.T) {
		play(t, func(w *world) {
			s := w.listen("reg.example:443")
			go func() {
				for {
					conn, err := s.Accept()
					if err != nil {
						return
					}
					context.AfterFunc(w.ctx, func() { _ = conn.Close() })
				}
			}()
			w.o.Attempts = 2
			start := time.Now()
			_, err := w.get("reg.example", "/v2/a/b/x")
			if !errors.Is(err, oci.ErrBusy) || errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 21*time.Second {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		})
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestBad_044_StalledUpload(t *testing.T) {
	for _, addr := range []string{"reg.example:443", "reg.example:80"} {
		t.Run(addr, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve(addr, func(http.ResponseWriter, *http.Request) { <-w.ctx.Done() }) // does not read
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Method, r.Size, r.Once = http.MethodPatch, 1<<30, true
				r.Endpoint.PlainHTTP = strings.HasSuffix(addr, ":80")
				r.Body = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(endless{}), nil }
				start := time.Now()
				_, _, err := w.do(r)
				if !errors.Is(err, oci.ErrBusy) || !strings.HasSuffix(err.Error(), "no progress for 1m0s") {
					t.Errorf("got %v", err)
				}
				if d := time.Since(start); d < time.Minute || d > 76*time.Second {
					t.Errorf("took %v", d)
				}
			})
		})
	}
	t.Run("slow source", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", ok)
			r := pull("reg.example", "/v2/a/b/x", "a/b")
			r.Method, r.Size = http.MethodPut, 5
			r.Body = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("he"), pause(time.Hour), strings.NewReader("llo"))), nil
			}
			if _, _, err := w.do(r); err != nil || w.seen[0].Body != "hello" {
				t.Errorf("got %v, %v", err, w.seen)
			}
		})
	})
}

// A body whose length nobody knows is sent as it comes, and an answer to it is
// final.
func TestBodyOfUnknownSize(t *testing.T) {
	patch := func(addr string, body io.Reader) *transport.Request {
		r := pull("reg.example", "/v2/a/b/x", "a/b")
		r.Method, r.Size, r.Once, r.Large = http.MethodPatch, -1, true, true
		r.Endpoint.PlainHTTP = strings.HasSuffix(addr, ":80")
		r.Body = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(body), nil }
		return r
	}
	for _, addr := range []string{"reg.example:443", "reg.example:80"} {
		t.Run(addr, func(t *testing.T) {
			play(t, func(w *world) { // a few bytes now and then are no stall
				w.serve(addr, ok)
				var parts []io.Reader
				for range 100 {
					parts = append(parts, pause(10*time.Second), strings.NewReader("x"))
				}
				if _, _, err := w.do(patch(addr, io.MultiReader(parts...))); err != nil || w.seen[0].Body != strings.Repeat("x", 100) {
					t.Errorf("got %v, %v", err, w.seen)
				}
			})
		})
		t.Run(addr+" stalls", func(t *testing.T) {
			play(t, func(w *world) {
				w.serve(addr, func(http.ResponseWriter, *http.Request) { <-w.ctx.Done() }) // does not read
				r := patch(addr, endless{})
				r.Header = http.Header{"X-Endless": {"1"}} // so that nobody reads it
				start := time.Now()
				_, _, err := w.do(r)
				if d := time.Since(start); !errors.Is(err, oci.ErrBusy) || d < time.Minute || d > 76*time.Second {
					t.Errorf("got %v after %v", err, d)
				}
			})
		})
	}
	t.Run("401", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				rw.WriteHeader(http.StatusUnauthorized)
			})
			w.o.Credentials = func(context.Context, string, string) (transport.Credential, error) {
				return transport.Credential{Username: "u", Password: "secret"}, nil
			}
			_, _, err := w.do(patch("reg.example:443", strings.NewReader("hello")))
			if !errors.Is(err, oci.ErrUnauthorized) || len(w.seen) != 1 {
				t.Errorf("got %v, %v", err, w.seen)
			}
		})
	})
	t.Run("more than once", func(t *testing.T) {
		play(t, func(w *world) {
			r := patch("reg.example:443", strings.NewReader("hello"))
			r.Once = false
			if _, _, err := w.do(r); !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	})
}

type pause time.Duration

func (p pause) Read([]byte) (int, error) {
	time.Sleep(time.Duration(p))
	return 0, io.EOF
}

func TestCutBody(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100")
			_, _ = rw.Write(make([]byte, 50))
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		resp, err := w.client().Do(w.ctx, pull("reg.example", "/v2/a/b/x", "a/b"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, oci.ErrBusy) || n > 50 {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func TestBodyEndsWithContext(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) { drip(rw, r, 1<<10, time.Second) })
		gone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(w.ctx, 10*time.Second, gone)
		defer cancel()
		resp, err := w.client().Do(ctx, pull("reg.example", "/v2/a/b/x", "a/b"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:80", func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v2/bad") {
				rw.WriteHeader(http.StatusNotFound)
			}
			fmt.Fprintf(rw, "%s\n", strings.Repeat("x", 3000))
		})
		for i := range 10 {
			r := pull("reg.example", fmt.Sprintf("/v2/%s/x", []string{"good", "bad"}[i%2]), "a/b")
			r.Endpoint.PlainHTTP = true
			if resp, err := w.client().Do(w.ctx, r); err == nil {
				_, _ = resp.Body.Read(make([]byte, 10)) // and no more
				_ = resp.Body.Close()
			}
		}
		if len(w.dials) != 1 {
			t.Errorf("%d connections", len(w.dials))
		}
	})
}
