// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

func TestBad_105_Paths(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	d := string(digest.FromString(""))
	for _, name := range []string{"A/B", "a//b", "", "a/", "/a", "..", "a/../b", "./a", "a/.", "x/blobs/uploads", "x/manifests/y", "a/blobs/sha256",
		"x/tags/list", "x/tags/list/y", "x/blobs/uploads/y", "x/referrers/y", "a_", "a b", "a\\b", "ä", "a:b", "a@b", "a/manifests/b/manifests/c",
		"manifests/a/manifests/b", strings.Repeat("a", 256)} {
		for _, end := range []string{"/manifests/v1", "/blobs/" + d, "/tags/list", "/referrers/" + d} {
			path := strings.ReplaceAll(strings.ReplaceAll("/v2/"+name+end, " ", "%20"), "ä", "%C3%A4")
			if got := r.do("GET", path, ""); got.StatusCode != 400 || !strings.Contains(got.body, "NAME_INVALID") {
				t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
			}
		}
		r.do("POST", strings.ReplaceAll(strings.ReplaceAll("/v2/"+name+"/blobs/uploads/", " ", "%20"), "ä", "%C3%A4"), "").code(400, "NAME_INVALID")
	}
	for _, path := range []string{"/v2/a%2fb/tags/list", "/v2/a%2Fb/tags/list", "/v2/%2e%2e/tags/list", "/v2/a/%2E%2E/b/manifests/v1",
		"/v2/a%5cb/tags/list", "/v2/a%252fb/tags/list", "/v2/a%00b/tags/list"} {
		r.do("GET", path, "").code(400, "NAME_INVALID")
	}
	r.do("GET", "/v2/a/blobs/..", "").code(400, "DIGEST_INVALID")
	r.do("GET", "/v2/a/manifests/..", "").code(400, "TAG_INVALID")
	r.do("GET", "/v2/a/blobs/uploads/..", "").status(404)
	r.push("a", ocitest.Image(1, 1, 10))
	r.do("GET", strings.Replace(blobPath("a", ocitest.Image(1, 1, 10).Layers()[0].Descriptor().Digest), ":", "%3A", 1), "").status(200) // some clients do
	for _, name := range []string{"manifests", "blobs", "tags/list2", "a/uploads", "x/manifests", strings.Repeat("a/", 127) + "a"} {
		r.do("GET", "/v2/"+name+"/tags/list", "").code(404, "NAME_UNKNOWN")
	}
}

func TestBad_106_Sessions(t *testing.T) {
	t.Parallel()
	clock := atomic.Pointer[time.Time]{}
	start := time.Now()
	clock.Store(&start)
	forward := func(d time.Duration) { now := clock.Load().Add(d); clock.Store(&now) }
	dir := t.TempDir()
	for _, dir := range []string{"", dir} {
		r := newRegistry(t, serve.Options{UploadDir: dir, Now: func() time.Time { return *clock.Load() },
			Limits: serve.Limits{Uploads: 3, ClientUploads: 2, UploadAge: time.Hour, Blob: 100}})
		loc := r.do("POST", "/v2/a/blobs/uploads/", "").status(202).location()
		if id := loc[strings.LastIndex(loc, "/")+1:]; len(id) != 26 {
			t.Errorf("id %q", id)
		}
		other := strings.Replace(loc, "/v2/a/", "/v2/b/", 1)
		guessed := loc[:len(loc)-1] + "2"
		if guessed == loc {
			guessed = loc[:len(loc)-1] + "3"
		}
		for _, wrong := range []string{other, guessed, "/v2/a/blobs/uploads/x", "/v2/a/blobs/uploads/" + strings.Repeat("A", 26)} {
			for _, method := range []string{"GET", "PATCH", "DELETE"} {
				r.do(method, wrong, "x").code(404, "BLOB_UPLOAD_UNKNOWN")
			}
			r.do("PUT", with(wrong, "digest="+string(digest.FromString("x"))), "x").code(404, "BLOB_UPLOAD_UNKNOWN")
		}
		r.do("GET", loc, "").status(204).header("Range", "0-0")
		r.do("PATCH", loc, strings.Repeat("x", 101)).code(413, "SIZE_INVALID")
		r.do("PATCH", loc, strings.Repeat("x", 60)).status(202)
		r.stream("PATCH", loc, strings.NewReader(strings.Repeat("x", 60)), -1).code(413, "SIZE_INVALID")
		r.do("GET", loc, "").status(204).header("Range", "0-59")

		second := r.do("POST", "/v2/a/blobs/uploads/", "").status(202).location()
		r.do("POST", "/v2/a/blobs/uploads/", "").code(429, "TOOMANYREQUESTS").header("Retry-After", "1")
		r.do("DELETE", second, "").status(204)
		second = r.do("POST", "/v2/a/blobs/uploads/", "").status(202).location()
		forward(50 * time.Minute)
		r.do("GET", second, "").status(204) // was touched
		forward(50 * time.Minute)
		r.do("GET", loc, "").code(404, "BLOB_UPLOAD_UNKNOWN") // was not
		r.do("POST", "/v2/a/blobs/uploads/", "").status(202)  // and makes room
		r.do("GET", second, "").status(204)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%d files for two uploads, %v", len(entries), err)
	}
}

// gate is a body that comes when it is let.
type gate struct {
	reached chan struct{}
	open    chan struct{}
	rest    io.Reader
}

func (g *gate) Read(p []byte) (int, error) {
	if g.reached != nil {
		close(g.reached)
		g.reached = nil
	}
	<-g.open
	return g.rest.Read(p)
}

func newGate(s string) *gate {
	return &gate{make(chan struct{}), make(chan struct{}), strings.NewReader(s)}
}

func TestBad_109_SlowClientsBlockNobody(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	loc := r.do("POST", "/v2/a/blobs/uploads/", "").location()
	slow := newGate("slow")
	reached, done := slow.reached, make(chan struct{})
	go func() {
		defer close(done)
		r.stream("PATCH", loc, slow, 4)
	}()
	<-reached
	r.do("PATCH", loc, "x").code(409, "BLOB_UPLOAD_INVALID") // one writer at a time
	r.do("DELETE", loc, "").status(409)
	r.do("GET", loc, "").status(204)
	d := r.upload("a", "quick") // the same repository goes on
	r.do("GET", blobPath("a", d), "").status(200)
	r.push("a", ocitest.Image(1, 1, 10), "v1")
	r.do("GET", "/v2/a/tags/list", "").status(200)
	close(slow.open)
	<-done
	r.do("PUT", with(loc, "digest="+string(digest.FromString("slow"))), "").status(201)

	f := ocitest.Image(2, 1, 10)
	r.pushBlobs("a", f)
	slow = newGate(bytesOf(t, f.Blob(f.Root.Digest)))
	reached, done = slow.reached, make(chan struct{})
	go func() {
		defer close(done)
		r.stream("PUT", manifestPath("a", "v2"), slow, f.Root.Size, "Content-Type", f.Root.MediaType)
	}()
	<-reached
	r.do("DELETE", manifestPath("a", "v1"), "").status(202)
	close(slow.open)
	<-done
	r.do("GET", manifestPath("a", "v2"), "").status(200)
}

func TestBad_111_Ranges(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	content := string(ocitest.Random(1, 2048))
	d := r.upload("a", content)
	empty := r.upload("a", "")
	for _, c := range []struct {
		header     string
		status     int
		start, end int
	}{
		{"bytes=500-1499", 206, 500, 1500}, {"bytes=500-", 206, 500, 2048}, {"bytes=-500", 206, 1548, 2048}, {"bytes=2000-5000", 206, 2000, 2048},
		{"bytes=0-0", 206, 0, 1}, {"bytes=0-", 206, 0, 2048}, {"bytes=2047-", 206, 2047, 2048}, {"bytes=-9999", 206, 0, 2048},
		{"bytes= 1-2 ", 206, 1, 3}, {"bytes=1-99999999999999999999999", 206, 1, 2048},
		{"bytes=500-0", 416, 0, 0}, {"bytes=5000-10000", 416, 0, 0}, {"bytes=2048-", 416, 0, 0}, {"bytes=-0", 416, 0, 0},
		{"bytes=99999999999999999999999-", 416, 0, 0}, {"bytes=99999999999999999999999-99999999999999999999999", 416, 0, 0},
		{"bytes=0-1,5-6", 200, 0, 2048}, {"bytes=", 200, 0, 2048}, {"bytes=-", 200, 0, 2048}, {"bytes=a-b", 200, 0, 2048}, {"bytes=1--2", 200, 0, 2048},
		{"items=0-1", 200, 0, 2048}, {"", 200, 0, 2048},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			got := r.do(method, blobPath("a", d), "", "Range", c.header)
			if got.StatusCode != c.status {
				t.Errorf("%s %q: %d", method, c.header, got.StatusCode)
				continue
			}
			switch {
			case c.status == 416:
				got.header("Content-Range", "bytes */2048")
				continue
			case c.status == 206:
				got.header("Content-Range", fmt.Sprintf("bytes %d-%d/2048", c.start, c.end-1))
			}
			got.header("Content-Length", fmt.Sprint(c.end-c.start)).header("Accept-Ranges", "bytes")
			if method == "GET" {
				got.text(content[c.start:c.end])
			}
		}
	}
	r.do("GET", blobPath("a", empty), "", "Range", "bytes=0-").status(416).header("Content-Range", "bytes */0")
	r.do("GET", blobPath("a", empty), "").status(200).text("").header("Content-Length", "0")
	r.do("GET", blobPath("a", d), "", "Range", "bytes=1-2", "If-Range", `"`+string(d)+`"`).status(206)
	r.do("GET", blobPath("a", d), "", "Range", "bytes=1-2", "If-Range", `"other"`).status(200)
}

// Every path checks that the content is one of this repository.
func TestBad_112_RepositoriesAreApart(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{Auth: func(req *http.Request, a serve.Access) error {
		if user, _, _ := req.BasicAuth(); a.Repository == "secret" && user != "owner" {
			return oci.Errorf(oci.ErrDenied, "not yours")
		}
		return nil
	}})
	f := ocitest.Image(1, 1, 10)
	r.push("secret", f, "v1")
	r.push("other", ocitest.Image(2, 1, 10))
	layer := f.Layers()[0].Descriptor().Digest
	for _, method := range []string{"GET", "HEAD"} {
		r.do(method, blobPath("other", layer), "").status(404)
		r.do(method, manifestPath("other", f.Root.Digest), "").status(404)
		r.do(method, blobPath("secret", layer), "").status(403)
		r.do(method, manifestPath("secret", f.Root.Digest), "").status(403)
	}
	for _, path := range []string{"/v2/secret/tags/list", "/v2/secret/referrers/" + string(layer), manifestPath("secret", "none")} {
		r.do("GET", path, "").code(403, "DENIED")
	}
	// A mount is a read, and tells nothing of what may not be read.
	r.do("POST", "/v2/other/blobs/uploads/?from=secret&mount="+string(layer), "").status(202)
	r.do("POST", "/v2/other/blobs/uploads/?mount="+string(layer), "").status(202)
	r.do("GET", "/v2/_catalog", "").text(`{"repositories":["other"]}`)
	owner := []string{"Authorization", "Basic b3duZXI6"}
	r.do("GET", "/v2/_catalog", "", owner...).text(`{"repositories":["other","secret"]}`)
	r.do("POST", "/v2/other/blobs/uploads/?from=secret&mount="+string(layer), "", owner...).status(201)
	r.do("DELETE", blobPath("other", layer), "").status(202)
	r.do("GET", blobPath("other", layer), "").status(404)
}

func TestBad_113_Deletes(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	layer := f.Layers()[0].Descriptor().Digest
	paths := []string{manifestPath("a", "v1"), manifestPath("a", f.Root.Digest), blobPath("a", layer)}
	for name, o := range map[string]serve.Options{
		"no delete": {NoDelete: true}, "read only": {ReadOnly: true},
		"no rights": {Auth: func(_ *http.Request, a serve.Access) error {
			if a.Action == serve.Delete {
				return errors.New("who are you")
			}
			return nil
		}},
	} {
		r := newRegistry(t, o)
		r.push("a", f, "v1")
		for _, path := range paths {
			got := r.do("DELETE", path, "")
			if want := map[bool]int{true: 401, false: 405}[name == "no rights"]; got.StatusCode != want {
				t.Errorf("%s: DELETE %s: %d", name, path, got.StatusCode)
			}
			if name != "no rights" && strings.Contains(got.Header.Get("Allow"), "DELETE") {
				t.Errorf("%s: Allow is %s", name, got.Header.Get("Allow"))
			}
			r.do("GET", path, "").status(200)
		}
		if name == "read only" {
			r.do("POST", "/v2/a/blobs/uploads/", "").code(405, "UNSUPPORTED")
			r.do("PUT", manifestPath("a", "v2"), "{}").code(405, "UNSUPPORTED").header("Allow", "GET, HEAD")
		}
	}
	r := newRegistry(t, serve.Options{}) // what others refer to may go
	r.push("a", f, "v1", "v2")
	r.do("DELETE", blobPath("a", layer), "").status(202)
	r.do("GET", blobPath("a", layer), "").code(404, "BLOB_UNKNOWN")
	r.do("DELETE", blobPath("a", layer), "").code(404, "BLOB_UNKNOWN")
	r.do("DELETE", manifestPath("a", "v1"), "").status(202)
	r.do("DELETE", manifestPath("a", "v1"), "").code(404, "MANIFEST_UNKNOWN")
	r.do("DELETE", manifestPath("a", f.Root.Digest), "").status(202)
	r.do("GET", manifestPath("a", "v2"), "").code(404, "MANIFEST_UNKNOWN")
	r.do("GET", "/v2/a/tags/list", "").text(`{"name":"a","tags":[]}`)
}

// Trouble of the registry is told as such, without its inside, and logged.
func TestBad_115_Trouble(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("write /srv/secret: %w", syscall.ENOSPC), 507}, {errors.New("secret"), 500}, {oci.Errorf(oci.ErrBusy, "later"), 503},
		{oci.Errorf(oci.ErrCorrupt, "secret"), 500},
	} {
		var log bytes.Buffer
		r := newRegistry(t, serve.Options{})
		f := ocitest.Image(1, 1, 10)
		r.push("a", f, "v1")
		broken := wrapCatalog{r.catalog, func(s oci.Store) oci.Store {
			return &ocitest.Fail{Store: s, Hook: func(string, oci.Descriptor) error { return c.err }}
		}}
		r.Handler = serve.New(broken, serve.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		for _, got := range []*reply{
			r.do("GET", manifestPath("a", "v1"), ""), r.do("GET", blobPath("a", f.Root.Digest), ""), r.do("GET", "/v2/a/tags/list", ""),
			r.do("POST", "/v2/a/blobs/uploads/?digest="+string(digest.FromString("x")), "x"),
			r.do("GET", "/v2/a/referrers/"+string(f.Root.Digest), ""),
		} {
			if got.StatusCode != c.status || strings.Contains(got.body, "secret") {
				t.Errorf("%v: %s: %d %s", c.err, got.what, got.StatusCode, got.body)
			}
		}
		if c.status != 503 && !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%v: nothing was logged", c.err)
		}
	}
}
