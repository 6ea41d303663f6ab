// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

// mirrored is a registry with two mirrors in front of it.
type mirrored struct {
	one, two, home *rig
	f              ocitest.Fixture

	mu       sync.Mutex
	byDigest []bool
}

func newMirrored(t *testing.T) *mirrored {
	t.Helper()
	m := &mirrored{one: newRig(t, serve.Options{}), two: newRig(t, serve.Options{}), home: newRig(t, serve.Options{}), f: ocitest.Image(1, 1, 100_000)}
	for g, name := range map[*rig]string{m.one: "m/a", m.two: "a", m.home: "a"} {
		g.nameImage(m.f)
		g.push(name, m.f, "v1")
	}
	return m
}

func (m *mirrored) repo() *registry.Repo {
	return m.home.repo("a", registry.Options{Mirrors: func(_ string, byDigest bool) ([]registry.Mirror, error) {
		m.mu.Lock()
		m.byDigest = append(m.byDigest, byDigest)
		m.mu.Unlock()
		return []registry.Mirror{{Endpoint: m.one.endpoint(), Repository: "m/a"}, {Endpoint: m.two.endpoint(), Repository: "a"},
			{Endpoint: m.home.endpoint(), Repository: "a"}}, nil
	}})
}

func TestMirrorsFallThrough(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]http.HandlerFunc{
		"404": fails(404, "NAME_UNKNOWN"), "403": fails(403, "DENIED"), "500": fails(500, "UNKNOWN"), "cut": cut,
		"web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		},
		"other content": sized([]byte(plain)),
		"other digest": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", string(oci.FromBytes([]byte("other"))))
			w.Header().Set("Content-Type", oci.MediaManifest)
			w.Header().Set("Content-Length", fmt.Sprint(len(plain)))
			_, _ = w.Write([]byte(plain))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirrored(t)
			m.one.always(func(*http.Request) bool { return true }, bad)
			a := m.repo()
			if d, err := a.Resolve(t.Context(), string(m.f.Root.Digest)); name != "other content" && (err != nil || d.Size != m.f.Root.Size) {
				t.Errorf("resolve: %+v, %v", d, err)
			}
			for _, b := range m.f.Blobs {
				wantBytes(t, a, b)
			}
			if name != "other content" && m.two.count("GET") != 3 {
				t.Errorf("requests of the second mirror: %q", m.two.requests())
			}
			m.home.want()
		})
	}
}

func TestMirrorsSayWhatTheLastOneSays(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	m.one.always(func(*http.Request) bool { return true }, fails(500, "UNKNOWN"))
	_, err := m.repo().Resolve(t.Context(), "v2")
	wantErr(t, err, oci.ErrNotFound)
}

func TestMirrorsAreToldWhetherByDigest(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	a := m.repo()
	_, err1 := a.Resolve(t.Context(), "v1")
	_, err2 := a.Resolve(t.Context(), string(m.f.Root.Digest))
	_, err3 := read(t.Context(), a, m.f.Root)
	_, err4 := read(t.Context(), a, m.f.Layers()[0].Descriptor())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(m.byDigest); got != "[false true true true]" {
		t.Errorf("asked for mirrors by digest: %s", got)
	}
	m.one.want("HEAD m/a/manifests/v1", "HEAD m/a/manifests/image", "GET m/a/manifests/image", "GET m/a/blobs/layer")
	m.home.want()
}

// What breaks off at one mirror goes on at the next.
func TestMirrorsTakeTurns(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	b := m.f.Layers()[0]
	raw, last := contents(t, b), b.Descriptor().Size-1
	m.one.always(is("GET", "/blobs/"), cutAt(raw, 1000))
	m.two.always(is("GET", "/blobs/"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", last, last+1))
		w.Header().Set("Content-Length", fmt.Sprint(last-999))
		w.WriteHeader(206)
		_, _ = w.Write(raw[1000:5000])
		cut(w, r)
	})
	wantBytes(t, m.repo(), b)
	m.one.want("GET m/a/blobs/layer")
	m.two.want(fmt.Sprintf("GET a/blobs/layer bytes=1000-%d", last))
	m.home.want(fmt.Sprintf("GET a/blobs/layer bytes=5000-%d", last))
}

// What a mirror has says nothing about the registry, which alone is written.
func TestMirrorsAreNotWritten(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	m.home = newRig(t, serve.Options{})
	m.home.nameImage(m.f)
	a := m.repo()
	if _, err := a.Resolve(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	l := m.f.Layers()[0]
	if _, err := a.Stat(t.Context(), l.Descriptor()); err != nil {
		t.Error(err)
	}
	m.one.forget()
	wantPut(t, a, l, oci.Sent)
	wantPut(t, a, m.f.Blobs[0], oci.Sent)
	if err := a.Publish(t.Context(), m.f.Blob(m.f.Root.Digest), "v1"); err != nil {
		t.Error(err)
	}
	if err := a.Tag(t.Context(), "v2", m.f.Root); err != nil {
		t.Error(err)
	}
	if err := a.Delete(t.Context(), m.f.Root); err != nil {
		t.Error(err)
	}
	m.one.want()
	m.two.want()
}

func TestMirrorsEndWithTheContext(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := m.repo().Resolve(ctx, "v1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	m.one.want()
	m.two.want()
	m.home.want()
}

func TestMirrorsThatCannotBeTold(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	broken := errors.New("blocked")
	a := g.repo("a", registry.Options{Mirrors: func(string, bool) ([]registry.Mirror, error) { return nil, broken }})
	_, err := a.Resolve(t.Context(), "v1")
	wantErr(t, err, broken)
	_, err = a.Open(t.Context(), layer(1, 10).Descriptor())
	wantErr(t, err, broken)
	g.want()
}

// Whoever writes wants to know what is at the registry itself, whose answers are
// remembered for all views of a repository; a mirror's are not.
func TestMirrorsAreNoDestinations(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	m.home = newRig(t, serve.Options{})
	m.home.nameImage(m.f)
	a := m.repo()
	if !a.Mirrored() || !a.ForReading().Mirrored() || a.ForWriting().Mirrored() || m.home.repo("a").Mirrored() {
		t.Error("what has mirrors is told wrong")
	}
	l := m.f.Layers()[0].Descriptor()
	_, err := a.ForWriting().Stat(t.Context(), l) // by which it is known to be missing there
	wantErr(t, err, oci.ErrNotFound)
	for name, view := range map[string]*registry.Repo{"for writing": a.ForWriting(), "primary": a.ForReading().Primary()} {
		if _, err := a.Stat(t.Context(), l); err != nil {
			t.Errorf("at a mirror: %v", err)
		}
		m.one.forget()
		_, err := view.Resolve(t.Context(), "v1")
		wantErr(t, err, oci.ErrNotFound)
		_, err = view.Get(t.Context(), "v1")
		wantErr(t, err, oci.ErrNotFound)
		_, err = view.Stat(t.Context(), l)
		wantErr(t, err, oci.ErrNotFound)
		m.one.want()
		m.two.want()
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// What is poured in goes to the registry itself.
func TestMirrorsGetNoStreams(t *testing.T) {
	t.Parallel()
	m := newMirrored(t)
	b := layer(7, 5000)
	raw := contents(t, b)
	err := m.repo().Stream(t.Context(), bytes.NewReader(raw), func() (oci.Descriptor, error) { return b.Descriptor(), nil })
	if err != nil {
		t.Error(err)
	}
	if _, err := m.home.stored("a").Stat(t.Context(), b.Descriptor()); err != nil {
		t.Error(err)
	}
	m.one.want()
	m.two.want()
}
