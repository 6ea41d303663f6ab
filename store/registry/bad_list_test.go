// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

func TestBad_035_LinkElsewhere(t *testing.T) {
	t.Parallel()
	other := newRig(t, serve.Options{})
	image := ocitest.Image(1, 1, 1).Root
	for _, link := range []string{
		"<" + other.server.URL + "/v2/a/tags/list?last=x>; rel=next", "<//evil.example/v2/a/tags/list>; rel=\"next\"",
		"<https://127.0.0.1/v2/a/tags/list>; rel=\"next\"", "</v2/b/tags/list?last=x>; rel=\"next\"", "<../../x>; rel=next", "<file:///etc/passwd>; rel=next",
		"<http://u:p@" + other.host() + "/>; rel=next", "<:>; rel=next", "<>; rel=prev, </v2/other/x?last=b>;title=\"a,b\";rel=\"last next\"",
	} {
		g := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", link)
			w.Header().Set("Content-Type", oci.MediaIndex)
			_, _ = io.WriteString(w, `{"tags":["a"],"repositories":["a"],"manifests":[]}`)
		})
		_, err := collect(g.repo("a").Tags(t.Context()))
		wantErr(t, err, oci.ErrDenied)
		_, err = collect(g.client().Repositories(t.Context()))
		wantErr(t, err, oci.ErrDenied)
		_, err = collect(g.repo("a").Referrers(t.Context(), image, ""))
		wantErr(t, err, oci.ErrDenied)
		if n := len(g.requests()); n != 3 {
			t.Errorf("%q: %d requests", link, n)
		}
	}
	other.want()
}

func TestBad_047_EndlessLists(t *testing.T) {
	t.Parallel()
	one := ocitest.Image(1, 1, 1).Root
	for name, body := range map[string]string{
		"same":  fmt.Sprintf(`{"tags":["a","b"],"repositories":["a","b"],"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, one.MediaType, one.Digest),
		"empty": `{"tags":[],"repositories":[],"manifests":[]}`,
		"null":  `{"tags":null,"repositories":null,"manifests":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := answering(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "<"+r.URL.Path+"?last=b>; rel=\"next\"")
				w.Header().Set("Content-Type", oci.MediaIndex)
				_, _ = io.WriteString(w, body)
			})
			_, err := collect(g.repo("a").Tags(t.Context()))
			wantErr(t, err, oci.ErrInvalid)
			_, err = collect(g.client().Repositories(t.Context()))
			wantErr(t, err, oci.ErrInvalid)
			_, err = collect(g.repo("a").Referrers(t.Context(), one, ""))
			wantErr(t, err, oci.ErrInvalid)
			if n := len(g.requests()); n > 6 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Pages that go on for ever with something new, or one page without an end.
func TestBad_047_TooMuch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("10,000 pages")
	}
	var n atomic.Int64
	g := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+r.URL.Path+"?last=b>; rel=\"next\"")
		fmt.Fprintf(w, `{"tags":["t%d"]}`, n.Add(1))
	})
	_, err := collect(g.repo("a").Tags(t.Context()))
	wantErr(t, err, oci.ErrInvalid)
	if n.Load() != 10_000 {
		t.Errorf("%d pages", n.Load())
	}
	g = answering(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"tags":[""`+strings.Repeat(`,""`, 2_100_000)+`]}`)
	})
	_, err = collect(g.repo("a").Tags(t.Context()))
	wantErr(t, err, oci.ErrInvalid)
	var sent atomic.Int64
	g = answering(t, func(w http.ResponseWriter, r *http.Request) {
		block := bytes.Repeat([]byte(`"a",`), 1<<14)
		_, _ = io.WriteString(w, `{"tags":[`)
		for range 1 << 13 { // 512 MiB
			if _, err := w.Write(block); err != nil {
				return
			}
			sent.Add(int64(len(block)))
		}
	})
	_, err = collect(g.repo("a").Tags(t.Context()))
	wantErr(t, err, oci.ErrInvalid)
	if sent.Load() > 64<<20 {
		t.Errorf("%d bytes were taken", sent.Load())
	}
}

func TestBad_048_OddLists(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"name":"a","tags":["b","a","b","a"]}`:                       {"a", "b"},
		`{"name":"a","tags":null}`:                                    nil,
		`{"name":"a"}`:                                                nil,
		`{"name":"other/repo","tags":["v1"]}`:                         {"v1"},
		`{"tags":["ok","","../x","a b","\u001b[2J","a/b",".a","-a"]}`: {"ok"},
		`{"tags":["` + strings.Repeat("a", 129) + `","z"]}`:           {"z"},
	} {
		var log bytes.Buffer
		g := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		got, err := collect(g.repo("a", registry.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}).Tags(t.Context()))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", body, got, err)
		}
		if dropped := strings.Contains(body, "../x") || strings.Contains(body, "aaaa"); dropped != (strings.Count(log.String(), "level=WARN") == 1) {
			t.Errorf("%s: logged %q", body, log.String())
		}
	}
	for _, body := range []string{``, `[]`, `null`, `{}`, `{"tags":"v1"}`, `{"tags":[1]}`, `{"tags":{}}`, `{"tags":["a"]`, `{"errors":[]}`} {
		g := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		_, err := collect(g.repo("a").Tags(t.Context()))
		wantErr(t, err, oci.ErrInvalid)
	}
}

// subject has an image, and a repository without the referrers API that has
// all that its artifacts need.
func subject(t *testing.T, q serve.Quirks) (*rig, ocitest.Fixture, []ocitest.Fixture) {
	t.Helper()
	g := newRig(t, serve.Options{Quirks: q})
	image := ocitest.Image(1, 1, 10)
	var refs []ocitest.Fixture
	for i := range 6 {
		f := ocitest.Artifact(uint64(i), "application/x.sig", &image.Root)
		g.push("a", ocitest.Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]})
		refs = append(refs, f)
	}
	g.push("a", image)
	g.name("image", image.Root.Digest)
	return g, image, refs
}

func fallbackTag(d oci.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

func TestBad_054_NoReferrersAPI(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"404": fails(404, "UNSUPPORTED"), "405": fails(405, "UNSUPPORTED"), "400": fails(400, "DIGEST_INVALID"), "501": fails(501, "UNSUPPORTED"),
		"web page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"wrong type": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"manifests":[]}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, image, refs := subject(t, serve.Quirks{NoReferrersAPI: true})
			wantPut(t, g.repo("a"), refs[0].Blob(refs[0].Root.Digest), oci.Sent)
			g.always(is("GET", "/referrers/"), answer)
			got, err := collect(g.repo("a").Referrers(t.Context(), image.Root, ""))
			if err != nil || len(got) != 1 || got[0].Digest != refs[0].Root.Digest || got[0].ArtifactType != "application/x.sig" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for _, status := range []int{401, 403, 500} { // which tell nothing of the API
		g, image, _ := subject(t, serve.Quirks{NoReferrersAPI: true})
		g.always(is("GET", "/referrers/"), fails(status, "UNKNOWN"))
		if got, err := collect(g.repo("a").Referrers(t.Context(), image.Root, "")); err == nil {
			t.Errorf("%d: got %v", status, got)
		}
	}
}

func TestBad_054_OddReferrers(t *testing.T) {
	t.Parallel()
	image, x := ocitest.Image(1, 1, 10).Root, ocitest.Image(2, 1, 10).Root
	entry := func(d, size string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%s,"artifactType":"application/x"}`, x.MediaType, d, size)
	}
	good := entry(string(x.Digest), "10")
	for _, c := range []struct {
		list string
		want int // -1: refused
	}{
		{good, 1}, {good + "," + good, 1}, {"", 0}, {entry("sha256:../../x", "1"), -1}, {entry(string(x.Digest), "-1"), -1},
		{entry(string(x.Digest), `"x"`), -1}, {good + `,{"mediaType":"x","digest":"` + string(image.Digest) + `","size":1}`, 1}, // unfiltered
	} {
		g := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", oci.MediaIndex)
			_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[`+c.list+`]}`)
		})
		got, err := collect(g.repo("a").Referrers(t.Context(), image, "application/x"))
		if c.want < 0 {
			wantErr(t, err, oci.ErrInvalid)
		} else if err != nil || len(got) != c.want {
			t.Errorf("%s: got %v, %v", c.list, got, err)
		}
	}
}

// A tag that is in the way is not overwritten.
func TestBad_054_FallbackTagIsNoIndex(t *testing.T) {
	t.Parallel()
	g, image, refs := subject(t, serve.Quirks{NoReferrersAPI: true})
	tag := fallbackTag(image.Root.Digest)
	g.push("a", image, tag)
	wantErr(t, g.repo("a").Publish(t.Context(), refs[0].Blob(refs[0].Root.Digest), "sig"), oci.ErrInvalid)
	if d, err := g.stored("a").Resolve(t.Context(), tag); err != nil || d.Digest != image.Root.Digest {
		t.Errorf("the tag means %v, %v", d.Digest, err)
	}
	_, err := collect(g.repo("a").Referrers(t.Context(), image.Root, ""))
	wantErr(t, err, oci.ErrInvalid)
}

// A process that has not met the registry before takes what it deletes out of
// the fallback index, too.
func TestBad_054_DeleteUnlinks(t *testing.T) {
	t.Parallel()
	g, image, refs := subject(t, serve.Quirks{NoReferrersAPI: true})
	wantPut(t, g.repo("a"), refs[0].Blob(refs[0].Root.Digest), oci.Sent)
	if err := g.repo("a").Delete(t.Context(), refs[0].Root); err != nil {
		t.Fatal(err)
	}
	if left, err := collect(g.repo("a").Referrers(t.Context(), image.Root, "")); err != nil || len(left) != 0 {
		t.Errorf("still there: %v, %v", left, err)
	}
}

// What is in the fallback index stays byte for byte.
func TestBad_054_FallbackKeepsBytes(t *testing.T) {
	t.Parallel()
	g, image, refs := subject(t, serve.Quirks{NoReferrersAPI: true})
	tag := fallbackTag(image.Root.Digest)
	old := fmt.Sprintf(`{"x":{"manifests":[1]}, "manifests" : [ {"new":1.0,"mediaType":%q,"digest":%q,"size":%d} ] , "schemaVersion":2,"annotations":{"k":"v"}}`,
		refs[1].Root.MediaType, refs[1].Root.Digest, refs[1].Root.Size)
	if err := oci.Publish(t.Context(), g.stored("a"), oci.Bytes(oci.MediaIndex, []byte(old)), tag); err != nil {
		t.Fatal(err)
	}
	a := g.repo("a")
	wantPut(t, a, refs[0].Blob(refs[0].Root.Digest), oci.Sent)
	index := func() string {
		d, err := g.stored("a").Resolve(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := read(t.Context(), g.stored("a"), d)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before, after, _ := strings.Cut(old, "} ]")
	if got := index(); !strings.HasPrefix(got, before+"} ,{") || !strings.HasSuffix(got, "}]"+after) {
		t.Errorf("the index is now %s", got)
	}
	if err := a.Delete(t.Context(), refs[0].Root); err != nil {
		t.Error(err)
	}
	if got := index(); strings.Contains(got, string(refs[0].Root.Digest)) || !strings.Contains(got, `{"new":1.0,`) || !strings.HasSuffix(got, after) {
		t.Errorf("the index is now %s", got)
	}
}

// Writers of several processes do not lose one another's referrers, with the
// help of If-Match; without it, a change that is overwritten is made again.
func TestBad_054_RacingWriters(t *testing.T) {
	t.Parallel()
	for _, conditional := range []bool{true, false} {
		t.Run(fmt.Sprintf("conditional=%v", conditional), func(t *testing.T) {
			t.Parallel()
			g, image, refs := subject(t, serve.Quirks{NoReferrersAPI: true})
			writers := refs
			if !conditional {
				writers = refs[:1]
				var done atomic.Bool
				g.on(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != "PUT" || !strings.HasSuffix(r.URL.Path, fallbackTag(image.Root.Digest)) {
						return false
					}
					r.Header.Del("If-Match")
					r.Header.Del("If-None-Match")
					if !done.CompareAndSwap(false, true) {
						return false
					}
					g.handler.ServeHTTP(w, r)
					g.overwrite(image.Root, refs[1].Root) // by one that has read before
					return true
				})
			}
			var wg sync.WaitGroup
			for _, f := range writers {
				wg.Go(func() {
					if _, err := g.repo("a").Put(t.Context(), f.Blob(f.Root.Digest)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			want := len(writers)
			if !conditional {
				want = 2
			}
			if got, err := collect(g.repo("a").Referrers(t.Context(), image.Root, "")); err != nil || len(got) != want {
				t.Errorf("%d referrers, %v; want %d", len(got), err, want)
			}
		})
	}
}

// overwrite sets the fallback index to one with a single entry.
func (g *rig) overwrite(image, entry oci.Descriptor) {
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaIndex, entry.MediaType, entry.Digest, entry.Size)
	if err := oci.Publish(g.t.Context(), g.stored("a"), oci.Bytes(oci.MediaIndex, []byte(raw)), fallbackTag(image.Digest)); err != nil {
		g.t.Error(err)
	}
}

// Somebody always overwrites: that has an end, and is said.
func TestBad_054_WriterThatNeverWins(t *testing.T) {
	t.Parallel()
	g, image, refs := subject(t, serve.Quirks{NoReferrersAPI: true})
	g.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" || !strings.HasSuffix(r.URL.Path, fallbackTag(image.Root.Digest)) {
			return false
		}
		fails(412, "DENIED")(w, r)
		return true
	})
	_, err := g.repo("a").Put(t.Context(), refs[0].Blob(refs[0].Root.Digest))
	wantErr(t, err, oci.ErrBusy)
}
