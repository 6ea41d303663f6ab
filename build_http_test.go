// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A connection from which nothing comes ends, however slowly it came before.
func TestImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		c := &impatient{here}
		go func() {
			for range 5 {
				time.Sleep(maxSilence * 9 / 10)
				_, _ = there.Write([]byte("x"))
			}
		}()
		p := make([]byte, 10)
		for range 5 {
			if n, err := c.Read(p); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		start := time.Now()
		if _, err := c.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != maxSilence {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// Bytes come as the server sends them, and without anybody's credentials.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization")+r.Header.Get("Cookie")+r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%v", r.Header)
		}
		if r.URL.Path == "/again" {
			http.Redirect(w, r, "/again", http.StatusFound)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("\x1f\x8b as it is"))
	}))
	defer s.Close()
	c := New(Env{})
	defer c.Close()
	h := c.plainHTTP()
	resp, err := h.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if n, _ := resp.Body.Read(p); string(p[:n]) != "\x1f\x8b as it is" {
		t.Errorf("%q", p[:n])
	}
	resp.Body.Close()
	if resp, err := h.Get(s.URL + "/again"); err == nil {
		resp.Body.Close()
		t.Error("it goes round in circles")
	}
}
