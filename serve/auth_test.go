// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestBad_114_Htpasswd(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := serve.Htpasswd(strings.NewReader("# users\n\nann:" + string(hash) + "\r\nbob:" + strings.Replace(string(hash), "$2a$", "$2y$", 1) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRegistry(t, serve.Options{Auth: auth})
	for range 2 { // the second time from the cache
		for _, header := range []string{basic("ann", "secret"), basic("bob", "secret"), strings.Replace(basic("ann", "secret"), "Basic", "bAsIc", 1)} {
			r.do("GET", "/v2/", "", "Authorization", header).status(200)
		}
		for _, header := range []string{"", basic("ann", ""), basic("ann", "Secret"), basic("ann", "secret2"), basic("", ""), basic("", "secret"),
			basic("eve", "secret"), basic("Ann", "secret"), "Basic !!!", "Basic", "Bearer " + basic("ann", "secret")[6:], basic("ann", strings.Repeat("x", 1000)),
			basic("ann", "secret\x00"), basic("ann\x00secret", "")} {
			r.do("GET", "/v2/", "", "Authorization", header).code(401, "UNAUTHORIZED").
				header("WWW-Authenticate", `Basic realm="registry", charset="UTF-8"`)
		}
	}
	for _, bad := range []string{"ann", "ann:", ":" + string(hash), "ann:secret", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "ann:$apr1$x$y",
		"ann:" + strings.Replace(string(hash), "$04$", "$31$", 1)} {
		if _, err := serve.Htpasswd(strings.NewReader(bad)); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	nobody, err := serve.Htpasswd(strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	newRegistry(t, serve.Options{Auth: nobody}).do("GET", "/v2/", "", "Authorization", basic("", "")).status(401)
}

// Waiting for a bcrypt ends with the request.
func TestHtpasswdEndsWithItsContext(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := serve.Htpasswd(strings.NewReader("ann:" + string(hash)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(ctx, "GET", "/v2/", nil)
	req.SetBasicAuth("ann", "wrong")
	if err := auth(req, serve.Access{}); err == nil {
		t.Error("a wrong password was taken")
	}
}

// token asks the token server.
func (r *registry) token(query, authorization string) (status int, out map[string]any) {
	r.t.Helper()
	req := httptest.NewRequest("GET", "/token?"+query, nil)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	_ = json.Unmarshal(w.Body.Bytes(), &out)
	return w.Code, out
}

func TestBearer(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRegistry(t, serve.Options{Now: func() time.Time { return now },
		Quirks: serve.Quirks{Bearer: &serve.Bearer{User: "ann", Password: "secret", AnonymousPull: true}}})
	f := ocitest.Image(1, 1, 10)
	r.push("a/b", f, "v1")
	r.do("GET", "/v2/", "").code(401, "UNAUTHORIZED").header("WWW-Authenticate", `Bearer realm="http://example.com/token",service="registry"`)
	r.do("GET", manifestPath("a/b", "v1"), "").status(401).
		header("WWW-Authenticate", `Bearer realm="http://example.com/token",service="registry",scope="repository:a/b:pull"`)
	r.do("POST", "/v2/a/b/blobs/uploads/", "").status(401).
		header("WWW-Authenticate", `Bearer realm="http://example.com/token",service="registry",scope="repository:a/b:pull,push"`)
	if code, _ := r.token("scope=repository:a/b:pull", basic("ann", "wrong")); code != 401 {
		t.Errorf("wrong password: %d", code)
	}
	_, pull := r.token("service=registry&scope=repository:a/b:pull,push", "") // no user: pull alone
	bearer := func(m map[string]any) string { s, _ := m["token"].(string); return "Bearer " + s }
	r.do("GET", manifestPath("a/b", "v1"), "", "Authorization", bearer(pull)).status(200)
	r.do("GET", manifestPath("a/c", "v1"), "", "Authorization", bearer(pull)).status(401)
	r.do("POST", "/v2/a/b/blobs/uploads/", "", "Authorization", bearer(pull)).status(401)
	_, push := r.token("scope=repository:a/b:pull,push&scope=repository:a/c:*&access_type=offline", basic("ann", "secret"))
	r.do("POST", "/v2/a/b/blobs/uploads/", "", "Authorization", bearer(push)).status(202)
	r.do("POST", "/v2/a/c/blobs/uploads/", "", "Authorization", bearer(push)).status(202)
	r.do("DELETE", manifestPath("a/b", "v1"), "", "Authorization", bearer(push)).status(401)

	refresh, _ := push["refresh_token"].(string)
	r.do("GET", manifestPath("a/b", "v1"), "", "Authorization", "Bearer "+refresh).status(401) // is no access token
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "scope": {"repository:a/b:pull,delete"}}
	req := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	var again map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &again); w.Code != 200 || err != nil {
		t.Fatalf("refresh: %d %v", w.Code, err)
	}
	for _, bad := range []string{"", "x", ".", "e30.e30", bearer(push)[7:] + "x", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "."} {
		r.do("GET", "/v2/", "", "Authorization", "Bearer "+bad).status(401)
	}
	now = now.Add(6 * time.Minute)
	r.do("GET", manifestPath("a/b", "v1"), "", "Authorization", bearer(pull)).status(401)
}

func TestQuirks(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, world)
	with512 := func(q serve.Quirks) (*registry, oci.Digest) {
		r := newRegistry(t, serve.Options{Quirks: q})
		r.push("a", w.Fixture("sig"), "v1")
		return r, w.Fixture("note").Root.Digest
	}
	r, d := with512(serve.Quirks{NoMount: true, NoRange: true, NoDigestHeader: true, HeadUnsupported: true, NoMonolithicPost: true})
	r.do("POST", "/v2/b/blobs/uploads/?from=a&mount="+string(d), "").status(202)
	r.do("POST", "/v2/b/blobs/uploads/?digest="+string(d), "some text").status(202)
	r.do("GET", blobPath("a", d), "", "Range", "bytes=1-2").status(200).header("Docker-Content-Digest", "").header("Accept-Ranges", "")
	r.do("HEAD", blobPath("a", d), "").status(405)
	r.do("HEAD", manifestPath("a", "v1"), "").status(405).header("Allow", "DELETE, GET, PUT")

	r, d = with512(serve.Quirks{RejectCrossMount: true})
	r.do("POST", "/v2/b/blobs/uploads/?from=a&mount="+string(d), "").code(403, "DENIED")
	r, d = with512(serve.Quirks{NoAnonymousMount: true, NoReferrersAPI: true, NoTagParam: true, NoTagDelete: true, MaxBody: 5, ChunkMinLength: 4})
	r.do("POST", "/v2/b/blobs/uploads/?mount="+string(d), "").status(202)
	r.do("POST", "/v2/b/blobs/uploads/?from=a&mount="+string(d), "").status(201)
	r.do("GET", "/v2/a/referrers/"+string(d), "").status(404)
	sig := w.Fixture("sig")
	r.do("PUT", manifestPath("a", sig.Root.Digest)+"?tag=x", bytesOf(t, sig.Blob(sig.Root.Digest)), "Content-Type", oci.MediaManifest).
		status(201).header("OCI-Subject", "").header("OCI-Tag", "")
	r.do("DELETE", manifestPath("a", "v1"), "").code(405, "UNSUPPORTED")
	loc := r.do("POST", "/v2/b/blobs/uploads/", "").status(202).header("OCI-Chunk-Min-Length", "4").location()
	r.do("PATCH", loc, "123456").code(413, "SIZE_INVALID")
	r.do("PATCH", loc, "123", "Content-Range", "0-2").status(416)
	r.do("PATCH", loc, "1234", "Content-Range", "0-3").status(202)
}

func TestServer(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	for _, secure := range []bool{false, true} {
		h := httptest.NewUnstartedServer(nil) // for its listener and certificate
		s := &serve.Server{Handler: r}
		scheme, client := "http", &http.Client{Transport: &http.Transport{}}
		if secure {
			h.StartTLS()
			client = h.Client()
			s.TLS, scheme = h.TLS.Clone(), "https"
			h.Close()
			h = httptest.NewUnstartedServer(nil)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, h.Listener) }()
		base := scheme + "://" + h.Listener.Addr().String()
		res, err := client.Get(base + "/v2/")
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v: %+v, %v", secure, res, err)
		}
		_ = res.Body.Close()
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", strings.Repeat("x", 1<<20))
		if res, err := client.Do(req); err == nil {
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("1 MiB of headers: %d", res.StatusCode)
			}
			_ = res.Body.Close()
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
	}
	closed := httptest.NewUnstartedServer(nil).Listener
	_ = closed.Close()
	if err := (&serve.Server{Handler: r}).Serve(t.Context(), closed); err == nil {
		t.Error("a closed listener is no error")
	}
}

// A body that is found to be wrong while it is sent is cut, never ended.
func TestCorruptBlobIsCut(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	f := ocitest.Image(1, 1, 1<<20)
	r.push("a", f)
	h := serve.New(wrapCatalog{r.catalog, func(s oci.Store) oci.Store {
		reads := 0
		return &ocitest.Fail{Store: s, Hook: func(op string, _ oci.Descriptor) error {
			if reads++; op == "read" && reads > 4 {
				return oci.ErrCorrupt
			}
			return nil
		}}
	}}, serve.Options{})
	srv := httptest.NewServer(h)
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + blobPath("a", f.Layers()[0].Descriptor().Digest))
	if err != nil {
		return // cut before the headers were seen
	}
	defer res.Body.Close()
	buf := make([]byte, 4<<20)
	n := 0
	for err == nil {
		var k int
		k, err = res.Body.Read(buf)
		n += k
	}
	if err.Error() == "EOF" || n >= 1<<20 {
		t.Errorf("got %d bytes and %v", n, err)
	}
}
