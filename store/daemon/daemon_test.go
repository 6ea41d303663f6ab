// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/daemon"
)

// parts are the manifest, the config and the layers of a fixture.
func parts(t *testing.T, f ocitest.Fixture) (m *oci.Manifest, diffIDs []oci.Digest) {
	t.Helper()
	m, err := oci.Fetch(t.Context(), store(f), f.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Layers { // of fixtures, which are not packed
		diffIDs = append(diffIDs, d.Digest)
	}
	return m, diffIDs
}

func TestLoad(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	f := ocitest.Image(1, 3, 1000)
	m, ids := parts(t, f)
	i := e.open("app", true)
	if !i.InOrder() {
		t.Error("a stream is not in order")
	}
	e.has(m.Config.Digest, "app:1") // what the engine will have
	n, err := send(t.Context(), i, f, "app:1")
	if err != nil || n != 4 || e.loadErr != nil {
		t.Fatalf("%d sent, %v, engine: %v", n, err, e.loadErr)
	}
	for _, d := range append(ids, m.Config.Digest) {
		if e.members["blobs/sha256/"+d.Encoded()] == "" {
			t.Errorf("%s was not sent", d)
		}
	}
	if got := e.members["manifest.json"]; !strings.Contains(got, `"RepoTags":["app:1"]`) {
		t.Errorf("manifest.json: %s", got)
	}
}

// Layers that the engine has as the bottom of an image are not sent, and no
// others.
func TestLayersTheEngineHas(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		a = layer 100
		b = layer 200
		c = layer 300
		image = image a b c
		again = image a b a
	`)
	_, abc := parts(t, w.Fixture("image"))
	a, b, c := abc[0], abc[1], abc[2]
	other := oci.FromBytes([]byte("other"))
	for name, x := range map[string]struct {
		image string
		has   [][]oci.Digest
		info  string
		sent  int // with the config
	}{
		"nothing":               {"image", nil, "", 4},
		"the base":              {"image", [][]oci.Digest{{a}}, "", 3},
		"the longest":           {"image", [][]oci.Digest{{a}, {a, b, other}, {other, b, c}}, "", 2},
		"all":                   {"image", [][]oci.Digest{{a, b, c}}, "", 1},
		"in another order":      {"image", [][]oci.Digest{{b, a, c}, {other, a, b, c}}, "", 4},
		"twice, once is there":  {"again", [][]oci.Digest{{a, b}}, "", 2},
		"twice, both are there": {"again", [][]oci.Digest{{a, b, a}}, "", 1},
		"Podman's service":      {"image", [][]oci.Digest{{a, b, c}}, "", 4},
		"kept by containerd":    {"image", [][]oci.Digest{{a, b, c}}, `{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}`, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.libpod = name == "Podman's service"
			if x.info != "" {
				e.info = x.info
			}
			for n, chain := range x.has {
				e.has(oci.FromBytes([]byte{byte(n)}), "old", chain...)
			}
			m, _ := parts(t, w.Fixture(x.image))
			e.has(m.Config.Digest, "app")
			n, err := send(t.Context(), e.open("app", true), w.Fixture(x.image), "app")
			if err != nil || n != x.sent || e.loadErr != nil {
				t.Errorf("%d sent, want %d: %v, engine: %v", n, x.sent, err, e.loadErr)
			}
		})
	}
}

// An image that goes while the engine is asked is none.
func TestImageThatGoes(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	f := ocitest.Image(1, 1, 10)
	m, ids := parts(t, f)
	e.has(oci.FromBytes(nil), "old", ids...)
	e.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, oci.FromBytes(nil).String()+"/json") {
			http.Error(w, "gone", http.StatusNotFound)
			return true
		}
		return false
	}
	e.has(m.Config.Digest, "app:1")
	if n, err := send(t.Context(), e.open("app:1", true), f, "app:1"); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		a     = layer 100
		image = image a
		list  = index image
		art   = artifact a type=application/spdx+json
	`)
	e := newEngine(t)
	for name, text := range map[string]string{"list": "--platform", "art": "images only"} {
		_, err := send(t.Context(), e.open("app:1", true), w.Fixture(name), "app:1")
		if !errors.Is(err, oci.ErrUnsupported) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := w.Fixture("image")
	m, _ := parts(t, f)
	m.Layers[0].MediaType = oci.MediaLayerZstd
	if err := e.open("app:1", true).Admit(t.Context(), m, store(f)); !errors.Is(err, oci.ErrUnsupported) || !strings.Contains(err.Error(), "--compress gzip") {
		t.Errorf("zstd: %v", err)
	}
	for _, ref := range []string{string(f.Root.Digest), f.Root.Digest.Encoded(), "app@" + string(f.Root.Digest)} {
		if _, err := daemon.Open(ref, daemon.Options{Host: e.host, Write: true}); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{"", "-x", "UPPER", "a b", "../../info", "a/../b", "a?b=c", "a\x00"} {
		if _, err := daemon.Open(ref, daemon.Options{Host: e.host}); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	_, err := e.open("app:1", false).Put(t.Context(), f.Blobs[0])
	wantErr(t, "put for reading", err, oci.ErrDenied)
	_, err = e.open("app:1", true).Open(t.Context(), f.Root)
	wantErr(t, "open for writing", err, oci.ErrUnsupported)
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]error{
		"": nil, "unix:///x": nil, "tcp://a": nil, "tcp://a:1/": nil, "tcp://[::1]:2375": nil,
		"npipe:////./pipe/docker_engine": oci.ErrUnsupported, "ssh://a": oci.ErrUnsupported, "fd://": oci.ErrInvalid,
		"unix://": oci.ErrInvalid, "/var/run/docker.sock": oci.ErrInvalid, "http://a": oci.ErrInvalid,
		"tcp://": oci.ErrInvalid, "tcp://user:secret@a": oci.ErrInvalid, "tcp://a/b": oci.ErrInvalid, "tcp://a?b": oci.ErrInvalid,
	} {
		if _, err := daemon.Open("app", daemon.Options{Host: host}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", host, err, want)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := daemon.Open("app", daemon.Options{Host: "tcp://a", CertPath: dir})
	wantErr(t, "broken ca.pem", err, oci.ErrInvalid)
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	dir, err := os.MkdirTemp("", "dray-") // short: the socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Skip(err)
	}
	s := &http.Server{Handler: e}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	e.host = "unix://" + filepath.Join(dir, "s")
	id := oci.FromBytes([]byte("id"))
	e.has(id, "app:1")
	if d, err := e.open("app:1", true).Resolve(t.Context(), "app:1"); err != nil || d.Digest != id {
		t.Errorf("%+v, %v", d, err)
	}
	e.host = "unix://" + filepath.Join(dir, "none")
	_, err = e.open("app:1", false).Resolve(t.Context(), "")
	wantErr(t, "no engine", err, oci.ErrBusy)
	if errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), e.host) {
		t.Errorf("no engine: %v", err)
	}
}

func TestTLSIsVerified(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	i, err := daemon.Open("app", daemon.Options{Host: e.host, TLSVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.Resolve(t.Context(), "")
	wantErr(t, "an engine without TLS", err, oci.ErrBusy)
}

// What was written is read back through what docker save gives.
func TestSave(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	f := ocitest.Image(1, 2, 1000)
	m, _ := parts(t, f)
	e.saved = dockerSave(t, f)
	e.has(m.Config.Digest, "app:1")
	for _, ref := range []string{"app:1", "docker.io/library/app:1", string(m.Config.Digest)} {
		if ref == "docker.io/library/app:1" {
			e.has(m.Config.Digest, ref)
		}
		i := e.open(ref, false)
		d, err := i.Resolve(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		got, err := oci.Graph{Root: d, Source: i}.Load(t.Context(), nil)
		if err != nil || got.Root().Config.Digest != m.Config.Digest {
			t.Fatalf("%+v, %v", got, err)
		}
		for _, b := range got.Blobs {
			r, err := i.Open(t.Context(), b)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				_ = r.Close()
			}
			if err != nil {
				t.Errorf("%s: %v", b.Digest, err)
			}
		}
		if again, err := i.Resolve(t.Context(), string(d.Digest)); err != nil || again.Digest != d.Digest {
			t.Errorf("%+v, %v", again, err)
		}
		_, err = i.Resolve(t.Context(), "other:1")
		wantErr(t, "another name", err, oci.ErrNotFound)
	}
	saves := 0
	for _, r := range e.requests {
		if strings.HasSuffix(r, "/images/get") {
			saves++
		}
	}
	if saves != 3 {
		t.Errorf("saved %d times for 3 images", saves)
	}
}

// dockerSave is an archive of a fixture, as an engine was sent it.
func dockerSave(t *testing.T, f ocitest.Fixture) []byte {
	t.Helper()
	e := newEngine(t)
	var raw []byte
	e.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/images/load") {
			return false
		}
		raw, _ = io.ReadAll(r.Body)
		return true
	}
	m, _ := parts(t, f)
	e.has(m.Config.Digest, "app:1")
	if _, err := send(t.Context(), e.open("app:1", true), f, "app:1"); err != nil {
		t.Fatal(err)
	}
	return raw
}
