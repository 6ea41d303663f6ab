// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// world has one graph of every kind that a registry has to take.
const world = `
	l1      = layer 700
	l2      = layer 0
	note    = blob some text
	amd     = image l1 l2
	arm     = image l1 platform=linux/arm64
	docker  = image l1 docker
	empty   = image
	index   = index amd arm
	nested  = index index index amd
	none    = index
	list    = index docker docker
	art     = artifact note type=application/vnd.example.v1
	bare    = artifact type=application/vnd.example.v1
	artlist = index art type=application/vnd.example.v1
	sig     = artifact note type=application/vnd.example.v1 subject=index note=k=v
	conf    = image l1 subject=index
	idx     = index art type=application/vnd.example.v2 subject=index
	far     = layer 10 foreign
	foreign = image l1 far platform=windows/amd64
`

var worldNames = []string{"amd", "docker", "empty", "index", "nested", "none", "list", "art", "bare", "artlist", "sig", "conf", "idx"}

// Every kind of graph, over HTTP alone: push, list, HEAD, GET, delete.
func TestPushAndPull(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, world)
	for _, name := range worldNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRegistry(t, serve.Options{})
			f := w.Fixture(name)
			for _, b := range f.Blobs {
				d, raw := b.Descriptor(), bytesOf(t, b)
				if !oci.IsManifest(d.MediaType) {
					r.upload("x/y", raw)
					continue
				}
				got := r.do("PUT", manifestPath("x/y", d.Digest), raw, "Content-Type", d.MediaType).status(201)
				got.header("Docker-Content-Digest", string(d.Digest)).header("Location", manifestPath("x/y", d.Digest))
				r.do("GET", got.location(), "").status(200).text(raw)
			}
			raw := bytesOf(t, f.Blob(f.Root.Digest))
			m, err := oci.ParseManifest(f.Root.MediaType, []byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			got := r.do("PUT", manifestPath("x/y", "v1"), raw, "Content-Type", f.Root.MediaType).status(201)
			got.header("Docker-Content-Digest", string(f.Root.Digest)).header("OCI-Tag", "v1")
			if m.Subject != nil {
				got.header("OCI-Subject", string(m.Subject.Digest))
			} else if got.Header.Values("OCI-Subject") != nil {
				t.Error("OCI-Subject without a subject")
			}
			r.do("GET", "/v2/x/y/tags/list", "").status(200).text(`{"name":"x/y","tags":["v1"]}`)
			for _, ref := range []string{"v1", string(f.Root.Digest)} {
				r.do("GET", manifestPath("x/y", ref), "", "Accept", "text/plain").status(200).text(raw).
					header("Content-Type", f.Root.MediaType).header("Content-Length", fmt.Sprint(len(raw))).
					header("Docker-Content-Digest", string(f.Root.Digest))
				r.do("HEAD", manifestPath("x/y", ref), "").status(200).text("").
					header("Content-Type", f.Root.MediaType).header("Content-Length", fmt.Sprint(len(raw))).
					header("Docker-Content-Digest", string(f.Root.Digest))
			}
			r.do("DELETE", manifestPath("x/y", "v1"), "").status(202)
			r.do("HEAD", manifestPath("x/y", "v1"), "").status(404)
			r.do("HEAD", manifestPath("x/y", f.Root.Digest), "").status(200)
			r.do("DELETE", manifestPath("x/y", f.Root.Digest), "").status(202)
			r.do("GET", manifestPath("x/y", f.Root.Digest), "").code(404, "MANIFEST_UNKNOWN")
			r.do("DELETE", manifestPath("x/y", f.Root.Digest), "").code(404, "MANIFEST_UNKNOWN")
		})
	}
}

// pushBlobs sends what a manifest refers to.
func (r *registry) pushBlobs(repo string, f ocitest.Fixture) {
	r.t.Helper()
	r.push(repo, ocitest.Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]})
}

func TestTagParameters(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		r := newRegistry(t, serve.Options{})
		f := ocitest.Index(1)
		r.pushBlobs("a", f)
		raw := bytesOf(t, f.Blob(f.Root.Digest))
		d := alg.FromString(raw)
		got := r.do("PUT", manifestPath("a", d)+"?tag=one&tag=two&tag=Three_3", raw, "Content-Type", oci.MediaIndex).status(201)
		if tags := got.Header.Values("OCI-Tag"); strings.Join(tags, " ") != "one two Three_3" {
			t.Errorf("OCI-Tag: %q", tags)
		}
		got.header("Docker-Content-Digest", string(d)).header("Location", manifestPath("a", d))
		for _, ref := range []any{"one", "two", "Three_3", d} {
			r.do("GET", manifestPath("a", ref), "").status(200).text(raw).header("Docker-Content-Digest", string(d))
		}
		r.do("PUT", manifestPath("a", d)+"?tag=fine&tag=-bad", raw, "Content-Type", oci.MediaIndex).code(400, "TAG_INVALID")
		r.do("HEAD", manifestPath("a", "fine"), "").status(404)
		r.do("PUT", manifestPath("a", d)+"?"+strings.Repeat("tag=x&", 101), raw, "Content-Type", oci.MediaIndex).code(414, "TAG_INVALID")
		r.do("PUT", manifestPath("a", "four")+"?tag=five", raw, "Content-Type", oci.MediaIndex).status(201)
		r.do("GET", "/v2/a/tags/list", "").text(`{"name":"a","tags":["Three_3","five","four","one","two"]}`)
	}
}

func TestSHA512Graph(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	config, layer := "{}", "layer"
	for _, s := range []string{config, layer} {
		d := digest.SHA512.FromString(s)
		r.do("POST", "/v2/a/blobs/uploads/?digest="+string(d), s).status(201)
	}
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":"text/plain","digest":%q,"size":5}]}`,
		oci.MediaManifest, oci.MediaEmpty, digest.SHA512.FromString(config), digest.SHA512.FromString(layer))
	d := digest.SHA512.FromString(raw)
	r.do("PUT", manifestPath("a", d), raw, "Content-Type", oci.MediaManifest).status(201).header("Docker-Content-Digest", string(d))
	r.do("GET", manifestPath("a", d), "").status(200).text(raw)
	r.do("GET", manifestPath("a", digest.FromString(raw)), "").status(404) // never under another digest
	r.do("DELETE", manifestPath("a", d), "").status(202)
}

func TestBad_108_Manifests(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	f, g := ocitest.Image(1, 2, 10), ocitest.Image(2, 1, 10)
	r.pushBlobs("a", f)
	raw := bytesOf(t, f.Blob(f.Root.Digest))
	put := func(ref any, body string, headers ...string) *reply {
		t.Helper()
		got := r.do("PUT", manifestPath("a", ref), body, headers...)
		if got.StatusCode < 400 {
			t.Errorf("PUT %v %.80q: %d", ref, body, got.StatusCode)
		}
		r.do("GET", "/v2/a/tags/list", "").text(`{"name":"a","tags":[]}`)
		return got
	}
	put(f.Root.Digest, raw+"  ", "Content-Type", oci.MediaManifest).code(400, "DIGEST_INVALID")
	put(digest.SHA512.FromString("x"), raw, "Content-Type", oci.MediaManifest).code(400, "DIGEST_INVALID")
	put("sha256:baddigeststring", raw, "Content-Type", oci.MediaManifest).code(400, "DIGEST_INVALID")
	put("-tag", raw, "Content-Type", oci.MediaManifest).code(400, "TAG_INVALID")
	put(strings.Repeat("t", 129), raw, "Content-Type", oci.MediaManifest).code(400, "TAG_INVALID")
	put("v1", raw, "Content-Type", oci.MediaIndex).code(400, "MANIFEST_INVALID")
	put("v1", raw, "Content-Type", octets).code(400, "MANIFEST_INVALID")
	put("v1", raw, "Content-Type", "a;b;c/").code(400, "MANIFEST_INVALID")
	put("v1", "", "Content-Type", oci.MediaManifest).code(400, "MANIFEST_INVALID")
	put("v1", "not JSON", "Content-Type", oci.MediaManifest).code(400, "MANIFEST_INVALID")
	put("v1", raw+raw, "Content-Type", oci.MediaManifest).code(400, "MANIFEST_INVALID")
	put("v1", strings.Replace(raw, `"layers"`, `"manifests":[],"layers"`, 1), "Content-Type", oci.MediaManifest).code(400, "MANIFEST_INVALID")
	put("v1", strings.Replace(raw, `"schemaVersion":2`, `"schemaVersion":2,"subject":{"mediaType":"x","digest":"sha256:zz","size":1}`, 1),
		"Content-Type", oci.MediaManifest).code(400, "MANIFEST_INVALID")
	put("v1", `{"schemaVersion":1,"fsLayers":[]}`, "Content-Type", oci.MediaSchema1).code(400, "MANIFEST_INVALID")
	put("v1", strings.Replace(raw, oci.MediaManifest, "application/json", 1), "Content-Type", "application/json").code(400, "MANIFEST_INVALID")
	put("v1", strings.Repeat(" ", oci.MaxManifest+1), "Content-Type", oci.MediaManifest).code(413, "SIZE_INVALID")
	r.stream("PUT", manifestPath("a", "v1"), strings.NewReader(strings.Repeat(" ", oci.MaxManifest+1)), -1,
		"Content-Type", oci.MediaManifest).code(413, "SIZE_INVALID")

	missing := put("v1", bytesOf(t, g.Blob(g.Root.Digest)), "Content-Type", oci.MediaManifest).code(400, "MANIFEST_BLOB_UNKNOWN")
	for _, b := range g.Blobs[:len(g.Blobs)-1] {
		if !strings.Contains(missing.body, `"detail":{"digest":"`+string(b.Descriptor().Digest)+`"}`) {
			t.Errorf("%s is not named in %s", b.Descriptor().Digest, missing.body)
		}
	}
	wrongSize := strings.Replace(raw, fmt.Sprintf(`"size":%d`, f.Layers()[0].Descriptor().Size), `"size":7`, 1)
	put("v1", wrongSize, "Content-Type", oci.MediaManifest).code(400, "MANIFEST_INVALID")
	r.do("PUT", manifestPath("a", "v1"), raw).status(201) // no Content-Type: the manifest says what it is
	r.do("PUT", manifestPath("a", "v1"), raw, "Content-Type", oci.MediaManifest+"; charset=utf-8").status(201)
}

func TestLargeManifest(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	notes := map[string]string{}
	for i := range 390 {
		notes[fmt.Sprint("note-", i)] = strings.Repeat("A", 10_000)
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaIndex, "manifests": []any{}, "annotations": notes, "unknownField": map[string]int{"a": 1}})
	if err != nil {
		t.Fatal(err)
	}
	r.do("PUT", manifestPath("a", "large"), string(raw), "Content-Type", oci.MediaIndex).status(201)
	r.do("GET", manifestPath("a", "large"), "").status(200).text(string(raw))
}

func TestSparse(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, world)
	root := func(name string) (string, string) {
		f := w.Fixture(name)
		return bytesOf(t, f.Blob(f.Root.Digest)), f.Root.MediaType
	}
	index, indexType := root("index")
	image, imageType := root("amd")
	r := newRegistry(t, serve.Options{})
	r.do("PUT", manifestPath("a", "v1"), index, "Content-Type", indexType).status(201)
	r.do("PUT", manifestPath("a", "v2"), image, "Content-Type", imageType).code(400, "MANIFEST_BLOB_UNKNOWN")
	strict := newRegistry(t, serve.Options{Strict: true})
	strict.do("PUT", manifestPath("a", "v1"), index, "Content-Type", indexType).code(400, "MANIFEST_BLOB_UNKNOWN")
	strict.push("a", w.Fixture("amd"))
	strict.push("a", w.Fixture("arm"))
	strict.do("PUT", manifestPath("a", "v1"), index, "Content-Type", indexType).status(201)
	sparse := newRegistry(t, serve.Options{Sparse: true})
	sparse.do("PUT", manifestPath("a", "v2"), image, "Content-Type", imageType).status(201)

	foreign := w.Fixture("foreign") // its layer is fetched from elsewhere
	for _, b := range foreign.Layers() {
		if !oci.IsForeign(b.Descriptor()) {
			r.push("a", ocitest.Fixture{Blobs: []oci.Blob{b}})
		}
	}
	m, typ := root("foreign")
	for _, b := range foreign.Blobs {
		if oci.IsConfig(b.Descriptor().MediaType) {
			r.push("a", ocitest.Fixture{Blobs: []oci.Blob{b}})
		}
	}
	r.do("PUT", manifestPath("a", "win"), m, "Content-Type", typ).status(201)
}

func TestConditionalRequests(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	f, g := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	r.push("a", f, "v1")
	r.push("a", g)
	etag := `"` + string(f.Root.Digest) + `"`
	r.do("GET", manifestPath("a", "v1"), "").status(200).header("ETag", etag)
	for _, cond := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		r.do("GET", manifestPath("a", "v1"), "", "If-None-Match", cond).status(http.StatusNotModified).header("ETag", etag).text("")
		r.do("HEAD", manifestPath("a", "v1"), "", "If-None-Match", cond).status(http.StatusNotModified)
	}
	r.do("GET", manifestPath("a", "v1"), "", "If-None-Match", `"x"`).status(200)
	layer := f.Layers()[0].Descriptor().Digest
	r.do("GET", blobPath("a", layer), "", "If-None-Match", `"`+string(layer)+`"`).status(http.StatusNotModified)

	put := func(tag string, h ...string) *reply {
		return r.do("PUT", manifestPath("a", tag), bytesOf(t, g.Blob(g.Root.Digest)), append(h, "Content-Type", oci.MediaManifest)...)
	}
	put("v1", "If-Match", `"`+string(g.Root.Digest)+`"`).status(412)
	put("new", "If-Match", "*").status(412)
	put("v1", "If-None-Match", "*").status(412)
	r.do("GET", manifestPath("a", "v1"), "").header("ETag", etag)
	r.do("DELETE", manifestPath("a", "v1"), "", "If-Match", `"x"`).status(412)
	put("v1", "If-Match", etag).status(201)
	put("v1", "If-Match", etag).status(412) // no longer
	put("new", "If-None-Match", "*").status(201)
	r.do("DELETE", manifestPath("a", "v1"), "", "If-Match", `"`+string(g.Root.Digest)+`"`).status(202)
}
