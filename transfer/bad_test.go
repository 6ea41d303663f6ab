// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

// Bytes come from the source alone: a layer with URLs that is not there is an
// error, or stays by reference if it is of a foreign type.
func TestBad_020_URLs(t *testing.T) {
	t.Parallel()
	layer, empty := oci.Bytes("x/y", []byte("hello")), oci.Bytes(oci.MediaEmpty, []byte("{}"))
	for mediaType, want := range map[string]error{oci.MediaLayer: oci.ErrNotFound, oci.MediaDockerForeign: nil} {
		root := oci.Bytes(oci.MediaManifest, fmt.Appendf(nil, `{"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":5,"urls":["http://169.254.169.254/x"]}]}`,
			oci.MediaEmpty, empty.Descriptor().Digest, mediaType, layer.Descriptor().Digest))
		src, dst := stocked(t, ocitest.Fixture{Root: root.Descriptor(), Blobs: []oci.Blob{empty, root}}), repo(t, mem.New(), "dst")
		_, err := run(t.Context(), transfer.Options{}, job(src, "v1", dst, "v1"))
		wantErr(t, mediaType, err, want)
		_, err = run(t.Context(), transfer.Options{Foreign: true}, job(src, "v1", repo(t, mem.New(), "dst"), "v1"))
		wantErr(t, mediaType+", with foreign layers", err, oci.ErrNotFound)
	}
}

// All children of a platform are kept, not one of them behind the user's back.
func TestBad_023_AmbiguousPlatforms(t *testing.T) {
	t.Parallel()
	world := ocitest.Symbols(t, "a = layer 10\none = image a\ntwo = image a note=n=2\narm = image a platform=linux/arm64\nnote = blob x\nbare = artifact note\nall = index one bare arm two one")
	dst := repo(t, mem.New(), "dst")
	p := must(t, transfer.Options{Platforms: platforms(t, "linux/amd64")}, job(stocked(t, world.Fixture("all")), "v1", strict{dst, t}, "v1"))
	m, err := oci.Fetch(t.Context(), dst, oci.Descriptor{MediaType: oci.MediaIndex, Digest: p.Images[0].Digest, Size: p.Steps[len(p.Steps)-1].Size})
	if err != nil || len(m.Manifests) != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	wantSame(t, dst, world.Fixture("two"))
	wantAbsent(t, dst, world.Fixture("bare").Root)
}

func TestBad_053_SourceChangesMeanwhile(t *testing.T) {
	t.Parallel()
	old, next := ocitest.Index(1), ocitest.Index(2)
	src, dst := stocked(t, old), repo(t, mem.New(), "dst")
	jobs := []transfer.Job{job(src, "v1", strict{dst, t}, "v1")}
	p, err := transfer.Make(t.Context(), jobs, transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	push(t, src, next, "v1") // the tag moves: what was planned is copied
	if err := p.Run(t.Context()); err != nil {
		t.Error(err)
	}
	wantTag(t, dst, "v1", old.Root.Digest)
	wantSame(t, dst, old)

	if p, err = transfer.Make(t.Context(), jobs, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := src.(oci.Deleter).Delete(t.Context(), next.Layers()[0].Descriptor()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a layer went away", p.Run(t.Context()), oci.ErrNotFound)
	wantTag(t, dst, "v1", old.Root.Digest)
	wantAbsent(t, dst, next.Root)
}

// A config that makes no sense is copied as it is; only who has to read it is
// told.
func TestBad_024_Config(t *testing.T) {
	t.Parallel()
	for _, config := range []string{`{"rootfs":{"diff_ids":[]},"history":[{},{},{}]}`, `{"config":{"Env":"x"},"os":7}`, `not JSON`} {
		src, dst := repo(t, mem.New(), "src"), repo(t, mem.New(), "dst")
		c := oci.Bytes(oci.MediaConfig, []byte(config))
		m := oci.Bytes(oci.MediaManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
			oci.MediaManifest, oci.MediaConfig, c.Descriptor().Digest, c.Descriptor().Size))
		if _, err := src.Put(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := oci.Publish(t.Context(), src, m, "v1"); err != nil {
			t.Fatal(err)
		}
		must(t, transfer.Options{}, job(src, "v1", strict{dst, t}, "v1"))
		wantTag(t, dst, "v1", m.Descriptor().Digest)
		_, err := run(t.Context(), transfer.Options{Platforms: platforms(t, "linux/amd64")}, job(src, "v1", dst, "v2"))
		if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
