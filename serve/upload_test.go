// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// ways to push a blob that a client may choose from. Each returns the last
// answer.
var ways = map[string]func(r *registry, content string, d oci.Digest) *reply{
	"PostOnly": func(r *registry, content string, d oci.Digest) *reply {
		return r.do("POST", "/v2/a/b/blobs/uploads/?digest="+string(d), content, "Content-Type", octets)
	},
	"PostPut": func(r *registry, content string, d oci.Digest) *reply {
		loc := r.do("POST", "/v2/a/b/blobs/uploads/", "").status(202).location()
		return r.do("PUT", with(loc, "digest="+string(d)), content)
	},
	"PostPutWithAlgorithm": func(r *registry, content string, d oci.Digest) *reply {
		loc := r.do("POST", "/v2/a/b/blobs/uploads/?digest-algorithm="+d.Algorithm().String(), "").status(202).location()
		return r.do("PUT", with(loc, "digest="+string(d)), content)
	},
	"PostWithoutSlash": func(r *registry, content string, d oci.Digest) *reply {
		loc := r.do("POST", "/v2/a/b/blobs/uploads", "").status(202).location()
		return r.do("PUT", with(loc, "digest="+string(d)), content)
	},
	"Stream": func(r *registry, content string, d oci.Digest) *reply {
		loc := r.do("POST", "/v2/a/b/blobs/uploads/", "").status(202).location()
		loc = r.stream("PATCH", loc, strings.NewReader(content), -1).status(202).location()
		return r.do("PUT", with(loc, "digest="+string(d)), "")
	},
	"StreamInPut": func(r *registry, content string, d oci.Digest) *reply {
		loc := r.do("POST", "/v2/a/b/blobs/uploads/", "").status(202).location()
		return r.stream("PUT", with(loc, "digest="+string(d)), strings.NewReader(content), -1)
	},
	"Chunked":         func(r *registry, content string, d oci.Digest) *reply { return chunked(r, content, d, false, false) },
	"ChunkedPutLast":  func(r *registry, content string, d oci.Digest) *reply { return chunked(r, content, d, true, false) },
	"OutOfOrder":      func(r *registry, content string, d oci.Digest) *reply { return chunked(r, content, d, false, true) },
	"OutOfOrderPut":   func(r *registry, content string, d oci.Digest) *reply { return chunked(r, content, d, true, true) },
	"MountMissingPut": mountMissing,
}

func mountMissing(r *registry, content string, d oci.Digest) *reply {
	loc := r.do("POST", "/v2/a/b/blobs/uploads/?from=x/y&mount="+string(d), "").status(202).location()
	return r.do("PUT", with(loc, "digest="+string(d)), content)
}

// chunked sends three chunks, the last one with PUT if wanted, and before each
// a wrong one if wanted.
func chunked(r *registry, content string, d oci.Digest, putLast, outOfOrder bool) *reply {
	r.t.Helper()
	loc := r.do("POST", "/v2/a/b/blobs/uploads/", "").status(202).location()
	size := len(content)/3 + 1
	for start := 0; start < len(content); start += size {
		end := min(start+size, len(content))
		if outOfOrder {
			bad := start + size
			if bad >= len(content) {
				bad = 0
			}
			wrong, method, target := content[bad:min(bad+size, len(content))], "PATCH", loc
			if putLast && bad+size >= len(content) {
				method, target = "PUT", with(loc, "digest="+string(d))
			}
			got := r.do(method, target, wrong, "Content-Range", fmt.Sprintf("%d-%d", bad, bad+len(wrong)-1)).code(416, "BLOB_UPLOAD_INVALID")
			got.header("Range", fmt.Sprintf("0-%d", max(0, start-1))).location()
			loc = r.do("GET", loc, "").status(204).header("Range", fmt.Sprintf("0-%d", max(0, start-1))).location()
		}
		header := fmt.Sprintf("%d-%d", start, end-1)
		if putLast && end == len(content) {
			return r.do("PUT", with(loc, "digest="+string(d)), content[start:end], "Content-Range", header)
		}
		loc = r.do("PATCH", loc, content[start:end], "Content-Range", header, "Content-Type", octets).
			status(202).header("Range", fmt.Sprintf("0-%d", end-1)).location()
	}
	return r.do("PUT", with(loc, "digest="+string(d)), "")
}

// spills is a size that does not stay in memory without an UploadDir.
const spills = 4 << 20

func TestPushBlob(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		for _, alg := range algorithms {
			for _, n := range []int{0, 2, 512, 3*1024 - 5, spills + 1} {
				if n > spills && name != "Stream" && name != "Chunked" {
					continue // costs time and tells nothing new
				}
				for _, dir := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/%d/%v", name, alg, n, dir), func(t *testing.T) {
						t.Parallel()
						var o serve.Options
						if dir {
							o.UploadDir = t.TempDir() + "/new"
						}
						r := newRegistry(t, o)
						content := string(ocitest.Random(uint64(n), n))
						d := alg.FromString(content)
						r.do("GET", blobPath("a/b", d), "").code(404, "BLOB_UNKNOWN")
						loc := way(r, content, d).status(201).header("Docker-Content-Digest", string(d)).location()
						if loc != blobPath("a/b", d) {
							t.Errorf("Location is %s", loc)
						}
						r.do("GET", loc, "").status(200).text(content).header("Docker-Content-Digest", string(d)).
							header("Content-Length", fmt.Sprint(n)).header("Content-Type", octets)
						r.do("HEAD", loc, "").status(200).text("").header("Content-Length", fmt.Sprint(n)).header("Docker-Content-Digest", string(d))
						r.do("DELETE", loc, "").status(202)
						r.do("HEAD", loc, "").status(404)
					})
				}
			}
		}
	}
}

func TestBad_107_WrongDigestKeepsNothing(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		for _, alg := range algorithms {
			t.Run(name+"/"+alg.String(), func(t *testing.T) {
				t.Parallel()
				r := newRegistry(t, serve.Options{})
				d := alg.FromString("what was meant")
				sent := "what was meant, and more of it"
				way(r, sent, d).code(400, "DIGEST_INVALID")
				r.do("GET", blobPath("a/b", d), "").status(404)
				r.do("GET", blobPath("a/b", alg.FromString(sent)), "").status(404)
				r.do("GET", "/v2/_catalog", "").status(200).text(`{"repositories":[]}`)
			})
		}
	}
	r := newRegistry(t, serve.Options{})
	loc := r.do("POST", "/v2/a/blobs/uploads/", "").status(202).location()
	for _, bad := range []string{"", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "x"} {
		r.do("PUT", with(loc, "digest="+bad), "x").code(400, "DIGEST_INVALID")
		r.do("POST", "/v2/a/blobs/uploads/?digest="+bad, "x").code(400, "DIGEST_INVALID")
	}
	r.do("PUT", loc, "x").code(400, "DIGEST_INVALID")
	r.do("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", "").code(400, "DIGEST_INVALID")
	// The session is none the worse for it, but a wrong digest ends it.
	r.do("PUT", with(loc, "digest="+string(digest.FromString("y"))), "x").code(400, "DIGEST_INVALID")
	r.do("GET", loc, "").code(404, "BLOB_UPLOAD_UNKNOWN")
}

func TestUploadSession(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	start := r.do("POST", "/v2/a/blobs/uploads/", "").status(202).header("Range", "0-0").header("OCI-Chunk-Min-Length", "")
	loc := start.location()
	r.do("GET", loc, "").status(204).header("Range", "0-0").header("Location", loc)
	r.do("PATCH", loc, "abc").status(202).header("Range", "0-2").header("Location", loc)
	r.do("PATCH", loc, "def").status(202).header("Range", "0-5") // streamed, goes on at the end
	r.do("PATCH", loc, "gh", "Content-Range", "6-7").status(202).header("Range", "0-7")
	r.do("PATCH", loc, "gh", "Content-Range", "bytes 8-9/10").status(202).header("Range", "0-9")
	for _, bad := range []string{"x", "5-4", "-1-3", "0-", "9-10", "11-12", "0-1", "99999999999999999999-99999999999999999999"} {
		r.do("PATCH", loc, "xy", "Content-Range", bad).status(416).header("Range", "0-9").header("Location", loc)
	}
	r.do("PATCH", loc, "xyz", "Content-Range", "10-11").code(400, "SIZE_INVALID")
	r.stream("PATCH", loc, strings.NewReader("xyz"), -1, "Content-Range", "10-11").code(400, "SIZE_INVALID")
	r.stream("PATCH", loc, strings.NewReader("x"), -1, "Content-Range", "10-11").code(400, "SIZE_INVALID")
	r.do("GET", loc, "").status(204).header("Range", "0-9")
	r.do("PUT", with(loc, "digest="+string(digest.FromString("abcdefghgh!"))), "!", "Content-Range", "10-10").status(201)
	r.do("GET", loc, "").code(404, "BLOB_UPLOAD_UNKNOWN")

	loc = r.do("POST", "/v2/a/blobs/uploads/", "").location()
	r.do("DELETE", loc, "").status(204)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		r.do(method, loc, "").code(404, "BLOB_UPLOAD_UNKNOWN")
	}
	r.do("PUT", with(loc, "digest="+string(digest.FromString(""))), "").code(404, "BLOB_UPLOAD_UNKNOWN")
}

// What arrived of a body that breaks off stays, and the upload goes on there.
func TestUploadGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	content := string(ocitest.Random(1, 300_000))
	for _, dir := range []string{"", t.TempDir()} {
		r := newRegistry(t, serve.Options{UploadDir: dir})
		loc := r.do("POST", "/v2/a/blobs/uploads/", "").location()
		cut := io.MultiReader(strings.NewReader(content[:200_000]), iotest.ErrReader(io.ErrUnexpectedEOF))
		r.stream("PATCH", loc, cut, 300_000, "Content-Range", "0-299999").code(400, "BLOB_UPLOAD_INVALID")
		r.do("GET", loc, "").status(204).header("Range", "0-199999")
		if dir != "" { // also across a restart
			r.Handler = serve.New(r.catalog, serve.Options{UploadDir: dir})
			r.do("GET", strings.Replace(loc, "/v2/a/", "/v2/b/", 1), "").code(404, "BLOB_UPLOAD_UNKNOWN")
			r.do("GET", loc, "").status(204).header("Range", "0-199999")
		}
		r.do("PATCH", loc, content[200_000:], "Content-Range", "200000-299999").status(202)
		d := digest.FromString(content)
		r.do("PUT", with(loc, "digest="+string(d)), "").status(201)
		r.do("GET", blobPath("a", d), "").status(200).text(content)
	}
}

func TestMount(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	d := r.upload("lib/source", "shared")
	for _, query := range []string{"mount=" + string(d) + "&from=lib/source", "from=lib%2Fsource&mount=" + string(d), "mount=" + string(d)} {
		got := r.do("POST", "/v2/app/blobs/uploads/?"+query, "").status(201)
		got.header("Location", blobPath("app", d)).header("Docker-Content-Digest", string(d))
		r.do("GET", blobPath("app", d), "").status(200).text("shared")
		r.do("POST", "/v2/app/blobs/uploads/?mount="+string(d)+"&from=not/there", "").status(201) // it is there by now
		r.do("DELETE", blobPath("app", d), "").status(202)
	}
	r.do("GET", blobPath("lib/source", d), "").status(200)
	missing := string(digest.FromString("missing"))
	for _, query := range []string{"mount=" + missing + "&from=lib/source", "mount=" + missing, "mount=" + string(d) + "&from=other",
		"mount=" + string(d) + "&from=UPPER", "mount=garbage&from=lib/source", "mount=", "mount=" + string(d) + "&from=a/manifests/b"} {
		loc := r.do("POST", "/v2/app/blobs/uploads/?"+query, "").status(202).location()
		r.do("GET", loc, "").status(204)
		r.do("HEAD", blobPath("app", d), "").status(404)
	}
}

// adopter takes over files.
type adopter struct {
	oci.Store
	adopted *[]string
	err     error
}

func (a adopter) Unwrap() any { return a.Store }

func TestStoreMayAdoptTheFile(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, oci.ErrUnsupported, errors.New("disk on fire")} {
		r := newRegistry(t, serve.Options{})
		var paths []string
		c := wrapCatalog{r.catalog, func(s oci.Store) oci.Store { return adopter{s, &paths, err} }}
		r.Handler = serve.New(c, serve.Options{UploadDir: t.TempDir()})
		loc := r.do("POST", "/v2/a/blobs/uploads/", "").location()
		d := digest.FromString("adopt me")
		got := r.do("PUT", with(loc, "digest="+string(d)), "adopt me")
		if len(paths) != 1 {
			t.Errorf("%v: adopted %q", err, paths)
		}
		switch {
		case err == nil || errors.Is(err, oci.ErrUnsupported):
			got.status(201)
			r.do("GET", blobPath("a", d), "").status(200)
		default:
			got.code(500, "UNKNOWN")
			if strings.Contains(got.body, "fire") {
				t.Errorf("the answer tells too much: %s", got.body)
			}
			r.do("GET", loc, "").status(204) // it can be tried again
		}
	}
}
