// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/daemon"
)

func TestBad_080_WrongLayerFromTheEngine(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	f := ocitest.Image(1, 1, 1000)
	m, _ := parts(t, f)
	e.has(m.Config.Digest, "app:1")
	e.saved = dockerSave(t, f)
	layer := f.Layers()[0]
	r, err := layer.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(e.saved), string(raw))
	e.saved[at+len(raw)/2] ^= 1
	i := e.open("app:1", false)
	d, err := i.Resolve(t.Context(), "")
	if err == nil {
		var got *oci.Manifest
		if got, err = oci.Fetch(t.Context(), i, d); err == nil {
			ocitest.CheckCorrupt(t, i, got.Layers[0])
			return
		}
	}
	wantErr(t, "read", err, oci.ErrCorrupt)
}

// Only the names that were asked for are given.
func TestBad_081_Names(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	f := ocitest.Image(1, 1, 10)
	m, _ := parts(t, f)
	e.has(m.Config.Digest, "app:1")
	if _, err := send(t.Context(), e.open("other", true), f, "app:1"); err != nil {
		t.Fatal(err)
	}
	if got := e.members["repositories"] + e.members["manifest.json"]; strings.Contains(got, "other") || !strings.Contains(got, "app") {
		t.Errorf("got %s, members %q", got, slices.Sorted(maps.Keys(e.members)))
	}
}

// A run that is given up leaves the engine without an end of the stream.
func TestBad_098_Abort(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	loaded := make(chan error, 1)
	e.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/images/load") {
			_, err := io.Copy(io.Discard, r.Body)
			loaded <- err
			return true
		}
		return false
	}
	i := e.open("app:1", true)
	if _, err := i.Put(t.Context(), oci.Bytes(oci.MediaLayer, ocitest.Random(1, 3<<20))); err != nil {
		t.Fatal(err)
	}
	if err := i.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := <-loaded; err == nil {
		t.Error("the engine saw a whole request")
	}
	if err := i.Commit(t.Context()); err == nil {
		_, err = i.Put(t.Context(), oci.Bytes(oci.MediaLayer, []byte("x")))
		if err == nil {
			t.Error("the stream went on after it was given up")
		}
	}
}

// An engine that does not read does not hold a run that has ended.
func TestBad_098_Cancel(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer close(ended)
	e.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/images/load") {
			_, _ = io.ReadFull(r.Body, make([]byte, 100))
			cancel()
			<-ended
			return true
		}
		return false
	}
	_, err := e.open("app:1", true).Put(ctx, oci.Bytes(oci.MediaLayer, ocitest.Random(1, 64<<20)))
	if err == nil {
		t.Error("put went well")
	}
}

// What the engine complains of, at whatever moment, is the error.
func TestBad_100_EngineComplains(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 3<<19)
	m, _ := parts(t, f)
	for name, c := range map[string]struct {
		answer string
		early  int // status before the body is read
		want   error
		text   string
	}{
		"disk full":         {`{"stream":"x"}` + "\n" + `{"errorDetail":{"message":"no space left\u001b[1m"},"error":"no space left"}`, 0, oci.ErrInvalid, `no space left\x1b`},
		"old form":          {`{"error":"no space left"}`, 0, oci.ErrInvalid, "no space left"},
		"cut":               {`{"stream":"Loaded`, 0, oci.ErrBusy, "not whole"},
		"not JSON":          {`<html>`, 0, oci.ErrBusy, "not whole"},
		"flood":             {strings.Repeat(`{"stream":"`+strings.Repeat("x", 1<<20)+`"}`, 17), 0, oci.ErrInvalid, "more than"},
		"not found":         {"", http.StatusNotFound, oci.ErrNotFound, "404"},
		"early error":       {`{"message":"no space left"}`, http.StatusInternalServerError, oci.ErrBusy, "no space left"},
		"early complaint":   {`{"error":"no space left"}`, http.StatusOK, oci.ErrInvalid, "no space left"},
		"redirect":          {"", http.StatusTemporaryRedirect, oci.ErrInvalid, "307"},
		"authorization":     {"no", http.StatusForbidden, oci.ErrDenied, "403"},
		"taken, not there":  {`{"stream":"Loaded image: app:1\n"}`, 0, oci.ErrBusy, "does not mean it"},
		"nothing, no image": {``, 0, oci.ErrBusy, "does not mean it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.answer = c.answer
			if c.early != 0 {
				e.hook = func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "/images/load") {
						return false
					}
					w.Header().Set("Location", "http://127.0.0.1:1/")
					w.WriteHeader(c.early)
					_, _ = io.WriteString(w, c.answer)
					return true
				}
			}
			if name != "taken, not there" && name != "nothing, no image" {
				e.has(m.Config.Digest, "app:1")
			}
			_, err := send(t.Context(), e.open("app:1", true), f, "app:1")
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestEngines(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]error{"1.24": oci.ErrNotFound, "1.99": oci.ErrNotFound, "1.23": oci.ErrUnsupported, "2.0": oci.ErrUnsupported, "": oci.ErrUnsupported, "1.41/..": oci.ErrUnsupported} {
		e := newEngine(t)
		e.version = version
		_, err := e.open("app:1", false).Resolve(t.Context(), "")
		wantErr(t, "version "+version, err, want)
	}
	for name, answer := range map[string]string{"no JSON": "<html>", "no ID": "{}", "bad ID": `{"Id":"../../x"}`, "huge": `{"Id":"` + strings.Repeat("x", 17<<20) + `"}`, "cut": `{"Id":`} {
		e := newEngine(t)
		e.images["app:1"] = answer
		_, err := e.open("app:1", false).Resolve(t.Context(), "")
		wantErr(t, name, err, oci.ErrInvalid)
	}
	e := newEngine(t)
	e.has(oci.FromBytes(nil), "app:1")
	e.saved = []byte("no tar")
	if _, err := e.open("app:1", false).Resolve(t.Context(), ""); err == nil {
		t.Error("read what is no archive")
	}
}

// A password in DOCKER_HOST is in no error.
func TestPasswordOfTheHost(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"tcp://user:secret@host:2375", "tcp://user:se/secret@host:2375", "ssh://user:secret@host", "http://user:secret@host",
		"user:secret@host:2375", "tcp://user:secret@host:2375/x?y#z", "tcp://a@b:secret@host:1", "tcp://%zz:secret@host",
	} {
		_, err := daemon.Open("app", daemon.Options{Host: host})
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "***@host") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// What is written is not standard output, and what is read not standard input.
func TestErrorsNameTheEngine(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	e.has(oci.FromBytes(nil), "app:1")
	e.saved = []byte("no tar")
	_, rerr := e.open("app:1", false).Resolve(t.Context(), "")
	bad := oci.Bytes(oci.MediaLayer, []byte("x"), oci.FromBytes([]byte("y")))
	_, werr := e.open("app:1", true).Put(t.Context(), bad)
	for _, err := range []error{rerr, werr} {
		if err == nil || strings.Contains(err.Error(), "standard") || !strings.Contains(err.Error(), "the Docker engine at") {
			t.Error(err)
		}
	}
}
