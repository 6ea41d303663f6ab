// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/serve"
)

// told is what Stream is told at the end.
func told(d oci.Descriptor) func() (oci.Descriptor, error) {
	return func() (oci.Descriptor, error) { return d, nil }
}

// stream streams a blob as it is.
func stream(t *testing.T, s oci.Streamer, b oci.Blob) error {
	t.Helper()
	return s.Stream(t.Context(), bytes.NewReader(contents(t, b)), told(b.Descriptor()))
}

func TestRequestsOfStream(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	a, b := g.repo("a"), layer(1, 1_000_000)
	var chunked atomic.Bool
	g.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PATCH" {
			chunked.Store(r.ContentLength == -1 && len(r.TransferEncoding) == 1 && r.Header.Get("Content-Length") == "")
		}
		return false
	})
	if err := stream(t, a, b); err != nil || !chunked.Load() {
		t.Errorf("%v; chunked %v", err, chunked.Load())
	}
	g.want("POST a/blobs/uploads/", "PATCH a/upload", "PUT a/upload")
	if _, err := a.Stat(t.Context(), b.Descriptor()); err != nil {
		t.Error(err)
	}
	wantPut(t, a, b, oci.Existed)
	g.want()
	wantBytes(t, g.stored("a"), b)
}

// What is made goes on its way before the rest is made.
func TestStreamWhileItIsMade(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	arrived := make(chan struct{})
	var once sync.Once
	g.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if body := r.Body; r.Method == "PATCH" {
			r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
				n, err := body.Read(p)
				if n > 0 {
					once.Do(func() { close(arrived) })
				}
				return n, err
			}))
		}
		return false
	})
	b := layer(1, 100_000)
	raw := contents(t, b)
	rest := readerFunc(func([]byte) (int, error) { <-arrived; return 0, io.EOF })
	r := io.MultiReader(bytes.NewReader(raw[:10]), rest, bytes.NewReader(raw[10:]))
	if err := g.repo("a").Stream(t.Context(), r, told(b.Descriptor())); err != nil {
		t.Error(err)
	}
	wantBytes(t, g.stored("a"), b)
}

func TestStreamNeedsOneToken(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{Quirks: serve.Quirks{Bearer: &serve.Bearer{User: "u", Password: "secret"}}})
	a := repo(t, g.clientOver(login), "a").ForWriting()
	b := layer(1, 300_000)
	if err := stream(t, a, b); err != nil {
		t.Error(err)
	}
	g.want("POST a/blobs/uploads/", "GET /token?scope=repository%3Aa%3Apull%2Cpush&service=registry",
		"POST a/blobs/uploads/", "PATCH a/upload", "PUT a/upload")
	wantBytes(t, g.stored("a"), b)
}

var login = transport.Options{Attempts: 2, Credentials: func(context.Context, string, string) (transport.Credential, error) {
	return transport.Credential{Username: "u", Password: "secret"}, nil
}}

// A stream cannot be sent again, so a refusal is final; the session is given
// back, and the blob can be put.
func TestStreamFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	b, other := layer(1, 300_000), layer(2, 300_000)
	short := b.Descriptor()
	short.Size--
	for name, c := range map[string]struct {
		r     func(raw []byte) io.Reader
		ended func() (oci.Descriptor, error)
		match func(*http.Request) bool
		f     http.HandlerFunc
		want  error
	}{
		"another digest": {ended: told(other.Descriptor()), want: oci.ErrCorrupt},
		"another size":   {ended: told(short), want: oci.ErrCorrupt},
		"no digest":      {ended: told(oci.Descriptor{Size: 300_000}), want: oci.ErrInvalid},
		"nothing is told": {ended: func() (oci.Descriptor, error) { return oci.Descriptor{}, boom },
			want: boom},
		"reader": {r: func(raw []byte) io.Reader {
			return io.MultiReader(bytes.NewReader(raw[:200_000]), iotest.ErrReader(boom))
		}, want: boom},
		"401":           {match: is("PATCH", ""), f: fails(401, "UNAUTHORIZED"), want: oci.ErrUnauthorized},
		"403":           {match: is("PATCH", ""), f: fails(403, "DENIED"), want: oci.ErrDenied},
		"500":           {match: is("PATCH", ""), f: fails(500, "UNKNOWN"), want: oci.ErrBusy},
		"cut":           {match: is("PATCH", ""), f: cut, want: oci.ErrBusy},
		"answers early": {match: is("PATCH", ""), f: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, want: oci.ErrBusy},
		"PUT 403":       {match: is("PUT", ""), f: fails(403, "DENIED"), want: oci.ErrDenied},
		"other digest": {match: is("PUT", ""), f: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", string(other.Descriptor().Digest))
			w.WriteHeader(201)
		}, want: oci.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			if c.match != nil {
				g.always(c.match, c.f)
			}
			raw, ended := contents(t, b), told(b.Descriptor())
			var r io.Reader = endlessly(raw)
			if c.match == nil || name[:3] == "PUT" || name == "other digest" {
				r = bytes.NewReader(raw)
			}
			if c.r != nil {
				r = c.r(raw)
			}
			if c.ended != nil {
				ended = c.ended
			}
			a := g.repo("a")
			wantErr(t, a.Stream(t.Context(), r, ended), c.want)
			if n := g.count("DELETE a/upload"); n != 1 {
				t.Errorf("%d sessions were given back: %q", n, g.requests())
			}
			if n := g.count("PATCH"); n > 1 { // not one, if the reader failed before it was on its way
				t.Errorf("sent %d times", n)
			}
			g.on(nil)
			wantAbsent(t, g.stored("a"), b.Descriptor())
			wantAbsent(t, g.stored("a"), other.Descriptor())
			wantPut(t, a, b, oci.Sent)
			wantBytes(t, g.stored("a"), b)
		})
	}
}

// endlessly repeats the bytes for ever.
func endlessly(raw []byte) io.Reader {
	return readerFunc(func(p []byte) (int, error) { return copy(p, raw), nil })
}

// An answer while the reader has nothing to give must not wait for it.
func TestStreamIsRefusedEarly(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]http.HandlerFunc{"403": fails(403, "DENIED"), "500": fails(500, "UNKNOWN")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			g.always(is("PATCH", ""), func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil { // else Go's server waits for the body
					t.Error(err)
				}
				f(w, r)
				w.(http.Flusher).Flush()
			})
			release := make(chan struct{})
			r := io.MultiReader(strings.NewReader("some bytes"), readerFunc(func([]byte) (int, error) { <-release; return 0, io.EOF }))
			err := g.repo("a").Stream(t.Context(), r, told(oci.Descriptor{}))
			close(release)
			if err == nil {
				t.Error("no error")
			}
			if n := g.count("DELETE"); n != 1 {
				t.Errorf("%q", g.requests())
			}
		})
	}
}

func TestStreamIsCancelled(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	release := make(chan struct{})
	r := io.MultiReader(bytes.NewReader(make([]byte, 200_000)), readerFunc(func([]byte) (int, error) {
		cancel(stop)
		<-release // it does not notice
		return 0, io.EOF
	}))
	wantErr(t, g.repo("a").Stream(ctx, r, told(layer(1, 1).Descriptor())), stop)
	close(release)
	if n := g.count("DELETE a/upload"); n != 1 {
		t.Errorf("%q", g.requests())
	}
	wantErr(t, g.repo("a").Stream(ctx, nil, nil), stop)
}

// Registries that want to know the length beforehand are not asked twice.
func TestStreamUnsupported(t *testing.T) {
	t.Parallel()
	for status, again := range map[int]bool{404: true, 416: true, 405: false, 411: false, 413: false, 501: false} {
		g := newRig(t, serve.Options{})
		g.always(func(r *http.Request) bool { return r.Method == "PATCH" && r.ContentLength < 0 }, fails(status, "UNSUPPORTED"))
		a, b := g.repo("a"), layer(1, 300_000)
		wantErr(t, stream(t, a, b), oci.ErrUnsupported)
		g.want("POST a/blobs/uploads/", "PATCH a/upload", "DELETE a/upload")
		wantErr(t, stream(t, a, b), oci.ErrUnsupported)
		if n := len(g.requests()); (n > 0) != again {
			t.Errorf("%d: %d requests of the second one", status, n)
		}
		wantPut(t, a, b, oci.Sent)
	}
}

// The answer to the PUT is lost, or comes late.
func TestStreamEndsAgain(t *testing.T) {
	t.Parallel()
	b := layer(1, 300_000)
	for name, c := range map[string]struct {
		f    func(g *rig) http.HandlerFunc
		want []string
	}{
		"503": {func(*rig) http.HandlerFunc { return fails(503, "UNAVAILABLE") }, []string{"GET a/upload", "PUT a/upload"}},
		"cut": {func(*rig) http.HandlerFunc { return cut }, []string{"GET a/upload", "PUT a/upload"}},
		"cut after it": {func(g *rig) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				g.handler.ServeHTTP(httptest.NewRecorder(), r)
				cut(w, r)
			}
		}, []string{"GET a/upload", "HEAD a/blobs/blob"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			g.name("blob", b.Descriptor().Digest)
			g.once(is("PUT", ""), c.f(g))
			if err := stream(t, g.repo("a"), b); err != nil {
				t.Error(err)
			}
			g.want(append([]string{"POST a/blobs/uploads/", "PATCH a/upload", "PUT a/upload"}, c.want...)...)
			wantBytes(t, g.stored("a"), b)
		})
	}
}

// The session is lost after the last byte. The stream cannot be sent again.
func TestBad_051_StreamSessionIsLost(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	g.once(is("PUT", ""), func(w http.ResponseWriter, r *http.Request) {
		r.Method = "DELETE"
		g.handler.ServeHTTP(httptest.NewRecorder(), r)
		fails(404, "BLOB_UPLOAD_UNKNOWN")(w, r)
	})
	a, b := g.repo("a"), layer(1, 300_000)
	if err := stream(t, a, b); err == nil {
		t.Error("no error")
	}
	if n := g.count("PATCH"); n != 1 {
		t.Errorf("%q", g.requests())
	}
	wantAbsent(t, g.stored("a"), b.Descriptor())
	wantPut(t, a, b, oci.Sent)
}

func TestBad_051_StreamRange(t *testing.T) {
	t.Parallel()
	b := layer(1, 300_000)
	for value, good := range map[string]bool{"0-299999": true, "": true, "0-299998": false, "0-300000": false, "x": false} {
		g := newRig(t, serve.Options{})
		g.always(is("PATCH", ""), g.changed(func(h http.Header) int {
			if h.Set("Range", value); value == "" {
				h.Del("Range")
			}
			return 0
		}))
		a := g.repo("a")
		if err := stream(t, a, b); (err == nil) != good {
			t.Errorf("range %q: %v", value, err)
		}
		g.on(nil)
		wantPut(t, a, b, map[bool]oci.How{true: oci.Existed, false: oci.Sent}[good])
	}
}

func TestBad_034_StreamLocationElsewhere(t *testing.T) {
	t.Parallel()
	other := newRig(t, serve.Options{})
	b := layer(1, 300_000)
	for name, c := range map[string]struct {
		method, to string
		good       bool
	}{
		"start elsewhere": {"POST", "http://localhost:" + port(other) + "/v2/a/blobs/uploads/x", false},
		"then elsewhere":  {"PATCH", "http://localhost:" + port(other) + "/v2/a/blobs/uploads/x", false},
		"a file":          {"PATCH", "file:///etc/passwd", false},
		"none":            {"PATCH", "", true},
		"relative":        {"PATCH", "?state=1&x=%2f", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			g.always(is(c.method, ""), g.changed(func(h http.Header) int {
				if h.Set("Location", c.to); c.to == "" {
					h.Del("Location")
				}
				return 0
			}))
			err := stream(t, g.repo("a"), b)
			if c.good && err != nil {
				t.Error(err)
			}
			if !c.good {
				wantErr(t, err, oci.ErrDenied)
				wantAbsent(t, g.stored("a"), b.Descriptor())
			}
			if name == "relative" && g.count("PUT a/upload?state=1&x=%2F") != 1 {
				t.Errorf("%q", g.requests())
			}
		})
	}
	t.Cleanup(func() { other.want() })
}

// Another port of the registry's own host may take the upload, without
// credentials.
func TestBad_034_StreamCredentialsStayAtHome(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{Quirks: serve.Quirks{Bearer: &serve.Bearer{User: "u", Password: "secret"}}})
	var told atomic.Int64
	away := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			told.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "/v2/a/blobs/uploads/x")
		w.WriteHeader(map[string]int{"PATCH": 202, "PUT": 201}[r.Method])
	})
	g.always(func(r *http.Request) bool { return r.Method == "POST" && r.Header.Get("Authorization") != "" }, g.changed(func(h http.Header) int {
		h.Set("Location", "http://"+away.host()+"/v2/a/blobs/uploads/x")
		return 0
	}))
	if err := stream(t, repo(t, g.clientOver(login), "a"), layer(1, 300_000)); err != nil {
		t.Error(err)
	}
	away.want("PATCH a/upload", "PUT a/upload")
	if told.Load() != 0 {
		t.Error("another port was told the credentials")
	}
}

// A session that has moved on during half a request is found before it is given
// back.
func TestStreamGivesBackWhatMovedOn(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	var deletes, gets atomic.Int32
	g.on(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == "GET" && strings.Contains(r.URL.Path, "/blobs/uploads/"):
			gets.Add(1)
		case r.Method == "DELETE" && deletes.Add(1) == 1:
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}
		return false
	})
	bad := errors.New("bad")
	err := g.repo("a").Stream(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(bad)), told(oci.Descriptor{}))
	if !errors.Is(err, bad) || deletes.Load() != 2 || gets.Load() != 1 {
		t.Errorf("%v; %d DELETE, %d GET", err, deletes.Load(), gets.Load())
	}
}
