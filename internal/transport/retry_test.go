// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tc := range []struct {
		value, date string
		want        time.Duration
	}{
		{"1", "", time.Second}, {" 7 ", "", 7 * time.Second}, {"0", "", 0}, {"1000000", "", 1000000 * time.Second},
		{"-1", "", 0}, {"+1", "", 0}, {"1.5", "", 0}, {"soon", "", 0}, {"", "", 0}, {"18446744073709551617", "", 0}, {"9223372036", "", 0},
		{at(5 * time.Second), "", 5 * time.Second}, {at(-5 * time.Second), "", 0},
		{at(time.Hour), at(time.Hour - time.Second), time.Second}, // the server's clock is an hour ahead
		{"Fri, 31 Dec 9999 23:59:59 GMT", "", 1<<63 - 1}, {"Mon, 01 Jan 0001 00:00:00 GMT", "", 0},
	} {
		h := http.Header{"Retry-After": {tc.value}, "Date": {tc.date}}
		if got := transport.RetryAfter(h, now); got != tc.want {
			t.Errorf("%q at %q: %v, want %v", tc.value, tc.date, got, tc.want)
		}
	}
}

// fails answers the first n requests with a status, and further headers.
func fails(n int, status int, header ...string) http.HandlerFunc {
	var count atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if int(count.Add(1)) > n {
			ok(w, r)
			return
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// A manifest that misses a layer misses it the next time too, whatever the
// status says.
func TestRefusalAsServerError(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(rw, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}`)
		})
		if _, err := w.get("reg.example", "/v2/a/b/x"); err == nil || len(w.requests()) != 1 {
			t.Errorf("%v after %d requests", err, len(w.requests()))
		}
	})
}

func TestRetriedStatuses(t *testing.T) {
	for _, status := range []int{408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", fails(3, status))
				if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil || len(w.requests()) != 4 {
					t.Errorf("got %v after %d requests", err, len(w.requests()))
				}
			})
		})
	}
	for _, status := range []int{400, 401, 403, 404, 405, 409, 416, 501, 505} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", fails(3, status, "Retry-After", "1"))
				_, err := w.get("reg.example", "/v2/a/b/x")
				e, isAnswer := errors.AsType[*transport.Error](err)
				if !isAnswer || e.Status != status || len(w.requests()) != 1 {
					t.Errorf("got %v after %d requests", err, len(w.requests()))
				}
			})
		})
	}
}

func TestGivesUp(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", fails(1000, 503))
		w.o.Attempts = 4
		start := time.Now()
		_, err := w.get("reg.example", "/v2/a/b/x")
		if !errors.Is(err, oci.ErrBusy) || len(w.requests()) != 4 || err.Error() != "after 4 attempts: 503 Service Unavailable" {
			t.Errorf("got %v after %d requests", err, len(w.requests()))
		}
		if took := time.Since(start); took > 1400*time.Millisecond {
			t.Errorf("took %v, more than 0.2+0.4+0.8", took)
		}
	})
}

func TestConnectionRefused(t *testing.T) {
	play(t, func(w *world) {
		_, err := w.get("reg.example", "/v2/a/b/x")
		if !errors.Is(err, oci.ErrBusy) || len(w.dials) != 3 || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v after %d", err, len(w.dials))
		}
	})
}

func TestOnce(t *testing.T) {
	put := func(w *world) error {
		r := pull("reg.example", "/v2/a/b/x", "a/b")
		r.Method, r.Body, r.Size, r.Once = http.MethodPatch, text("layer"), 5, true
		_, _, err := w.do(r)
		return err
	}
	t.Run("busy", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", fails(1, 503))
			if err := put(w); !errors.Is(err, oci.ErrBusy) || len(w.requests()) != 1 {
				t.Errorf("got %v after %d requests", err, len(w.requests()))
			}
		})
	})
	t.Run("cut", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			if err := put(w); !errors.Is(err, oci.ErrBusy) || len(w.requests()) != 1 {
				t.Errorf("got %v after %d requests", err, len(w.requests()))
			}
		})
	})
	t.Run("no connection", func(t *testing.T) {
		play(t, func(w *world) {
			if err := put(w); !errors.Is(err, oci.ErrBusy) || len(w.dials) != 3 {
				t.Errorf("got %v after %d dials", err, len(w.dials))
			}
		})
	})
	t.Run("token first", func(t *testing.T) {
		play(t, func(w *world) {
			w.serve("reg.example:443", asks(realm))
			w.serve("auth.reg.example:443", gives("t"))
			for range 2 {
				if err := put(w); err != nil {
					t.Fatal(err)
				}
			}
			got := w.to("reg.")
			if len(got) != 3 || got[1].Body != "layer" || got[2].Body != "layer" {
				t.Errorf("got %v", got)
			}
		})
	})
}

func TestBodyIsOpenedAnew(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", fails(2, 502))
		var opened, closed atomic.Int32
		r := pull("reg.example", "/v2/a/b/manifests/x", "a/b")
		r.Method, r.Size = http.MethodPut, 5
		r.Body = func(context.Context) (io.ReadCloser, error) {
			opened.Add(1)
			return struct {
				io.Reader
				io.Closer
			}{strings.NewReader("hello"), closer(func() { closed.Add(1) })}, nil
		}
		if _, _, err := w.do(r); err != nil {
			t.Fatal(err)
		}
		if opened.Load() != 3 || closed.Load() < 3 {
			t.Errorf("opened %d times, closed %d times", opened.Load(), closed.Load())
		}
		for _, s := range w.seen {
			if s.Body != "hello" {
				t.Errorf("body %q", s.Body)
			}
		}
	})
}

type closer func()

func (c closer) Close() error { c(); return nil }

func TestBodyErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, tc := range map[string]struct {
		body func(context.Context) (io.ReadCloser, error)
		want error
	}{
		"open":  {func(context.Context) (io.ReadCloser, error) { return nil, broken }, broken},
		"read":  {func(context.Context) (io.ReadCloser, error) { return io.NopCloser(failing{broken}), nil }, broken},
		"short": {text("four"), oci.ErrCorrupt},
		"long":  {text("sixsix"), oci.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", ok)
				r := pull("reg.example", "/v2/a/b/x", "a/b")
				r.Method, r.Body, r.Size = http.MethodPut, tc.body, 5
				if _, _, err := w.do(r); !errors.Is(err, tc.want) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestBad_045_RetryAfter(t *testing.T) {
	const million = "1000000"
	for name, tc := range map[string]struct {
		value    string
		min, max time.Duration
		want     error
	}{
		"seconds":  {"3", 3 * time.Second, 4 * time.Second, nil},
		"at cap":   {"120", 120 * time.Second, 121 * time.Second, nil},
		"date":     {"Sat, 01 Jan 2000 00:00:09 GMT", 8 * time.Second, 11 * time.Second, nil},
		"beyond":   {million, 0, 0, oci.ErrBusy},
		"overflow": {"99999999999999999999", 0, time.Second, nil},
		"negative": {"-5", 0, time.Second, nil},
		"garbage":  {"when it suits", 0, time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", fails(1, 429, "Retry-After", tc.value))
				start := time.Now()
				_, err := w.get("reg.example", "/v2/a/b/x")
				if !errors.Is(err, tc.want) || time.Since(start) < tc.min || time.Since(start) > tc.max {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
				if err != nil && !strings.Contains(err.Error(), "277h46m40s") {
					t.Errorf("error does not name the wait: %v", err)
				}
			})
		})
	}
}

func TestPauseIsShared(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", fails(1, 503, "Retry-After", "30"))
		w.client()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = w.get("reg.example", "/v2/a/b/x") })
		time.Sleep(time.Second)
		start := time.Now()
		if _, err := w.get("reg.example", "/v2/a/b/y"); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < 29*time.Second || d > 31*time.Second {
			t.Errorf("the other request took %v", d)
		}
		wg.Wait()
	})
}

func TestBad_046_Storm(t *testing.T) {
	play(t, func(w *world) {
		var n atomic.Int32
		s := &tokenServer{realm: realm, life: 300}
		faulty := func(next http.HandlerFunc) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				switch i := n.Add(1); {
				case i%15 == 0:
					rw.WriteHeader(http.StatusServiceUnavailable)
				case i%15 == 5:
					rw.Header().Set("Retry-After", "1")
					rw.WriteHeader(http.StatusTooManyRequests)
				case i%15 == 10:
					panic(http.ErrAbortHandler)
				default:
					next(rw, r)
				}
			}
		}
		w.serve("reg.example:5000", faulty(s.guard(ok)))
		s.realm = "http://reg.example:5001/token"
		w.serve("reg.example:5001", faulty(s.ServeHTTP))
		w.client()
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				r := pull("reg.example:5000", "/v2/a/b/x", fmt.Sprintf("a/%d", i%10))
				r.Path = fmt.Sprintf("/v2/a/%d/x", i%10)
				r.Endpoint.PlainHTTP = true
				if _, _, err := w.do(r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestWaitsEndWithTheContext(t *testing.T) {
	gone := errors.New("gone")
	for name, h := range map[string]http.HandlerFunc{
		"back-off": fails(1000, 429, "Retry-After", "100"),
		"silence":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.serve("reg.example:443", h)
				ctx, cancel := context.WithTimeoutCause(w.ctx, 7*time.Second, gone)
				defer cancel()
				start := time.Now()
				_, err := w.client().Do(ctx, pull("reg.example", "/v2/a/b/x", "a/b"))
				if !errors.Is(err, gone) || time.Since(start) != 7*time.Second {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestLimits(t *testing.T) {
	play(t, func(w *world) {
		var now, most, large atomic.Int32
		w.serve("reg.example:443", func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/large" {
				large.Add(1)
			} else {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
			}
			time.Sleep(time.Second)
			ok(rw, r)
		})
		w.o.RequestsPerHost = 3
		if _, err := w.get("reg.example", "/v2/first"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for range 9 {
			wg.Go(func() { _, _ = w.get("reg.example", "/v2/small") })
			wg.Go(func() {
				r := pull("reg.example", "/v2/large", "a/b")
				r.Large = true
				_, _, _ = w.do(r)
			})
		}
		time.Sleep(500 * time.Millisecond)
		if large.Load() != 9 {
			t.Errorf("%d large requests were let through at once", large.Load())
		}
		wg.Wait()
		if most.Load() != 3 || time.Since(start) != 3*time.Second {
			t.Errorf("%d at a time, %v", most.Load(), time.Since(start))
		}
	})
}

func TestRate(t *testing.T) {
	play(t, func(w *world) {
		w.serve("reg.example:443", ok)
		w.o.RatePerHost = 2
		start := time.Now()
		for range 5 {
			if _, err := w.get("reg.example", "/v2/a/b/x"); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("5 requests at 2 a second took %v", d)
		}
	})
}
