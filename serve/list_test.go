// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

func TestBase(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	r.do("GET", "/v2/", "").status(200).text("{}")
	r.do("GET", "/v2", "").status(200)
	r.do("HEAD", "/v2/", "").status(200)
	r.do("GET", "/", "").status(404)
	r.do("GET", "/v1/", "").status(404)
	r.do("GET", "/v2/a", "").status(404)
	r.do("GET", "/v2/a/tags", "").status(404)
	r.do("GET", "/v2/a/tags/list/", "").status(404)
	for _, path := range []string{"/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/manifests/v1", blobPath("a", digest.FromString("")),
		"/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/" + strings.Repeat("A", 26), "/v2/a/referrers/" + string(digest.FromString(""))} {
		got := r.do("OPTIONS", path, "").code(405, "UNSUPPORTED")
		if got.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", path)
		}
	}
	r.do("POST", "/v2/a/manifests/v1", "").status(405).header("Allow", "DELETE, GET, HEAD, PUT")
}

// follow reads all pages.
func follow(t *testing.T, r *registry, path, key string) (all []string, pages int) {
	t.Helper()
	for path != "" {
		got := r.do("GET", path, "").status(200)
		var body map[string]json.RawMessage
		var names []string
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body[key], &names); err != nil || names == nil {
			t.Fatalf("%s: %s: %v", path, got.body, err)
		}
		all, pages, path = append(all, names...), pages+1, ""
		if link := got.Header.Get("Link"); link != "" {
			target, rest, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
			if rest != `; rel="next"` {
				t.Fatalf("Link: %s", link)
			}
			path = target
		}
	}
	return all, pages
}

func TestTagsAndCatalog(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	f := ocitest.Image(1, 1, 10)
	want := []string{"A", "a", "b.1", "b_2", "v1", "v10", "v2"}
	r.push("app", f, "v10", "b_2", "a", "A", "v2", "v1", "b.1")
	for _, name := range []string{"zoo", "app/sub", "lib"} {
		r.push(name, f)
	}
	r.do("GET", "/v2/none/tags/list", "").code(404, "NAME_UNKNOWN")
	r.do("GET", "/v2/lib/tags/list", "").status(200).text(`{"name":"lib","tags":[]}`).header("Content-Type", "application/json")
	for _, path := range []string{"/v2/app/tags/list", "/v2/_catalog"} {
		key, want := "tags", want
		if path == "/v2/_catalog" {
			key, want = "repositories", []string{"app", "app/sub", "lib", "zoo"}
		}
		for n := 1; n <= 8; n++ {
			all, pages := follow(t, r, fmt.Sprintf("%s?n=%d", path, n), key)
			if !slices.Equal(all, want) || pages != (len(want)+n-1)/n {
				t.Errorf("%s n=%d: %d pages, %q", path, n, pages, all)
			}
		}
		all, _ := follow(t, r, path, key)
		if !slices.Equal(all, want) {
			t.Errorf("%s: %q", path, all)
		}
		for i, name := range want {
			all, _ := follow(t, r, path+"?last="+url.QueryEscape(name), key)
			if !slices.Equal(all, want[i+1:]) {
				t.Errorf("%s last=%s: %q", path, name, all)
			}
		}
	}
	r.do("GET", "/v2/app/tags/list?n=2&last=a", "").text(`{"name":"app","tags":["b.1","b_2"]}`).
		header("Link", `</v2/app/tags/list?last=b_2&n=2>; rel="next"`)
}

func TestBad_110_PageNumbers(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	r.push("a", ocitest.Image(1, 1, 10), "v1", "v2")
	for _, path := range []string{"/v2/a/tags/list", "/v2/_catalog", "/v2/a/referrers/" + string(digest.FromString("x"))} {
		for _, bad := range []string{"-1", "", "x", "1.5", "0x10", "+1", "1e3", "-99999999999999999999"} {
			r.do("GET", path+"?n="+url.QueryEscape(bad), "").code(400, "PAGINATION_NUMBER_INVALID")
		}
		r.do("GET", path+"?n=100000000000000000000", "").status(200)
		r.do("GET", path+"?n=5&last="+url.QueryEscape("<\r\n>; \x00"+strings.Repeat("z", 10_000)), "").status(200)
		r.do("GET", path+"?n=%zz", "").status(400)
	}
	r.do("GET", "/v2/a/tags/list?n=0", "").status(200).text(`{"name":"a","tags":[]}`).header("Link", "")
	r.do("GET", "/v2/_catalog?n=0", "").status(200).text(`{"repositories":[]}`)
	small := newRegistry(t, serve.Options{Limits: serve.Limits{Page: 1}})
	small.push("a", ocitest.Image(1, 1, 10), "v1", "v2", "v3")
	if all, pages := follow(t, small, "/v2/a/tags/list?n=100000000000000000000", "tags"); len(all) != 3 || pages != 3 {
		t.Errorf("got %q in %d pages", all, pages)
	}
}

func (r *registry) referrers(path string) (*reply, []v1.Descriptor) {
	r.t.Helper()
	got := r.do("GET", path, "").status(200).header("Content-Type", oci.MediaIndex)
	var index v1.Index
	if err := json.Unmarshal([]byte(got.body), &index); err != nil || index.SchemaVersion != 2 || index.MediaType != oci.MediaIndex || index.Manifests == nil {
		r.t.Errorf("%s: %s: %v", path, got.body, err)
	}
	return got, index.Manifests
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, world)
	for _, page := range []int{0, 1, 2} {
		r := newRegistry(t, serve.Options{Quirks: serve.Quirks{PageSize: page}})
		path := "/v2/a/referrers/" + string(w.Fixture("index").Root.Digest)
		got, list := r.referrers(path) // neither the repository nor the subject is there
		if len(list) != 0 {
			t.Errorf("empty repository: %s", got.body)
		}
		for _, name := range []string{"sig", "conf", "idx"} { // before their subject
			r.push("a", w.Fixture(name))
		}
		all := map[string]string{}
		for next := path; next != ""; {
			got, list := r.referrers(next)
			got.header("OCI-Filters-Applied", "")
			if page > 0 && len(list) > page {
				t.Errorf("page of %d", len(list))
			}
			for _, d := range list {
				all[string(d.Digest)] = d.ArtifactType + d.Annotations["k"]
			}
			next, _, _ = strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"), ">")
		}
		for name, want := range map[string]string{"sig": "application/vnd.example.v1v", "conf": oci.MediaConfig, "idx": "application/vnd.example.v2"} {
			if got := all[string(w.Fixture(name).Root.Digest)]; got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		for filter, n := range map[string]int{"application/vnd.example.v1": 1, oci.MediaConfig: 1, "application/none": 0} {
			got, list := r.referrers(path + "?artifactType=" + url.QueryEscape(filter))
			if got.header("OCI-Filters-Applied", "artifactType"); len(list) != n {
				t.Errorf("filter %s: %s", filter, got.body)
			}
		}
		r.do("DELETE", manifestPath("a", w.Fixture("sig").Root.Digest), "").status(202)
		if _, list := r.referrers(path + "?artifactType=application/vnd.example.v1"); len(list) != 0 {
			t.Error("a deleted referrer is listed")
		}
		for _, bad := range []string{"latest", "sha256:abc", "sha256:" + strings.Repeat("A", 64), "md5:00"} {
			r.do("GET", "/v2/a/referrers/"+bad, "").code(400, "DIGEST_INVALID")
		}
	}
}

// A page is never larger than a client takes as an index.
func TestReferrersPagesBySize(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	subject := digest.FromString("subject")
	for i := range 5 {
		raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[],"subject":{"mediaType":%q,"digest":%q,"size":7},"annotations":{"n":"%d","long":%q}}`,
			oci.MediaIndex, oci.MediaManifest, subject, i, strings.Repeat("x", 2_000_000))
		r.do("PUT", manifestPath("a", fmt.Sprint("t", i)), raw, "Content-Type", oci.MediaIndex).status(201).header("OCI-Subject", string(subject))
	}
	seen, pages := 0, 0
	for next := "/v2/a/referrers/" + string(subject); next != ""; pages++ {
		got, list := r.referrers(next)
		if len(got.body) > oci.MaxManifest {
			t.Errorf("a page of %d bytes", len(got.body))
		}
		seen += len(list)
		next, _, _ = strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"), ">")
	}
	if seen != 5 || pages != 3 {
		t.Errorf("%d referrers in %d pages", seen, pages)
	}
}

func TestStoresWithoutAbilities(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	w := ocitest.Symbols(t, world)
	r.push("a", w.Fixture("sig"), "v1")
	r.Handler = serve.New(wrapCatalog{r.catalog, func(s oci.Store) oci.Store { return bare{s} }}, serve.Options{})
	f := w.Fixture("sig")
	layer := w.Fixture("note").Root
	r.do("GET", "/v2/a/tags/list", "").code(405, "UNSUPPORTED")
	r.do("GET", "/v2/a/referrers/"+string(f.Root.Digest), "").status(404)
	r.do("DELETE", manifestPath("a", "v1"), "").code(405, "UNSUPPORTED")
	r.do("DELETE", manifestPath("a", f.Root.Digest), "").code(405, "UNSUPPORTED")
	r.do("DELETE", blobPath("a", layer.Digest), "").code(405, "UNSUPPORTED")
	r.do("GET", blobPath("a", layer.Digest), "", "Range", "bytes=5-7").status(206).text("tex") // read from the start
	got := r.do("PUT", manifestPath("a", "v2"), bytesOf(t, f.Blob(f.Root.Digest)), "Content-Type", oci.MediaManifest).status(201)
	got.header("OCI-Subject", "") // or clients would not write the fallback tag
}
