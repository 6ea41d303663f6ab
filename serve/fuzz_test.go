// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// Whatever comes, the registry answers with a status and does not panic, and
// what it names as Location is one of its own paths.
func FuzzServerRequest(f *testing.F) {
	d := string(digest.FromString("x"))
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	for _, s := range [][5]string{
		{"GET", "/v2/", "", "", ""}, {"GET", "/v2/a/tags/list", "n=-1&last=%00", "", ""}, {"PUT", "/v2/a/manifests/v1", "tag=x", "application/vnd.oci.image.index.v1+json", manifest},
		{"PUT", "/v2/a/manifests/" + d, "", "a/b", "{}"}, {"GET", "/v2/a/blobs/" + d, "", "bytes=5-1", ""}, {"POST", "/v2/a/blobs/uploads/", "digest=" + d, "", "x"},
		{"POST", "/v2/b/blobs/uploads/", "mount=" + d, "", ""}, {"POST", "/v2/b/blobs/uploads/", "mount=" + d + "&from=a", "", ""}, {"PATCH", "/v2/a/blobs/uploads/AAAAAAAAAAAAAAAAAAAAAAAAAA", "", "0-0", "x"},
		{"DELETE", "/v2/a/manifests/v1", "", "*", ""}, {"GET", "/v2/_catalog", "n=99999999999999999999", "", ""}, {"GET", "/v2/a/referrers/" + d, "artifactType=x&last=y", "", ""},
		{"GET", "/v2//../a%2fb/x/manifests/y/tags/list", ";&;", "W/\"", ""}, {"HEAD", "/v2/a/manifests/../v1", "%", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, method, path, query, header, body string) {
		c := mem.New()
		s, err := c.Repository(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := ocitest.Image(1, 1, 10).Push(t.Context(), s, "v1"); err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", strings.NewReader(body))
		req.Method, req.URL = method, &url.URL{Path: path, RawQuery: query}
		for _, key := range []string{"Content-Type", "Content-Range", "Range", "If-Match", "If-None-Match", "If-Range", "Authorization", "Accept"} {
			req.Header.Set(key, header)
		}
		w := httptest.NewRecorder()
		serve.New(c, serve.Options{}).ServeHTTP(w, req)
		if w.Code < 200 || w.Code > 599 || w.Code >= 500 {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
		if l := w.Header().Get("Location"); l != "" && !strings.HasPrefix(l, "/v2/") {
			t.Errorf("Location: %q", l)
		}
		for key, values := range w.Header() {
			if v := strings.Join(values, ""); strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%s: %q", key, v)
			}
		}
	})
}

// A range is refused, or overlooked, or answered with exactly the bytes that
// Content-Range names.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=5-1", "bytes=-5", "bytes=1-2,3-4", "bytes=99999999999999999999-", "bytes=0-99999999999999999999", "items=1-2", "bytes=--1"} {
		f.Add(s)
	}
	content := string(ocitest.Random(1, 100))
	c := mem.New()
	h := serve.New(c, serve.Options{})
	d := digest.FromString(content)
	f.Fuzz(func(t *testing.T, header string) {
		up := httptest.NewRequest("POST", "/v2/a/blobs/uploads/?digest="+string(d), strings.NewReader(content))
		h.ServeHTTP(httptest.NewRecorder(), up)
		req := httptest.NewRequest("GET", blobPath("a", d), nil)
		req.Header.Set("Range", header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		switch w.Code {
		case http.StatusOK:
			if w.Body.String() != content {
				t.Errorf("%q: other content", header)
			}
		case http.StatusPartialContent:
			var first, last, size int
			if n, err := fmt.Sscanf(w.Header().Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size); n != 3 || err != nil || size != 100 || last >= 100 || first > last ||
				w.Body.String() != content[first:last+1] {
				t.Errorf("%q: %s", header, w.Header().Get("Content-Range"))
			}
		case http.StatusRequestedRangeNotSatisfiable:
			if w.Header().Get("Content-Range") != "bytes */100" {
				t.Errorf("%q: %s", header, w.Header().Get("Content-Range"))
			}
		default:
			t.Errorf("%q: %d", header, w.Code)
		}
	})
}
