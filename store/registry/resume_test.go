// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

const (
	size = 3 << 20
	half = 1 << 20
)

// takes lets the registry have that much of the body, and then cuts the
// connection. change may alter what arrives.
func (g *rig) takes(n int64, change func([]byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var buf bytes.Buffer
		_, _ = io.CopyN(&buf, r.Body, n)
		if change != nil {
			change(buf.Bytes())
		}
		r.Body = io.NopCloser(io.MultiReader(&buf, readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })))
		g.handler.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

// abandon begins an upload in a process that ends after half of it, and
// returns the file of the session.
func (g *rig) abandon(b oci.Blob, dir string, change func([]byte)) string {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	g.once(is("PUT", "/uploads/"), func(w http.ResponseWriter, r *http.Request) {
		defer cancel()
		g.takes(half, change)(w, r)
	})
	if _, err := g.repo("a", registry.Options{StateDir: dir}).Put(ctx, b); !errors.Is(err, context.Canceled) {
		g.t.Fatalf("put: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "uploads", "*"))
	if err != nil || len(files) != 1 || !strings.HasSuffix(files[0], ".json") {
		g.t.Fatalf("state: %q, %v", files, err)
	}
	g.forget()
	return files[0]
}

func wantNoState(t *testing.T, dir string) {
	t.Helper()
	if files, _ := filepath.Glob(filepath.Join(dir, "uploads", "*")); len(files) != 0 {
		t.Errorf("left behind: %q", files)
	}
}

func TestUploadGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	b := counted(layer(1, size))
	g.name("layer", b.Descriptor().Digest)
	g.once(is("PUT", "/uploads/"), g.takes(half, nil))
	wantPut(t, g.repo("a"), b, oci.Sent)
	g.want("HEAD a/blobs/layer", "POST a/blobs/uploads/", "PUT a/upload", "GET a/upload", fmt.Sprintf("PUT a/upload %d-%d", half, size-1))
	if b.opens.Load() != 1 || b.ranges.Load() != 1 {
		t.Errorf("opened %d times and %d times in the middle", b.opens.Load(), b.ranges.Load())
	}
	wantBytes(t, g.stored("a"), b)
}

// A blob that cannot be opened in its middle is read up to there.
func TestUploadGoesOnWithoutRanges(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	b := struct{ oci.Blob }{layer(1, size)}
	g.once(is("PUT", "/uploads/"), g.takes(half, nil))
	wantPut(t, g.repo("a"), b, oci.Sent)
	wantBytes(t, g.stored("a"), b)
}

func TestUploadGoesOnInAnotherProcess(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	dir := t.TempDir()
	b := counted(layer(1, size))
	file := g.abandon(b, dir, nil)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v", info.Mode(), err)
	}
	b = counted(layer(1, size))
	again := g.repo("a", registry.Options{StateDir: dir})
	if left := again.Left(t.Context(), b.Descriptor()); left != half {
		t.Errorf("the plan knows of %d bytes, want %d", left, half)
	}
	g.want("GET a/upload")
	wantPut(t, again, b, oci.Sent)
	g.want("GET a/upload", fmt.Sprintf("PUT a/upload %d-%d", half, size-1))
	if n := b.bytes.Load(); n != size-half || b.opens.Load() != 0 {
		t.Errorf("read %d bytes of the blob, want %d", n, size-half)
	}
	wantBytes(t, g.stored("a"), b)
	wantNoState(t, dir)
}

func TestSavedSessionsThatAreOfNoUse(t *testing.T) {
	t.Parallel()
	elsewhere := newRig(t, serve.Options{})
	saved := func(location string, began time.Time) []byte {
		raw, _ := json.Marshal(map[string]any{"location": location, "began": began})
		return raw
	}
	now := time.Now()
	b := layer(1, size)
	for name, c := range map[string]struct {
		state func(g *rig, old []byte) []byte
		asks  bool // for the state of the session
	}{
		"empty":    {state: func(*rig, []byte) []byte { return nil }},
		"garbage":  {state: func(*rig, []byte) []byte { return []byte("\x00{}") }},
		"no place": {state: func(*rig, []byte) []byte { return []byte("{}") }},
		"huge":     {state: func(_ *rig, old []byte) []byte { return append(old, bytes.Repeat([]byte(" "), 1<<20)...) }},
		"old": {state: func(g *rig, _ []byte) []byte {
			return saved(g.server.URL+"/v2/a/blobs/uploads/x", now.Add(-48*time.Hour))
		}},
		"future": {state: func(g *rig, _ []byte) []byte {
			return saved(g.server.URL+"/v2/a/blobs/uploads/x", now.Add(48*time.Hour))
		}},
		"relative": {state: func(*rig, []byte) []byte { return saved("/v2/a/blobs/uploads/x", now) }},
		"expired":  {asks: true, state: func(g *rig, _ []byte) []byte { return saved(g.server.URL+"/v2/a/blobs/uploads/x", now) }},
		"elsewhere": {state: func(*rig, []byte) []byte {
			return saved("http://localhost:"+port(elsewhere)+"/v2/a/blobs/uploads/x", now)
		}},
		"file":     {state: func(*rig, []byte) []byte { return saved("file:///etc/passwd", now) }},
		"password": {state: func(*rig, []byte) []byte { return saved("http://u:p@"+elsewhere.host()+"/", now) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, dir := newRig(t, serve.Options{}), t.TempDir()
			file := g.abandon(b, dir, nil)
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.state(g, old), 0o600); err != nil {
				t.Fatal(err)
			}
			wantPut(t, g.repo("a", registry.Options{StateDir: dir}), b, oci.Sent)
			if asked := g.count("GET a/upload") > 0; asked != c.asks {
				t.Errorf("requests: %q", g.requests())
			}
			wantBytes(t, g.stored("a"), b)
			wantNoState(t, dir)
		})
	}
	t.Cleanup(func() { elsewhere.want() })
}

func port(g *rig) string { return g.host()[strings.LastIndexByte(g.host(), ':')+1:] }

// The blob was complete when the process before was killed.
func TestSavedSessionOfACompleteUpload(t *testing.T) {
	t.Parallel()
	g, dir := newRig(t, serve.Options{}), t.TempDir()
	b := layer(1, size)
	g.name("layer", b.Descriptor().Digest)
	file := g.abandon(b, dir, nil)
	state, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantPut(t, g.repo("a", registry.Options{StateDir: dir}), b, oci.Sent)
	if err := os.WriteFile(file, state, 0o600); err != nil {
		t.Fatal(err)
	}
	g.forget()
	wantPut(t, g.repo("a", registry.Options{StateDir: dir}), b, oci.Existed)
	g.want("GET a/upload", "HEAD a/blobs/layer")
	wantNoState(t, dir)
}

// The registry has stored the blob, but its answer was lost.
func TestUploadWithALostAnswer(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	b := layer(1, size)
	g.name("layer", b.Descriptor().Digest)
	g.once(is("PUT", "/uploads/"), func(_ http.ResponseWriter, r *http.Request) {
		g.handler.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	wantPut(t, g.repo("a"), b, oci.Sent)
	g.want("HEAD a/blobs/layer", "POST a/blobs/uploads/", "PUT a/upload", "GET a/upload", "HEAD a/blobs/layer")
}

func TestTwoProcessesUploadOneBlob(t *testing.T) {
	t.Parallel()
	g, dir := newRig(t, serve.Options{}), t.TempDir()
	b := layer(1, size)
	arrived, proceed := make(chan bool), make(chan bool)
	g.once(is("PUT", "/uploads/"), func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-proceed
		g.handler.ServeHTTP(w, r)
	})
	first := make(chan error, 1)
	one, two := g.repo("a", registry.Options{StateDir: dir}), g.repo("a", registry.Options{StateDir: dir})
	go func() {
		_, err := one.Put(t.Context(), b)
		first <- err
	}()
	<-arrived
	wantPut(t, two, b, oci.Sent) // in a session of its own
	close(proceed)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if n := g.count("POST"); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	wantBytes(t, g.stored("a"), b)
	wantNoState(t, dir)
}

func TestUploadWhoseBeginningIsWrong(t *testing.T) {
	t.Parallel()
	flip := func(b []byte) { b[0] ^= 1 }
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, serve.Options{})
		b := counted(layer(1, size))
		g.once(is("PUT", "/uploads/"), g.takes(half, flip))
		wantPut(t, g.repo("a"), b, oci.Sent)
		if g.count("POST") != 2 || g.count("PUT") != 3 {
			t.Errorf("requests: %q", g.requests())
		}
		wantBytes(t, g.stored("a"), b)
	})
	t.Run("in another process", func(t *testing.T) {
		t.Parallel()
		g, dir := newRig(t, serve.Options{}), t.TempDir()
		b := layer(1, size)
		g.abandon(b, dir, flip)
		wantPut(t, g.repo("a", registry.Options{StateDir: dir}), b, oci.Sent)
		if g.count("POST") != 1 || g.count("PUT") != 2 {
			t.Errorf("requests: %q", g.requests())
		}
		wantBytes(t, g.stored("a"), b)
		wantNoState(t, dir)
	})
	t.Run("always", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, serve.Options{})
		g.on(func(w http.ResponseWriter, r *http.Request) bool {
			if is("PUT", "/uploads/")(r) && r.Header.Get("Content-Range") == "" {
				g.takes(half, flip)(w, r)
			}
			return false
		})
		_, err := g.repo("a").Put(t.Context(), layer(1, size))
		wantErr(t, err, oci.ErrCorrupt)
		wantAbsent(t, g.stored("a"), layer(1, size).Descriptor())
	})
}

// The source's streams outlive single chunks and are gone on with.
func TestUploadInChunksFromARegistry(t *testing.T) {
	t.Parallel()
	from, to := newRig(t, serve.Options{}), newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 300_000}})
	b := layer(1, size)
	from.push("a", ocitest.Fixture{Blobs: []oci.Blob{b}})
	var chunks int
	to.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PATCH" {
			if chunks++; chunks == 3 {
				cut(w, r)
			}
		}
		return false
	})
	wantPut(t, to.repo("a", registry.Options{ChunkSize: 1 << 20}), oci.From(from.repo("a"), b.Descriptor()), oci.Sent)
	wantBytes(t, to.stored("a"), b)
}

// A host that refuses a large body gets chunks from then on, as small as it
// needs them.
func TestUploadTooLarge(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 300_000}})
	c := g.client(registry.Options{ChunkSize: 1 << 20})
	a := repo(t, c, "a")
	wantPut(t, a, layer(1, size), oci.Sent)
	wantBytes(t, g.stored("a"), layer(1, size))
	g.forget()
	m := layer(2, 400_000)
	g.name("other", m.Descriptor().Digest)
	wantPut(t, repo(t, c, "b"), m, oci.Sent)
	g.want("HEAD b/blobs/other", "POST b/blobs/uploads/", "PATCH b/upload 0-262143", "PATCH b/upload 262144-399999", "PUT b/upload")
}

func TestUploadTooLargeInAnyForm(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 10}})
	_, err := g.repo("a").Put(t.Context(), layer(1, 1_000_000))
	wantErr(t, err, oci.ErrInvalid)
	g = newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 100_000, ChunkMinLength: 200_000}})
	_, err = g.repo("a").Put(t.Context(), layer(1, 1_000_000))
	wantErr(t, err, oci.ErrInvalid)
}

func TestUploadInLongChunks(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 5000, ChunkMinLength: 5000}})
	b := layer(1, 10_005)
	g.name("layer", b.Descriptor().Digest)
	wantPut(t, g.repo("a", registry.Options{ChunkSize: 3000}), b, oci.Sent)
	g.want("HEAD a/blobs/layer", "POST a/blobs/uploads/", "PUT a/upload", "GET a/upload",
		"PATCH a/upload 0-4999", "PATCH a/upload 5000-9999", "PUT a/upload 10000-10004")
}
