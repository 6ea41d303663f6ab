// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// cutAt sends the headers and the first n bytes of a body, and then ends the
// connection.
func cutAt(raw []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", oci.MediaManifest)
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		_, _ = w.Write(raw[:n])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestBad_038_CutBodies(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 100_000)
	b, m := f.Layers()[0], f.Blob(f.Root.Digest)
	n := b.Descriptor().Size
	g := newRig(t, serve.Options{})
	g.name("layer", b.Descriptor().Digest)
	g.push("a", f, "v1")

	g.once(is("GET", "/blobs/"), cutAt(contents(t, b), 1000))
	wantBytes(t, g.repo("a"), b)
	g.want("GET a/blobs/layer", fmt.Sprintf("GET a/blobs/layer bytes=1000-%d", n-1))

	g.once(is("GET", "/blobs/"), cutAt(contents(t, b), 0))
	wantBytes(t, g.repo("a"), b)
	g.want("GET a/blobs/layer", "GET a/blobs/layer")

	g.once(is("GET", "/manifests/"), cutAt(contents(t, m), 10)) // metadata is asked for again
	wantBytes(t, g.repo("a"), m)
	g.once(is("GET", "/manifests/"), cutAt(contents(t, m), 10))
	if err := g.repo("a").Tag(t.Context(), "v2", f.Root); err != nil {
		t.Error(err)
	}
	g.once(is("GET", "/tags/"), cutAt([]byte(`{"tags":["other"]}`), 5))
	if tags, err := collect(g.repo("a").Tags(t.Context())); err != nil || len(tags) != 2 {
		t.Errorf("tags: %q, %v", tags, err)
	}
	g.once(is("GET", "/referrers/"), cutAt([]byte(`{"manifests":[]}`), 5))
	if _, err := collect(g.repo("a").Referrers(t.Context(), f.Root, "")); err != nil {
		t.Error(err)
	}

	g.on(func(w http.ResponseWriter, r *http.Request) bool { // never more than nothing
		if r.Method == "GET" {
			cutAt(contents(t, b), 0)(w, r)
		}
		return false
	})
	for _, d := range []oci.Descriptor{b.Descriptor(), f.Root} {
		_, err := read(t.Context(), g.repo("a"), d)
		wantErr(t, err, oci.ErrBusy)
	}
	g.on(func(w http.ResponseWriter, r *http.Request) bool { // one byte at a time
		if off, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
			off, _, _ = strings.Cut(off, "-")
			at, _ := strconv.Atoi(off)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, at, n))
			w.WriteHeader(206)
			_, _ = w.Write(contents(t, b)[at : at+1])
			return true
		}
		cutAt(contents(t, b), 1)(w, r)
		return true
	})
	_, err := read(t.Context(), g.repo("a"), b.Descriptor())
	wantErr(t, err, oci.ErrBusy)
}

// part answers a Range request with a part of raw under a Content-Range of its
// own.
func part(raw []byte, ranges ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, v := range ranges {
			w.Header().Add("Content-Range", v)
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(raw)
	}
}

func sized(raw []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		_, _ = w.Write(raw)
	}
}

func TestBad_039_WrongRanges(t *testing.T) {
	t.Parallel()
	b := layer(1, 10_000)
	raw := contents(t, b)
	wrong := ocitest.Random(2, 9000)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   error // of the whole; nil: it is read from the start
	}{
		"ignored":         {nil, nil},
		"wrong start":     {part(raw[999:], "bytes 999-9999/10000"), nil},
		"later start":     {part(raw[1001:], "bytes 1001-9999/10000"), nil},
		"wrong total":     {part(raw[1000:], "bytes 1000-9999/10001"), nil},
		"beyond the end":  {part(raw[1000:], "bytes 1000-10000/10001"), nil},
		"reversed":        {part(raw[1000:], "bytes 9999-1000/10000"), nil},
		"two headers":     {part(raw[1000:], "bytes 1000-9999/10000", "bytes 0-9999/10000"), nil},
		"no header":       {part(raw[1000:]), nil},
		"other unit":      {part(raw[1000:], "lines 1000-9999/10000"), nil},
		"signed":          {part(raw[1000:], "bytes +1000-9999/10000"), nil},
		"overflow":        {part(raw[1000:], "bytes 1000-99999999999999999999/*"), nil},
		"unknown total":   {part(raw[1000:], "bytes 1000-9999/*"), nil},
		"short part":      {part(raw[1000:2000], "bytes 1000-1999/10000"), nil},
		"wrong bytes":     {part(wrong, "bytes 1000-9999/10000"), oci.ErrCorrupt},
		"more bytes":      {part(append(raw[1000:10000:10000], 0), "bytes 1000-9999/10000"), oci.ErrCorrupt},
		"not satisfiable": {fails(416, "SIZE_INVALID"), nil},
		"forbidden":       {fails(403, "DENIED"), nil},
		"gone":            {fails(404, "BLOB_UNKNOWN"), oci.ErrNotFound},
		"other length":    {sized(raw[:9999]), oci.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{Quirks: serve.Quirks{NoRange: true}})
			g.push("a", ocitest.Fixture{Blobs: []oci.Blob{b}})
			var gets, ranges atomic.Int64
			g.on(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case gets.Add(1) == 1:
					cutAt(raw, 1000)(w, r)
				case c.answer != nil && r.Header.Get("Range") != "" && ranges.Add(1) <= 1:
					c.answer(w, r)
					return true
				}
				return false
			})
			got, err := read(t.Context(), g.repo("a"), b.Descriptor())
			if c.kind == nil && (err != nil || string(got) != string(raw)) || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got %d bytes, %v, want %v", len(got), err, c.kind)
			}
		})
	}
}

// A part alone cannot be verified: it is either what was asked for or refused.
func TestBad_039_WrongParts(t *testing.T) {
	t.Parallel()
	b := layer(1, 10_000)
	raw := contents(t, b)
	for name, answer := range map[string]http.HandlerFunc{
		"ignored":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) },
		"wrong start": part(raw[1001:2001], "bytes 1001-2000/10000"),
		"wrong total": part(raw[1000:2000], "bytes 1000-1999/20000"),
		"two headers": part(raw[1000:2000], "bytes 1000-1999/10000", "bytes 1000-1999/10000"),
		"no header":   part(raw[1000:2000]),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rc, err := answering(t, answer).repo("a").OpenRange(t.Context(), b.Descriptor(), 1000, 1000)
			if err == nil {
				rc.Close()
			}
			wantErr(t, err, oci.ErrUnsupported)
		})
	}
	g := answering(t, part(raw[1000:3000], "bytes 1000-1999/10000")) // more than it says
	rc, err := g.repo("a").OpenRange(t.Context(), b.Descriptor(), 1000, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || string(got) != string(raw[1000:2000]) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestBad_040_WrongLengths(t *testing.T) {
	t.Parallel()
	b := layer(1, 1000)
	raw := contents(t, b)
	for name, sent := range map[string][]byte{"one more": append(raw[:1000:1000], 0), "many more": append(raw[:1000:1000], ocitest.Random(2, 100_000)...),
		"short": raw[:999], "empty": nil} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, chunked), func(t *testing.T) {
				t.Parallel()
				g := answering(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Range") != "" && !chunked { // nothing more to come
						w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
						return
					}
					if chunked {
						_ = http.NewResponseController(w).Flush()
					}
					_, _ = w.Write(sent)
				})
				got, err := read(t.Context(), g.repo("a"), b.Descriptor())
				wantErr(t, err, oci.ErrCorrupt)
				if len(got) >= 1000 {
					t.Errorf("%d bytes were handed out", len(got))
				}
			})
		}
	}
}

func TestBad_041_FlippedBit(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 1000)
	flip := func(b []byte, at int) []byte {
		b = append([]byte(nil), b...)
		b[at] ^= 1
		return b
	}
	for _, b := range f.Blobs {
		raw := contents(t, b)
		for _, at := range []int{0, len(raw) / 2, len(raw) - 1} {
			g := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", b.Descriptor().MediaType)
				_, _ = w.Write(flip(raw, at))
			})
			ocitest.CheckCorrupt(t, g.repo("a"), b.Descriptor())
			if oci.IsManifest(b.Descriptor().MediaType) {
				wantErr(t, g.repo("a").Tag(t.Context(), "v1", b.Descriptor()), oci.ErrCorrupt)
			}
			ok := newRig(t, serve.Options{})
			_, err := ok.repo("a").Put(t.Context(), described{oci.Bytes("", flip(raw, at)), b.Descriptor()})
			wantErr(t, err, oci.ErrCorrupt)
			wantAbsent(t, ok.stored("a"), b.Descriptor())
		}
	}
}

func TestBad_042_DigestHeader(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	raw := contents(t, f.Blob(f.Root.Digest))
	other := string(oci.FromBytes([]byte("other")))
	for _, told := range []string{"", "nonsense", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		g := document(t, oci.MediaManifest, string(raw), "Docker-Content-Digest", told)
		for _, name := range []string{"v1", string(f.Root.Digest)} {
			if d, err := g.repo("a").Resolve(t.Context(), name); err != nil || d.Digest != f.Root.Digest {
				t.Errorf("header %q: %v, %v", told, d.Digest, err)
			}
		}
	}
	g := document(t, oci.MediaManifest, string(raw), "Docker-Content-Digest", other)
	a := g.repo("a")
	_, err := a.Resolve(t.Context(), string(f.Root.Digest))
	wantErr(t, err, oci.ErrCorrupt)
	d, err := a.Resolve(t.Context(), "v1") // HEAD alone cannot tell
	if err == nil {
		_, err = oci.Fetch(t.Context(), a, d)
	}
	wantErr(t, err, oci.ErrCorrupt)

	g = newRig(t, serve.Options{})
	g.push("a", ocitest.Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]})
	g.on(func(w http.ResponseWriter, r *http.Request) bool { // it says to have stored something else
		if r.Method == "PUT" {
			w.Header().Set("Docker-Content-Digest", other)
			w.WriteHeader(201)
		}
		return r.Method == "PUT"
	})
	wantErr(t, g.repo("a").Publish(t.Context(), f.Blob(f.Root.Digest), "v1"), oci.ErrCorrupt)
	_, err = g.repo("a").Put(t.Context(), layer(3, 10))
	wantErr(t, err, oci.ErrCorrupt)
}

func TestBad_043_HeadThatDoesNotWork(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	for name, head := range map[string]http.HandlerFunc{
		"405":       fails(405, "UNSUPPORTED"),
		"501":       fails(501, "UNSUPPORTED"),
		"404":       fails(404, "MANIFEST_UNKNOWN"),
		"no length": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", oci.MediaManifest) },
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Header().Set("Docker-Content-Digest", string(oci.FromBytes(nil)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			g.push("a", f, "v1")
			g.on(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "HEAD" {
					head(w, r)
				}
				return r.Method == "HEAD"
			})
			a := g.repo("a").ForReading()
			if d, err := a.Resolve(t.Context(), "v1"); err != nil || d.Digest != f.Root.Digest || d.Size != f.Root.Size {
				t.Errorf("resolve: %+v, %v", d, err)
			}
			for _, b := range f.Blobs {
				d := b.Descriptor()
				d.Size = 0
				if got, err := g.repo("a").ForReading().Stat(t.Context(), d); name != "no type" && (err != nil || got.Size != b.Descriptor().Size) {
					t.Errorf("stat: %+v, %v", got, err)
				}
			}
		})
	}
}

// What is resolved stays what it is, whatever happens to the tag.
func TestBad_053_TagMoves(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f, other := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	g.push("a", f, "v1")
	a := g.repo("a")
	d, err := a.Resolve(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	g.push("a", other, "v1")
	if got, err := read(t.Context(), a, d); err != nil || oci.FromBytes(got) != f.Root.Digest {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := g.stored("a").(oci.Deleter).Delete(t.Context(), f.Root); err != nil {
		t.Fatal(err)
	}
	_, err = read(t.Context(), a, d)
	wantErr(t, err, oci.ErrNotFound)
	if now, err := a.Resolve(t.Context(), "v1"); err != nil || now.Digest != other.Root.Digest {
		t.Errorf("resolve: %v, %v", now.Digest, err)
	}
}

func TestBad_056_ErrorBodies(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"html":    "<html>" + strings.Repeat("x", 100_000),
		"escapes": "\x1b[2J\x1b]0;title\a\r\n\u202e",
		"codes":   `{"errors":[` + strings.Repeat(`{"code":"DENIED\u001b[2J","message":"\n\u001b[1m"},`, 1000) + `{}]}`,
		"endless": strings.Repeat("go away ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(403)
				for range 12 {
					_, _ = io.WriteString(w, body)
				}
			})
			a := g.repo("a")
			_, err := a.Stat(t.Context(), ocitest.Image(1, 1, 1).Root)
			wantErr(t, err, oci.ErrDenied)
			_, err = a.Open(t.Context(), ocitest.Image(1, 1, 1).Root)
			wantErr(t, err, oci.ErrDenied)
			_, err = collect(a.Tags(t.Context()))
			wantErr(t, err, oci.ErrDenied)
			_, err = a.Put(t.Context(), layer(1, 10))
			wantErr(t, err, oci.ErrDenied)
			wantErr(t, a.Delete(t.Context(), layer(1, 10).Descriptor()), oci.ErrDenied)
		})
	}
}
