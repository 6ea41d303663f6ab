// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

// changed lets the registry answer, and changes the answer.
func (g *rig) changed(change func(h http.Header) int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		g.handler.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		status := change(w.Header())
		if status == 0 {
			status = rec.Code
		}
		w.WriteHeader(status)
	}
}

func (g *rig) always(match func(*http.Request) bool, f http.HandlerFunc) {
	g.on(func(w http.ResponseWriter, r *http.Request) bool {
		if match(r) {
			f(w, r)
			return true
		}
		return false
	})
}

func TestBad_034_LocationElsewhere(t *testing.T) {
	t.Parallel()
	other := newRig(t, serve.Options{})
	evil := "http://localhost:" + port(other) + "/v2/a/blobs/uploads/x"
	for name, c := range map[string]struct {
		match func(*http.Request) bool
		to    string
		quirk serve.Quirks
		fine  bool // the session's own place is known and stays
	}{
		"start":   {match: is("POST", "/uploads/"), to: evil},
		"scheme":  {match: is("POST", "/uploads/"), to: "file:///etc/passwd"},
		"user":    {match: is("POST", "/uploads/"), to: "http://u:p@" + other.host() + "/"},
		"private": {match: is("POST", "/uploads/"), to: "http://169.254.169.254/latest"},
		"patch":   {match: is("PATCH", "/uploads/"), to: evil, quirk: serve.Quirks{MaxBody: 100_000}},
		"status":  {match: is("GET", "/uploads/"), to: evil, quirk: serve.Quirks{MaxBody: 100_000}, fine: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{Quirks: c.quirk})
			g.always(c.match, g.changed(func(h http.Header) int { h.Set("Location", c.to); return 0 }))
			b := layer(1, 300_000)
			_, err := g.repo("a", registry.Options{ChunkSize: 80_000}).Put(t.Context(), b)
			if c.fine {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantErr(t, err, oci.ErrDenied)
			wantAbsent(t, g.stored("a"), b.Descriptor())
			_, err = g.repo("b").Put(t.Context(), b, "no/such")
			if name != "patch" {
				wantErr(t, err, oci.ErrDenied)
			}
		})
	}
	t.Cleanup(func() { other.want() })
}

func TestBad_050_MountAnswers(t *testing.T) {
	t.Parallel()
	mount := func(r *http.Request) bool { return r.URL.Query().Has("mount") }
	b := layer(1, 1000)
	for name, c := range map[string]struct {
		answer func(g *rig) http.HandlerFunc
		want   []string
	}{
		"202 without Location": {func(g *rig) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }
		},
			[]string{"POST b/blobs/uploads/?from=a&mount=layer", "POST b/blobs/uploads/", "PUT b/upload"}},
		"202 elsewhere": {func(g *rig) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://localhost:1/")
				w.WriteHeader(202)
			}
		}, []string{"POST b/blobs/uploads/?from=a&mount=layer", "POST b/blobs/uploads/", "PUT b/upload"}},
		"202": {func(g *rig) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				r.URL.RawQuery = ""
				g.handler.ServeHTTP(w, r)
			}
		}, []string{"POST b/blobs/uploads/?from=a&mount=layer", "PUT b/upload"}},
		"405": {func(g *rig) http.HandlerFunc { return fails(405, "UNSUPPORTED") },
			[]string{"POST b/blobs/uploads/?from=a&mount=layer", "POST b/blobs/uploads/", "PUT b/upload"}},
		"404": {func(g *rig) http.HandlerFunc { return fails(404, "NAME_UNKNOWN") },
			[]string{"POST b/blobs/uploads/?from=a&mount=layer", "POST b/blobs/uploads/", "PUT b/upload"}},
		"403": {func(g *rig) http.HandlerFunc { return fails(403, "DENIED") },
			[]string{"POST b/blobs/uploads/?from=a&mount=layer", "POST b/blobs/uploads/", "PUT b/upload"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			g.name("layer", b.Descriptor().Digest)
			g.push("a", ocitest.Fixture{Blobs: []oci.Blob{b}})
			g.always(mount, c.answer(g))
			wantPut(t, g.repo("b"), b, oci.Sent, "a")
			g.want(c.want...)
			wantBytes(t, g.stored("b"), b)
		})
	}
}

// A registry that does not mount at all is not asked again.
func TestBad_050_MountsAreGivenUp(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	g.always(func(r *http.Request) bool { return r.URL.Query().Has("mount") }, fails(405, "UNSUPPORTED"))
	b := g.repo("b")
	wantPut(t, b, layer(1, 10), oci.Sent, "a")
	wantPut(t, b, layer(2, 10), oci.Sent, "a", "c")
	if n := g.count("POST b/blobs/uploads/?"); n != 1 {
		t.Errorf("asked %d times to mount", n)
	}
	_, err := b.Put(t.Context(), layer(3, 10), "../x", "A", "") // names that cannot be
	if err != nil {
		t.Error(err)
	}
}

// The registry says to have mounted what is not there. That shows when it
// refuses the manifest, and the blob is sent then.
func TestBad_050_MountOfNothing(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	g.always(func(r *http.Request) bool { return r.URL.Query().Has("mount") },
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) })
	b := g.repo("b")
	wantPut(t, b, f.Layers()[0], oci.Mounted, "a")
	wantPut(t, b, f.Blobs[0], oci.Sent)
	wantErr(t, b.Publish(t.Context(), f.Blob(f.Root.Digest), "v1"), oci.ErrNotFound)
	g.forget()
	wantPut(t, b, f.Layers()[0], oci.Sent, "a")
	wantPut(t, b, f.Blobs[0], oci.Existed)
	g.want("HEAD b/blobs/layer", "POST b/blobs/uploads/", "PUT b/upload", "HEAD b/blobs/config")
	if err := b.Publish(t.Context(), f.Blob(f.Root.Digest), "v1"); err != nil {
		t.Error(err)
	}
	wantBytes(t, g.stored("b"), f.Layers()[0])
}

func TestBad_051_Chunks(t *testing.T) {
	t.Parallel()
	b := layer(1, 400_000)
	once := func(h func(http.Header) int) func(g *rig) http.HandlerFunc {
		return func(g *rig) http.HandlerFunc { return g.changed(h) }
	}
	for name, c := range map[string]struct {
		match  func(*http.Request) bool
		answer func(g *rig) http.HandlerFunc
	}{
		"smaller range": {is("PATCH", ""), once(func(h http.Header) int { h.Set("Range", "0-10"); return 0 })},
		"greater range": {is("PATCH", ""), once(func(h http.Header) int { h.Set("Range", "0-399999"); return 0 })},
		"no range":      {is("PATCH", ""), once(func(h http.Header) int { h.Del("Range"); return 0 })},
		"bad range":     {is("PATCH", ""), once(func(h http.Header) int { h.Set("Range", "5-1"); return 0 })},
		"no location":   {is("PATCH", ""), once(func(h http.Header) int { h.Del("Location"); return 0 })},
		"416":           {is("PATCH", ""), once(func(h http.Header) int { return 416 })}, // but it has it
		"416 and lost":  {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(416, "BLOB_UPLOAD_INVALID") }},
		"400":           {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(400, "BLOB_UPLOAD_INVALID") }},
		"500":           {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(500, "UNKNOWN") }},
		"forgotten": {is("PATCH", ""), func(g *rig) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				r.Method = "DELETE"
				g.handler.ServeHTTP(httptest.NewRecorder(), r)
				fails(404, "BLOB_UPLOAD_UNKNOWN")(w, r)
			}
		}},
		"status greater": {is("GET", "/uploads/"), once(func(h http.Header) int { h.Set("Range", "0-199999"); return 0 })},
		"status beyond":  {is("GET", "/uploads/"), once(func(h http.Header) int { h.Set("Range", "0-9223372036854775807"); return 0 })},
		"status 404":     {is("GET", "/uploads/"), func(*rig) http.HandlerFunc { return fails(404, "BLOB_UPLOAD_UNKNOWN") }},
		"no least":       {is("POST", ""), once(func(h http.Header) int { h.Set("OCI-Chunk-Min-Length", "-1"); return 0 })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 100_000}})
			g.once(c.match, c.answer(g))
			wantPut(t, g.repo("a", registry.Options{ChunkSize: 100_000}), b, oci.Sent)
			wantBytes(t, g.stored("a"), b)
		})
	}
}

// A least length of any size neither takes memory nor overflows.
func TestBad_051_ChunkMinLength(t *testing.T) {
	t.Parallel()
	for _, least := range []string{"10737418240", "9223372036854775807", "99999999999999999999", "x"} {
		g := newRig(t, serve.Options{})
		g.always(is("POST", ""), g.changed(func(h http.Header) int { h.Set("OCI-Chunk-Min-Length", least); return 0 }))
		g2 := g.handler
		var refused atomic.Bool
		g.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "PUT" && refused.CompareAndSwap(false, true) {
				fails(413, "SIZE_INVALID")(w, r)
				return
			}
			g2.ServeHTTP(w, r)
		})
		wantPut(t, g.repo("a", registry.Options{ChunkSize: 70_000}), layer(1, 200_000), oci.Sent)
		wantBytes(t, g.stored("a"), layer(1, 200_000))
	}
}

// A registry that never gets on is given up.
func TestBad_051_NoProgress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		match  func(*http.Request) bool
		answer func(g *rig) http.HandlerFunc
		kind   error
	}{
		"always 416":    {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(416, "BLOB_UPLOAD_INVALID") }, oci.ErrInvalid},
		"always 404":    {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(404, "BLOB_UPLOAD_UNKNOWN") }, oci.ErrNotFound},
		"always 400":    {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(400, "BLOB_UPLOAD_INVALID") }, oci.ErrInvalid},
		"always 503":    {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(503, "UNKNOWN") }, oci.ErrBusy},
		"always cut":    {is("PATCH", ""), func(*rig) http.HandlerFunc { return cut }, oci.ErrBusy},
		"takes nothing": {is("PATCH", ""), func(*rig) http.HandlerFunc { return accepted("0-0") }, oci.ErrBusy},
		"takes a byte":  {is("PATCH", ""), func(*rig) http.HandlerFunc { return accepted("0-1") }, oci.ErrBusy},
		"rolls back": {is("GET", "/uploads/"), func(g *rig) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Range", "0-0")
				w.WriteHeader(204)
			}
		}, oci.ErrInvalid},
		"loses all": {func(r *http.Request) bool { return is("GET", "/uploads/")(r) || r.Method == "PATCH" },
			func(*rig) http.HandlerFunc { return fails(404, "BLOB_UPLOAD_UNKNOWN") }, oci.ErrBusy},
		"denies": {is("PATCH", ""), func(*rig) http.HandlerFunc { return fails(403, "DENIED") }, oci.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{Quirks: serve.Quirks{MaxBody: 100_000}})
			answer := c.answer(g)
			g.always(c.match, answer)
			if name == "rolls back" {
				var n atomic.Int64
				g.on(func(w http.ResponseWriter, r *http.Request) bool {
					switch {
					case c.match(r):
						answer(w, r)
						return true
					case r.Method == "PATCH" && n.Add(1)%2 == 0:
						cut(w, r)
					}
					return false
				})
			}
			_, err := g.repo("a", registry.Options{ChunkSize: 100_000}).Put(t.Context(), layer(1, 400_000))
			wantErr(t, err, c.kind)
			if n := len(g.requests()); n > 100 {
				t.Errorf("%d requests", n)
			}
			wantAbsent(t, g.stored("a"), layer(1, 400_000).Descriptor())
		})
	}
}

func accepted(has string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Range", has)
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(202)
	}
}

// The registry says to have a blob, and then that it has not.
func TestBad_052_BlobUnknown(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	l := f.Layers()[0]
	g.always(is("HEAD", "/blobs/"+string(l.Descriptor().Digest)), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2560")
	})
	a := g.repo("a")
	for _, b := range f.Blobs[:2] {
		if _, err := a.Put(t.Context(), b); err != nil {
			t.Error(err)
		}
	}
	if n := g.count("PUT"); n != 1 {
		t.Fatalf("requests: %q", g.requests())
	}
	err := a.Publish(t.Context(), f.Blob(f.Root.Digest), "v1")
	wantErr(t, err, oci.ErrNotFound)
	if !strings.Contains(err.Error(), "MANIFEST_BLOB_UNKNOWN") {
		t.Error(err)
	}
	g.forget()
	wantPut(t, a, l, oci.Sent)             // HEAD would say yes again
	wantPut(t, a, f.Blobs[0], oci.Existed) // asked, and it is there
	g.want("POST a/blobs/uploads/", "PUT a/upload", "HEAD a/blobs/config")
	if err := a.Publish(t.Context(), f.Blob(f.Root.Digest), "v1"); err != nil {
		t.Error(err)
	}
}

// The registry drops a blob that was sent before the manifest comes.
func TestBad_052_CollectedMeanwhile(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	a := g.repo("a")
	for _, b := range f.Blobs[:2] {
		wantPut(t, a, b, oci.Sent)
	}
	l := f.Layers()[0]
	if err := g.stored("a").(oci.Deleter).Delete(t.Context(), l.Descriptor()); err != nil {
		t.Fatal(err)
	}
	_, err := a.Put(t.Context(), f.Blob(f.Root.Digest))
	wantErr(t, err, oci.ErrNotFound)
	g.forget()
	wantPut(t, a, l, oci.Sent)
	g.want("HEAD a/blobs/layer", "POST a/blobs/uploads/", "PUT a/upload")
	wantPut(t, a, f.Blob(f.Root.Digest), oci.Sent)
}

// A stump under the digest of a blob is not taken for the blob.
func TestBad_083_BlobOfAnotherSize(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	g.always(is("HEAD", "/blobs/"), func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "10") })
	wantPut(t, g.repo("a"), layer(1, 1000), oci.Sent)
	_, err := g.repo("a").Stat(t.Context(), layer(1, 1000).Descriptor())
	wantErr(t, err, oci.ErrCorrupt)
}

func TestPutEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"HEAD", "POST", "PUT", "GET"} {
		g := newRig(t, serve.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		g.on(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" && part == "GET" {
				cut(w, r)
			}
			if r.Method == part {
				cancel()
				_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
				<-r.Context().Done()
				cut(w, r)
			}
			return false
		})
		if _, err := g.repo("a").Put(ctx, layer(1, 100_000)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", part, err)
		}
		cancel()
	}
}
