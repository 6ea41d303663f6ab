// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A site serves what ADD fetches.
type site struct {
	*httptest.Server
	tar   []byte
	hits  atomic.Int32
	creds atomic.Int32 // requests to /elsewhere that came with some
}

func newSite(t *testing.T) *site {
	s := &site{tar: packed(t, layer.Gzip, tarOf(t, "x=X"))}
	mux := http.NewServeMux()
	mux.HandleFunc("/f.txt", func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		w.Header().Set("Last-Modified", "Fri, 14 Jul 2017 02:40:00 GMT")
		w.Write([]byte("text"))
	})
	mux.HandleFunc("/a.tgz", func(w http.ResponseWriter, r *http.Request) { w.Write(s.tar) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			return
		}
		w.Header().Set("Content-Disposition", `attachment; filename="../../n.txt"`)
		w.Write([]byte("named"))
	})
	mux.HandleFunc("/dir/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("it")) })
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			t.Error("no credentials where they belong")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.creds.Add(1)
		}
		w.Write([]byte("there"))
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Write([]byte("short"))
	})
	mux.HandleFunc("/secret", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestAddOfURLs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	sum := string(oci.FromBytes([]byte("text")))
	with := func(p place.Spec, checksum string) place.Spec {
		p.Checksum = checksum
		return p
	}
	unpack := adding("/n", s.URL+"/a.tgz")
	unpack.Unpack, unpack.UnpackSet = true, true
	for _, c := range []copyCase{
		{adding("/n", s.URL+"/f.txt"), "600,0,0:n=text"},
		{adding("/n/", s.URL+"/f.txt?x=1"), "n/ 600,0,0:n/f.txt=text"},
		{adding("/etc", s.URL+"/f.txt"), "600,0,0:etc/f.txt=text"},
		{adding("/n/", s.URL+"/?x"), "n/ 600,0,0:n/n.txt=named"},
		{adding("/n", s.URL+"/a.tgz"), "600,0,0:n=" + string(s.tar)},
		{unpack, "n/ n/x=X!"},
		{with(adding("/n", s.URL+"/f.txt"), sum), "600,0,0:n=text"},
		{with(adding("/n", s.URL+"/f.txt"), "sha256:"+strings.Repeat("0", 64)), "! its checksum is not sha256:000"},
		{with(adding("/n", s.URL+"/f.txt"), "sha256:1"), "! --checksum"},
		{with(adding("/n/", s.URL+"/f.txt", s.URL+"/to"), sum), "! --checksum is for one URL"},
		{adding("/n/", s.URL+"/dir/"), "n/ 600,0,0:n/dir=it"},
		{adding("/n/", s.URL+"/"), "! has no name"},
		{adding("/n", s.URL+"/none"), "! the server answers 404"},
		{adding("/n", s.URL+"/file"), "! not HTTP"},
		{adding("/n", s.URL+"/round"), "! more than 10 redirects"},
		{adding("/n", s.URL+"/cut"), "! it ends after 5 bytes"},
		{adding("/n", strings.Replace(s.URL, "http://", "http://me:hidden@", 1)+"/to"), "600,0,0:n=there"},
	} {
		newWorld(t, build.Options{}).check(t, debian, c)
	}
	if n := s.creds.Load(); n > 0 {
		t.Errorf("credentials were sent on %d times", n)
	}
	x := newWorld(t, build.Options{})
	onto, _ := x.stack(t, "linux/amd64", debian)
	_, err := x.add(t, onto, adding("/n", strings.Replace(s.URL, "http://", "http://me:hidden@", 1)+"/secret?token=hidden"))
	if !errors.Is(err, oci.ErrDenied) || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}

// Of two sources that bring the same name the later one counts, whatever they are.
func TestSourcesInOrder(t *testing.T) {
	t.Parallel()
	s, dir := newSite(t), folder(t, "f.txt=own a=A")
	for _, c := range []copyCase{
		{adding("/n/", s.URL+"/f.txt", "f.txt"), "n/ n/f.txt=own"},
		{adding("/n/", "f.txt", s.URL+"/f.txt"), "n/ 600,0,0:n/f.txt=text"},
		{adding("/n/", "a", s.URL+"/f.txt", "f.txt", s.URL+"/dir/"), "n/ n/a=A n/f.txt=own 600,0,0:n/dir=it"},
	} {
		c.spec.From = place.Context(dir, nil)
		newWorld(t, build.Options{}).check(t, debian, c)
	}
}

// What has a checksum is fetched once, whoever asks.
func TestAddOfURLOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cache := t.TempDir()
	p := adding("/n", s.URL+"/f.txt")
	p.Checksum = string(oci.FromBytes([]byte("text")))
	for range 2 {
		x := newWorld(t, build.Options{CacheDir: cache})
		for _, platform := range []string{"linux/amd64", "linux/arm64"} {
			onto, _ := x.stack(t, platform, debian)
			if got, err := x.add(t, onto, p); got != "600,0,0:n=text" || err != nil {
				t.Errorf("got %s, %v", got, err)
			}
			if m := onto.Materials; len(m) != 1 || m[0].URI != s.URL+"/f.txt" || "sha256:"+m[0].Digest["sha256"] != p.Checksum {
				t.Errorf("materials: %+v", m)
			}
		}
	}
	if n := s.hits.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestURLTimes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	x := newWorld(t, build.Options{})
	x.set = place.NewSet(place.Options{KeepTimes: true})
	x.check(t, debian, copyCase{adding("/n", s.URL+"/f.txt"), "600,0,0:n=text!1500000000000000000"})
}
