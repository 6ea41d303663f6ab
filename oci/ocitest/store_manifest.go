// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

var manifestTests = []storeTest{
	{"PutManifestTwice", func(t *testing.T, s oci.Store) {
		f := Image(40, 1, 10)
		push(t, s, f)
		how, err := s.Put(t.Context(), f.Blob(f.Root.Digest))
		if err != nil || how != oci.Existed {
			t.Errorf("second put: %v, %v", how, err)
		}
	}},
	{"PutWrongManifestKeepsNothing", func(t *testing.T, s oci.Store) {
		f, g := Image(41, 1, 10), Image(42, 1, 10)
		push(t, s, Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]})
		push(t, s, Fixture{Blobs: g.Blobs[:len(g.Blobs)-1]})
		_, err := s.Put(t.Context(), lie(f.Root, content(t, g.Blob(g.Root.Digest))))
		wantErr(t, "put", err, oci.ErrCorrupt)
		wantAbsent(t, s, f.Root)
		wantAbsent(t, s, g.Root)
	}},
	{"PutManifestBeforeItsChildren", func(t *testing.T, s oci.Store) {
		f := Image(43, 2, 10)
		if _, err := s.Put(t.Context(), f.Blob(f.Root.Digest)); err != nil { // it may insist,
			wantAbsent(t, s, f.Root) // but then it keeps nothing
		}
		push(t, s, f, "v1")
		wantResolve(t, s, "v1", f.Root)
	}},
	{"ManifestsOfAllKinds", func(t *testing.T, s oci.Store) {
		w := Symbols(t, `
			base   = layer 100
			linux  = image base platform=linux/amd64
			arm    = image base platform=linux/arm64 docker
			inner  = index linux arm
			list   = index arm docker
			outer  = index inner linux list
			sbom   = artifact base type=application/spdx+json subject=outer
			foreign = layer 50 foreign
			win    = image base foreign platform=windows/amd64
		`)
		for _, name := range []string{"outer", "sbom", "list", "win"} {
			f := w.Fixture(name)
			push(t, s, f, name)
			wantResolve(t, s, name, f.Root)
			for _, b := range f.Blobs {
				wantSame(t, s, b)
			}
		}
		for _, name := range []string{"linux", "arm", "inner"} {
			wantResolve(t, s, string(w.Fixture(name).Root.Digest), w.Fixture(name).Root)
		}
	}},
	{"ManifestSHA512", func(t *testing.T, s oci.Store) {
		f := Image(44, 1, 10)
		raw := content(t, f.Blob(f.Root.Digest))
		b := oci.Bytes(f.Root.MediaType, raw, digest.SHA512.FromBytes(raw))
		put(t, s, f.Blobs[:len(f.Blobs)-1]...)
		put(t, s, b)
		wantResolve(t, s, string(b.Descriptor().Digest), b.Descriptor())
		wantSame(t, s, b)
		supported(t, "tag a sha512 manifest", s.Tag(t.Context(), "long", b.Descriptor()))
		wantResolve(t, s, "long", b.Descriptor())
	}},
	{"TagReplaces", func(t *testing.T, s oci.Store) {
		f, g := Image(45, 1, 10), Index(46)
		push(t, s, f, "latest")
		push(t, s, g, "latest", "other")
		wantResolve(t, s, "latest", g.Root)
		push(t, s, f, "latest")
		wantResolve(t, s, "latest", f.Root)
		wantResolve(t, s, "other", g.Root)
		wantSame(t, s, g.Blob(g.Root.Digest)) // still there by digest
	}},
	{"TagOfAMissingManifest", func(t *testing.T, s oci.Store) {
		f, g := Image(47, 1, 10), Image(48, 1, 10)
		push(t, s, f, "v1")
		wantErr(t, "tag", s.Tag(t.Context(), "v1", g.Root), oci.ErrNotFound)
		wantResolve(t, s, "v1", f.Root)
		wantErr(t, "tag", s.Tag(t.Context(), "v2", g.Root), oci.ErrNotFound)
		_, err := s.Resolve(t.Context(), "v2")
		wantErr(t, "resolve", err, oci.ErrNotFound)
	}},
	{"PublishStoresAndNames", func(t *testing.T, s oci.Store) {
		f, g := Image(49, 1, 10), Image(50, 1, 10)
		put(t, s, f.Blobs[:len(f.Blobs)-1]...)
		put(t, s, g.Blobs[:len(g.Blobs)-1]...)
		if err := oci.Publish(t.Context(), s, f.Blob(f.Root.Digest), "one", "two", "three"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"one", "two", "three", string(f.Root.Digest)} {
			wantResolve(t, s, name, f.Root)
		}
		if err := oci.Publish(t.Context(), s, g.Blob(g.Root.Digest)); err != nil { // no names: Put
			t.Fatal(err)
		}
		wantResolve(t, s, string(g.Root.Digest), g.Root)
		wantResolve(t, s, "one", f.Root)
		if err := oci.Publish(t.Context(), s, g.Blob(g.Root.Digest), "one"); err != nil { // it is there, the name is new
			t.Fatal(err)
		}
		wantResolve(t, s, "one", g.Root)
	}},
	{"GraphCanBeLoaded", func(t *testing.T, s oci.Store) {
		f := Index(51)
		push(t, s, f, "v1")
		tree, err := oci.Graph{Root: f.Root, Source: s}.Load(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(tree.Manifests) + len(tree.Blobs); got != len(f.Blobs) {
			t.Errorf("got %d nodes, want %d", got, len(f.Blobs))
		}
	}},
}
