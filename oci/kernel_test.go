// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	if oci.Wrap("op", "place", nil) != nil {
		t.Error("nil does not stay nil")
	}
	inner := oci.Errorf(oci.ErrNotFound, "no tag %q: %w and %w", "x", io.ErrUnexpectedEOF, io.ErrNoProgress)
	for _, c := range []struct {
		err  error
		text string
	}{
		{inner, `no tag "x": unexpected EOF and multiple Read calls return no data or error`},
		{oci.Wrap("copy", "a/b:1", oci.Wrap("pull", "", inner)), `copy a/b:1: pull: ` + inner.Error()},
		{oci.Wrap("", "a/b:1", inner), `a/b:1: ` + inner.Error()},
		{oci.Wrap("", "", inner), inner.Error()},
		{fmt.Errorf("x: %w", inner), "x: " + inner.Error()},
	} {
		if c.err.Error() != c.text {
			t.Errorf("got %q, want %q", c.err, c.text)
		}
		for _, kind := range []error{oci.ErrNotFound, io.ErrUnexpectedEOF, io.ErrNoProgress} {
			if !errors.Is(c.err, kind) {
				t.Errorf("%q is not %q", c.err, kind)
			}
		}
		if errors.Is(c.err, oci.ErrInvalid) {
			t.Errorf("%q is of a kind that it is not", c.err)
		}
	}
	var e *oci.Error
	if !errors.As(oci.Wrap("copy", "p", inner), &e) || e.Op != "copy" || e.Place != "p" {
		t.Errorf("%+v", e)
	}
}

func TestBad_005_Digests(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("a", 64)
	for s, ok := range map[string]bool{
		"sha256:" + hex: true, "sha512:" + hex + hex: true, "sha256:" + hex[1:]: false, "sha256:" + hex + "a": false,
		"sha256:" + strings.ToUpper(hex): false, "SHA256:" + hex: false, "sha512:" + hex: false, "sha256:../../x": false, "sha256:" + hex[3:] + "/..": false,
		"md5:" + hex[:32]: false, "": false, "sha256": false, "sha256:": false, ":" + hex: false, hex: false, "sha256:" + hex[1:] + "\n": false, "sha384:" + hex: false,
	} {
		if d, err := oci.ParseDigest(s); (err == nil) != ok || ok && string(d) != s || !ok && (!errors.Is(err, oci.ErrInvalid) || d != "") {
			t.Errorf("%q: %q, %v", s, d, err)
		}
	}
}

func TestBad_006_026_Quote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a": `"a"`, "\x1b[1m\n": `"\x1b[1m\n"`, "\u202ex": `"\u202ex"`, "\xff": `"\xff"`} {
		if got := oci.Quote(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	if got := oci.Quote(strings.Repeat("x", 1<<20)); len(got) > 300 {
		t.Errorf("%d bytes", len(got))
	}
}

type looking struct{ oci.Store }

func (l looking) Unwrap() any { return l.Store }

type forbidding struct{ oci.Store }

func TestAs(t *testing.T) {
	t.Parallel()
	s, err := mem.New().Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		v  any
		ok bool
	}{
		"itself": {s, true}, "observed": {looking{s}, true}, "observed twice": {looking{looking{s}}, true},
		"forbidden": {forbidding{s}, false}, "forbidden below": {looking{forbidding{s}}, false}, "nothing": {nil, false}, "wrapped nothing": {looking{}, false},
	} {
		if l, ok := oci.As[oci.Lister](c.v); ok != c.ok || ok != (l != nil) {
			t.Errorf("%s: %v, %v", name, l, ok)
		}
	}
	if _, ok := oci.From(looking{s}, oci.Descriptor{}).(oci.RangeBlob); !ok {
		t.Error("a blob of a ranger cannot be opened in its middle")
	}
	if _, ok := oci.From(forbidding{s}, oci.Descriptor{}).(oci.RangeBlob); ok {
		t.Error("a blob can be opened in its middle although that is forbidden")
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	s, err := mem.New().Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	f := ocitest.Image(1, 1, 10)
	root := f.Blob(f.Root.Digest)
	for _, sink := range []oci.Sink{s, forbidding{s}} { // with and without oci.Publisher
		if err := oci.Publish(t.Context(), sink, root, "x"); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("before its blobs: %v", err)
		}
	}
	if err := f.Push(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for i, sink := range []oci.Sink{s, forbidding{s}} {
		if err := oci.Publish(t.Context(), sink, root, fmt.Sprint("a", i), fmt.Sprint("b", i)); err != nil {
			t.Error(err)
		}
		for _, tag := range []string{"a", "b"} {
			if d, err := s.Resolve(t.Context(), fmt.Sprint(tag, i)); err != nil || d.Digest != f.Root.Digest {
				t.Errorf("%v, %v", d, err)
			}
		}
	}
}

func TestHow(t *testing.T) {
	t.Parallel()
	if s := fmt.Sprint(oci.Existed, oci.Mounted, oci.Sent); s != "existed mounted sent" {
		t.Error(s)
	}
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	for mt, want := range map[string]bool{
		oci.MediaManifest: true, oci.MediaIndex: true, oci.MediaDockerList: true, oci.MediaDockerManifest: true, oci.MediaArtifact: true, oci.MediaSchema1Signed: true,
		"application/vnd.x.manifest.v3+json": true, "application/vnd.x.index+json": true, oci.MediaConfig: false, oci.MediaLayer: false, oci.MediaEmpty: false, "": false,
		"text/html": false, "application/json": false, "application/vnd.in-toto+json": false, "application/vnd.x.index.v1+xml": false,
	} {
		if oci.IsManifest(mt) != want {
			t.Errorf("%s: want %v", mt, want)
		}
	}
	for mt, want := range map[string]bool{oci.MediaDockerForeign: true, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true, oci.MediaLayer: false} {
		if oci.IsForeign(oci.Descriptor{MediaType: mt}) != want {
			t.Errorf("%s: want %v", mt, want)
		}
	}
}
