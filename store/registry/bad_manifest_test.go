// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

func TestBad_005_Digests(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	a := g.repo("a")
	good := string(oci.FromBytes(nil))
	for _, s := range []string{"", "sha256", "sha256:", good[:70], good + "0", strings.ToUpper(good), "sha256:" + strings.Repeat("A", 64),
		"sha256:../../../../v2/x", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha512:" + good[7:], good + "?x", good + "/", good + "\n"} {
		d := oci.Descriptor{MediaType: oci.MediaLayer, Digest: oci.Digest(s), Size: 1}
		m := oci.Descriptor{MediaType: oci.MediaManifest, Digest: oci.Digest(s), Size: 1}
		_, err := a.Stat(t.Context(), d)
		wantErr(t, err, oci.ErrInvalid)
		_, err = a.Open(t.Context(), m)
		wantErr(t, err, oci.ErrInvalid)
		_, err = a.OpenRange(t.Context(), d, 0, 1)
		wantErr(t, err, oci.ErrInvalid)
		_, err = a.Put(t.Context(), oci.Bytes(oci.MediaLayer, []byte("x"), d.Digest))
		if s != "" {
			wantErr(t, err, oci.ErrInvalid)
		}
		wantErr(t, a.Publish(t.Context(), oci.Bytes(oci.MediaManifest, []byte("x"), d.Digest), "v1"), oci.ErrInvalid)
		wantErr(t, a.Tag(t.Context(), "v1", m), oci.ErrInvalid)
		wantErr(t, a.Delete(t.Context(), d), oci.ErrInvalid)
		_, err = collect(a.Referrers(t.Context(), d, ""))
		wantErr(t, err, oci.ErrInvalid)
	}
	for _, s := range []string{"", "a b", "../x", "-a", ".a", "a/b", "a?b", "a\nb", strings.Repeat("a", 129), "sha256:abc"} {
		_, err := a.Resolve(t.Context(), s)
		wantErr(t, err, oci.ErrInvalid)
		wantErr(t, a.Untag(t.Context(), s), oci.ErrInvalid)
		wantErr(t, a.Tag(t.Context(), s, ocitest.Image(1, 1, 1).Root), oci.ErrInvalid)
		wantErr(t, oci.Publish(t.Context(), a, oci.Bytes(oci.MediaManifest, []byte("{}")), s), oci.ErrInvalid)
	}
	g.want()
}

const (
	config = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}`
	plain  = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + config + `,"layers":[]}`
)

// document is a registry whose only manifest is this text, under any name.
func document(t *testing.T, mediaType, text string, headers ...string) *rig {
	return answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = io.WriteString(w, text)
	})
}

// wantRefused checks that a document is not taken for a manifest, by tag and by
// digest, and that a tag is not set to it.
func wantRefused(t *testing.T, g *rig, text string, kind error) {
	t.Helper()
	a := g.repo("a")
	_, err := a.Resolve(t.Context(), "v1")
	wantErr(t, err, kind)
	d := oci.Descriptor{MediaType: oci.MediaManifest, Digest: oci.FromBytes([]byte(text)), Size: int64(len(text))}
	wantErr(t, a.Tag(t.Context(), "v2", d), kind)
	if n := g.count("PUT"); n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestBad_008_Ambiguous(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{oci.MediaManifest, strings.Replace(plain, `"layers"`, `"manifests":[],"layers"`, 1)},
		{oci.MediaIndex, strings.Replace(plain, `"layers"`, `"manifests":[],"layers"`, 1)},
		{oci.MediaIndex, plain},
		{oci.MediaDockerManifest, plain},
		{oci.MediaManifest, `{"schemaVersion":2,"manifests":[]}`},
	} {
		wantRefused(t, document(t, c[0], c[1]), c[1], oci.ErrInvalid)
	}
}

func TestBad_009_DuplicateKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{`"layers":[],`, `"Layers":[],`, `"CONFIG":{},`, `"Digest":"x",`} {
		text := strings.Replace(plain, `"layers"`, key+`"layers"`, 1)
		wantRefused(t, document(t, oci.MediaManifest, text), text, oci.ErrInvalid)
	}
}

func TestBad_010_NotQuiteJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", plain + "{}", "\ufeff" + plain, plain + "\x00", strings.Replace(plain, `"size":2`, `"size":2.0`, 1),
		strings.Replace(plain, `"size":2`, `"size":2e0`, 1), strings.Replace(plain, `"size":2`, `"size":NaN`, 1),
		strings.Replace(plain, `"layers"`, "\"\xff\":1,\"layers\"", 1)} {
		wantRefused(t, document(t, oci.MediaManifest, text), text, oci.ErrInvalid)
	}
}

func TestBad_011_EndlessManifest(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	g := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "HEAD" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", oci.MediaManifest)
		block := bytes.Repeat([]byte(" "), 1<<16)
		for range 600 << 4 { // 600 MiB
			n, err := w.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	a := g.repo("a")
	_, err := a.Resolve(t.Context(), "v1")
	wantErr(t, err, oci.ErrInvalid)
	_, err = a.Open(t.Context(), ocitest.Image(1, 1, 1).Root)
	wantErr(t, err, oci.ErrInvalid)
	wantErr(t, a.Tag(t.Context(), "v2", ocitest.Image(1, 1, 1).Root), oci.ErrInvalid)
	_, err = collect(a.Tags(t.Context()))
	wantErr(t, err, oci.ErrInvalid)
	if n := sent.Load(); n > 100<<20 { // four answers, the last of them a page; the rest is in the network's buffers
		t.Errorf("%d bytes were taken", n)
	}
	wantErr(t, a.Publish(t.Context(), oci.Bytes(oci.MediaManifest, make([]byte, oci.MaxManifest+1)), "v1"), oci.ErrInvalid)
}

func TestBad_012_ContentEncoding(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 50<<20))
	_ = z.Close()
	g := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if e := r.Header.Get("Accept-Encoding"); e != "identity" {
			t.Errorf("Accept-Encoding is %q", e)
		}
		w.Header().Set("Content-Type", oci.MediaManifest)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	a := g.repo("a")
	_, err := a.Resolve(t.Context(), "v1")
	wantErr(t, err, oci.ErrInvalid)
	_, err = read(t.Context(), a, layer(1, 1000).Descriptor())
	wantErr(t, err, oci.ErrInvalid)
	_, err = read(t.Context(), a, ocitest.Image(1, 1, 1).Root)
	wantErr(t, err, oci.ErrInvalid)
}

func TestBad_015_WrongSizes(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.push("a", f, "v1")
	for _, b := range f.Blobs {
		for _, off := range []int64{-3, -1, 1, 3} {
			d := b.Descriptor()
			d.Size += off
			a := g.repo("a")
			got, err := read(t.Context(), a, d)
			wantErr(t, err, oci.ErrCorrupt)
			if int64(len(got)) >= d.Size {
				t.Errorf("%d of %d bytes before the error", len(got), d.Size)
			}
			_, err = a.Stat(t.Context(), d)
			wantErr(t, err, oci.ErrCorrupt)
			_, err = g.repo("b").Put(t.Context(), described{b, d})
			wantErr(t, err, oci.ErrCorrupt)
			_, err = g.repo("a").Put(t.Context(), described{b, d}) // it is there, with its own size
			wantErr(t, err, oci.ErrCorrupt)
			wantAbsent(t, g.stored("b"), b.Descriptor())
		}
		d := b.Descriptor()
		d.Size = -1
		_, err := g.repo("a").Open(t.Context(), d)
		wantErr(t, err, oci.ErrInvalid)
		_, err = g.repo("b").Put(t.Context(), described{b, d})
		wantErr(t, err, oci.ErrInvalid)
	}
}

// described is a blob that calls itself something else.
type described struct {
	oci.Blob
	d oci.Descriptor
}

func (d described) Descriptor() oci.Descriptor { return d.d }

func TestBad_016_HugeSizes(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 1000)
	g := newRig(t, serve.Options{})
	g.push("a", f)
	chunked := answering(t, func(w http.ResponseWriter, _ *http.Request) { // no Content-Length
		for range 3 {
			_, _ = w.Write([]byte("some"))
			w.(http.Flusher).Flush()
		}
	})
	for _, b := range f.Blobs {
		d := b.Descriptor()
		d.Size = 1 << 62
		for _, g := range []*rig{g, chunked} {
			_, err := read(t.Context(), g.repo("a"), d)
			if !errors.Is(err, oci.ErrCorrupt) && !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("read: %v", err)
			}
			if rc, err := g.repo("a").OpenRange(t.Context(), d, 1<<61, -1); err == nil {
				_, err = io.ReadAll(rc)
				rc.Close()
				if err == nil {
					t.Error("read a range of nothing")
				}
			}
		}
		_, err := g.repo("b").Put(t.Context(), described{b, d})
		if err == nil {
			t.Error("put went well")
		}
		wantAbsent(t, g.stored("b"), b.Descriptor())
	}
}

// A digest that is known as a manifest is not known as a blob.
func TestBad_017_OneDigestTwoKinds(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 10)
	g.push("a", ocitest.Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]})
	a := g.repo("a")
	m := f.Blob(f.Root.Digest)
	wantPut(t, a, m, oci.Sent)
	d := f.Root
	d.MediaType = oci.MediaLayer
	wantPut(t, a, described{m, d}, oci.Sent)
	wantPut(t, a, described{m, d}, oci.Existed)
	if _, err := g.stored("a").Stat(t.Context(), d); err != nil {
		t.Errorf("the blob is not there: %v", err)
	}
}

func TestBad_018_NotARegistry(t *testing.T) {
	t.Parallel()
	const page = "<html><title>Sign in</title></html>"
	g := document(t, "text/html; charset=utf-8", page)
	wantRefused(t, g, page, oci.ErrInvalid)
	a := g.repo("a")
	_, err := read(t.Context(), a, layer(1, 1000).Descriptor())
	wantErr(t, err, oci.ErrCorrupt)
	_, err = collect(a.Tags(t.Context()))
	wantErr(t, err, oci.ErrInvalid)
	_, err = collect(g.client().Repositories(t.Context()))
	wantErr(t, err, oci.ErrInvalid)
	_, err = a.Put(t.Context(), layer(2, 10))
	if err == nil {
		t.Error("a web page took a blob")
	}
	_, err = collect(a.Referrers(t.Context(), ocitest.Image(1, 1, 1).Root, ""))
	wantErr(t, err, oci.ErrInvalid)
}

// What dray does not know is kept as it is.
func TestBad_018_UnknownTypes(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	a := g.repo("a")
	b := oci.Bytes("application/x.unheard-of", []byte("thing"))
	wantPut(t, a, b, oci.Sent)
	text := fmt.Sprintf(`{"schemaVersion":2,"new":[1, 2],"mediaType":%q,"config":{"mediaType":"application/x.conf","digest":%q,"size":5},"layers":[]}`,
		oci.MediaManifest, b.Descriptor().Digest)
	m := oci.Bytes(oci.MediaManifest, []byte(text))
	if err := a.Publish(t.Context(), m, "v1"); err != nil {
		t.Error(err)
	}
	wantBytes(t, g.repo("a"), m)
	wantBytes(t, g.repo("a"), b)
}

func TestBad_019_Schema1(t *testing.T) {
	t.Parallel()
	text := `{"schemaVersion":1,"name":"a","tag":"v1","fsLayers":[],"history":[],"signatures":[]}`
	for _, mt := range []string{oci.MediaSchema1, oci.MediaSchema1Signed} {
		g := document(t, mt, text, "Docker-Content-Digest", string(oci.FromBytes([]byte("without the signature"))))
		_, err := g.repo("a").Resolve(t.Context(), "v1")
		wantErr(t, err, oci.ErrUnsupported)
		if err != nil && !strings.Contains(err.Error(), "convert") {
			t.Errorf("no advice: %v", err)
		}
	}
}

func TestBad_020_URLs(t *testing.T) {
	t.Parallel()
	other, g := newRig(t, serve.Options{}), newRig(t, serve.Options{})
	d := layer(1, 100).Descriptor()
	d.MediaType, d.URLs = oci.MediaDockerForeign, []string{other.server.URL + "/v2/a/blobs/" + string(d.Digest)}
	other.push("a", ocitest.Fixture{Blobs: []oci.Blob{layer(1, 100)}})
	_, err := read(t.Context(), g.repo("a"), d)
	wantErr(t, err, oci.ErrNotFound)
	other.want()
}

func TestBad_021_EmbeddedData(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	d := oci.FromBytes([]byte("good"))
	for _, x := range []struct {
		d    oci.Descriptor
		kind error
	}{
		{oci.Descriptor{Digest: d, Size: 4, Data: []byte("evil")}, oci.ErrCorrupt},
		{oci.Descriptor{Digest: d, Size: 5, Data: []byte("good")}, oci.ErrCorrupt},
		{oci.Descriptor{Digest: d, Size: oci.MaxData + 1, Data: make([]byte, oci.MaxData+1)}, oci.ErrInvalid},
	} {
		_, err := g.repo("a").Open(t.Context(), x.d)
		wantErr(t, err, x.kind)
		_, err = g.repo("a").Put(t.Context(), described{oci.Bytes("", []byte("good")), x.d})
		wantErr(t, err, x.kind)
	}
	g.want()
}
