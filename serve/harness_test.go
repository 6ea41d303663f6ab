// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

const octets = "application/octet-stream"

// registry is a handler under test.
type registry struct {
	t *testing.T
	http.Handler
	catalog *mem.Catalog
}

func newRegistry(t *testing.T, o serve.Options) *registry {
	t.Helper()
	c := mem.New()
	c.Sparse = o.Sparse
	return &registry{t, serve.New(c, o), c}
}

// push puts a fixture there without HTTP.
func (r *registry) push(repository string, f ocitest.Fixture, tags ...string) {
	r.t.Helper()
	s, err := r.catalog.Repository(r.t.Context(), repository)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := f.Push(r.t.Context(), s, tags...); err != nil {
		r.t.Fatal(err)
	}
}

// reply is an answer; its methods check it.
type reply struct {
	t    *testing.T
	what string
	*http.Response
	body string
}

// do sends a request. headers are key, value, key, value.
func (r *registry) do(method, target, body string, headers ...string) *reply {
	r.t.Helper()
	return r.stream(method, target, strings.NewReader(body), int64(len(body)), headers...)
}

func (r *registry) stream(method, target string, body io.Reader, length int64, headers ...string) *reply {
	r.t.Helper()
	req := httptest.NewRequest(method, target, body)
	req.ContentLength = length
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	res := w.Result()
	raw, _ := io.ReadAll(res.Body)
	out := &reply{r.t, method + " " + target, res, string(raw)}
	out.general()
	return out
}

// general checks what every answer has to have.
func (r *reply) general() {
	r.t.Helper()
	r.header("Docker-Distribution-API-Version", "registry/2.0")
	if r.StatusCode < 400 {
		return
	}
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || len(e.Errors) == 0 || e.Errors[0].Code == "" || e.Errors[0].Message == "" {
		r.t.Errorf("%s: %d without a proper error: %q", r.what, r.StatusCode, r.body)
	}
	r.header("Content-Type", "application/json")
}

func (r *reply) status(want int) *reply {
	r.t.Helper()
	if r.StatusCode != want {
		r.t.Fatalf("%s: status %d, want %d: %s", r.what, r.StatusCode, want, r.body)
	}
	return r
}

func (r *reply) header(key, want string) *reply {
	r.t.Helper()
	if got := r.Header.Get(key); got != want {
		r.t.Errorf("%s: %s is %q, want %q", r.what, key, got, want)
	}
	return r
}

func (r *reply) text(want string) *reply {
	r.t.Helper()
	if r.body != want {
		r.t.Errorf("%s: body %.300q, want %.300q", r.what, r.body, want)
	}
	return r
}

func (r *reply) code(status int, code string) *reply {
	r.t.Helper()
	r.status(status)
	if !strings.Contains(r.body, `"code":"`+code+`"`) {
		r.t.Errorf("%s: no %s in %s", r.what, code, r.body)
	}
	return r
}

func (r *reply) location() string {
	r.t.Helper()
	l := r.Header.Get("Location")
	if !strings.HasPrefix(l, "/v2/") {
		r.t.Fatalf("%s: Location is %q", r.what, l)
	}
	return l
}

// with adds a parameter to a location.
func with(location, param string) string {
	if strings.Contains(location, "?") {
		return location + "&" + param
	}
	return location + "?" + param
}

func blobPath(repo string, d oci.Digest) string { return "/v2/" + repo + "/blobs/" + string(d) }

func manifestPath(repo string, name any) string {
	return fmt.Sprintf("/v2/%s/manifests/%s", repo, name)
}

// bytesOf reads a blob of a fixture.
func bytesOf(t *testing.T, b oci.Blob) string {
	t.Helper()
	r, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// upload sends a blob with POST and PUT.
func (r *registry) upload(repo, content string) oci.Digest {
	r.t.Helper()
	d := digest.FromString(content)
	loc := r.do("POST", "/v2/"+repo+"/blobs/uploads/", "").status(202).location()
	r.do("PUT", with(loc, "digest="+string(d)), content).status(201)
	return d
}

var algorithms = []digest.Algorithm{digest.SHA256, digest.SHA512}
