// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// heap is a source of whatever was put on it.
type heap map[oci.Digest]oci.Blob

func (h heap) add(f ocitest.Fixture) oci.Descriptor {
	for _, b := range f.Blobs {
		h[b.Descriptor().Digest] = b
	}
	return f.Root
}

// put puts a document with these members.
func (h heap) put(mediaType, members string) oci.Descriptor {
	b := oci.Bytes(mediaType, []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,%s}`, mediaType, members)))
	h[b.Descriptor().Digest] = b
	return b.Descriptor()
}

func (h heap) index(children ...oci.Descriptor) oci.Descriptor {
	list := make([]string, len(children))
	for i, d := range children {
		list[i] = fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, d.MediaType, d.Digest, d.Size)
	}
	return h.put(oci.MediaIndex, `"manifests":[`+strings.Join(list, ",")+`]`)
}

func (h heap) image(members string) oci.Descriptor {
	return h.put(oci.MediaManifest, `"config":`+desc(oci.MediaConfig, 2, "")+`,`+members)
}

func (h heap) Resolve(context.Context, string) (oci.Descriptor, error) {
	return oci.Descriptor{}, oci.ErrNotFound
}

func (h heap) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) { return d, nil }

func (h heap) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if h[d.Digest] == nil {
		return nil, oci.ErrNotFound
	}
	return h[d.Digest].Open(ctx)
}

func (h heap) load(t *testing.T, root oci.Descriptor, keep func(oci.Descriptor) bool) (*oci.Tree, error) {
	tree, err := oci.Graph{Root: root, Source: h}.Load(t.Context(), keep)
	if err != nil {
		return tree, err
	}
	if tree.Root().Descriptor.Digest != root.Digest {
		t.Error("the root is not last")
	}
	at := map[oci.Digest]int{}
	for i, m := range tree.Manifests {
		if _, twice := at[m.Descriptor.Digest]; twice {
			t.Errorf("%s is there twice", m.Descriptor.Digest)
		}
		at[m.Descriptor.Digest] = i
		for _, c := range m.Children() {
			if j, ok := at[c.Digest]; oci.IsManifest(c.MediaType) && (keep == nil || keep(c)) && (!ok || j >= i) {
				t.Errorf("manifest %d comes before its child", i)
			}
		}
	}
	for _, d := range tree.Blobs {
		if _, twice := at[d.Digest]; twice {
			t.Errorf("blob %s is there twice", d.Digest)
		}
		at[d.Digest] = -1
	}
	return tree, nil
}

func TestLoadShared(t *testing.T) {
	t.Parallel()
	h := heap{}
	one, two := h.add(ocitest.Image(1, 2, 10)), h.add(ocitest.Image(2, 1, 10))
	b := h.index(two, one)
	a := h.index(b, one)                            // A has B below it,
	for _, list := range [][]oci.Descriptor{{b, a}, // whichever is mentioned first
		{a, b}, {one, a, b, two}, {a, a, b, one, one}} {
		tree, err := h.load(t, h.index(list...), nil)
		if err != nil || len(tree.Manifests) != 5 || len(tree.Blobs) != 5 {
			t.Errorf("%v: %+v", err, tree)
		}
	}
	tree, err := h.load(t, a, func(d oci.Descriptor) bool { return d.Digest != two.Digest })
	if err != nil || len(tree.Manifests) != 3 || len(tree.Blobs) != 3 {
		t.Errorf("kept some: %v: %+v", err, tree)
	}
}

func TestLoadOddMediaTypes(t *testing.T) {
	t.Parallel()
	h := heap{}
	img := h.image(`"layers":[` + strings.Replace(desc(oci.MediaIndex, 7, ""), "aa", "bb", 1) + `]`)
	tree, err := h.load(t, img, nil)
	if err != nil || len(tree.Blobs) != 2 || len(tree.Manifests) != 1 || oci.IsManifest(tree.Blobs[1].MediaType) {
		t.Errorf("a layer that calls itself an index: %v: %+v", err, tree)
	}
	unknown := oci.Bytes("application/x-unknown", []byte("anything")).Descriptor()
	tree, err = h.load(t, h.index(img, unknown), nil)
	if err != nil || !slices.ContainsFunc(tree.Blobs, func(d oci.Descriptor) bool { return d.Digest == unknown.Digest && d.MediaType == unknown.MediaType }) {
		t.Errorf("an unknown child of an index: %v: %+v", err, tree)
	}
	if _, err := h.load(t, h.index(oci.Bytes("application/vnd.x.manifest.v1+json", []byte("{}")).Descriptor()), nil); err == nil {
		t.Error("a manifest that is missing was not missed")
	}
}

func TestBad_013_DepthAndFanOut(t *testing.T) {
	t.Parallel()
	h := heap{}
	top := h.add(ocitest.Image(1, 1, 10))
	chain := []oci.Descriptor{top}
	for range oci.MaxDepth + 1 {
		top = h.index(top)
		chain = append(chain, top)
	}
	if _, err := h.load(t, chain[oci.MaxDepth], nil); err != nil {
		t.Errorf("depth %d: %v", oci.MaxDepth, err)
	}
	flat := func(order []oci.Descriptor) oci.Descriptor { return h.index(order...) }
	backwards := slices.Clone(chain)
	slices.Reverse(backwards)
	for name, root := range map[string]oci.Descriptor{
		"plain": top, "all mentioned at once": flat(chain), "all mentioned at once, from above": flat(backwards),
	} {
		if _, err := h.load(t, root, nil); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("depth %d, %s: %v", oci.MaxDepth+1, name, err)
		}
	}
	many := func(n, from int) []oci.Descriptor {
		out := make([]oci.Descriptor, n)
		for i := range out {
			out[i] = oci.Bytes("text/plain", fmt.Appendf(nil, "blob %d", from+i)).Descriptor()
		}
		return out
	}
	if tree, err := h.load(t, h.index(many(10_000, 0)...), nil); err != nil || len(tree.Blobs) != 10_000 {
		t.Errorf("10,000 entries: %v", err)
	}
	if _, err := h.load(t, h.index(many(10_001, 0)...), nil); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("10,001 entries: %v", err)
	}
	var indexes []oci.Descriptor
	for i := range 10 {
		indexes = append(indexes, h.index(many(9_999, i*10_000)...))
	}
	if _, err := h.load(t, h.index(indexes[:9]...), nil); err != nil {
		t.Errorf("90,001 nodes: %v", err)
	}
	indexes = append(indexes, many(10, 200_000)...)
	if _, err := h.load(t, h.index(indexes...), nil); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("100,011 nodes: %v", err)
	}
}

func TestBad_013_BytesOfManifests(t *testing.T) {
	t.Parallel()
	h := heap{}
	var list []oci.Descriptor
	for i := range oci.MaxGraph/oci.MaxManifest + 1 {
		list = append(list, oci.Descriptor{MediaType: oci.MediaManifest, Digest: oci.FromBytes(fmt.Append(nil, i)), Size: oci.MaxManifest})
	}
	_, err := h.load(t, h.index(list...), nil)
	if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "bytes of manifests") {
		t.Errorf("more than %d bytes of manifests: %v", oci.MaxGraph, err)
	}
}

func TestBad_017_OneDigestTwoMeanings(t *testing.T) {
	t.Parallel()
	h := heap{}
	img := h.add(ocitest.Image(1, 1, 10))
	larger, blob := img, img
	larger.Size++
	blob.MediaType = "text/plain"
	docker := img
	docker.MediaType = oci.MediaDockerManifest
	layer := func(size any, mediaType string) string { return `"layers":[` + desc(mediaType, size, "") + `]` }
	for name, c := range map[string]struct {
		root oci.Descriptor
		ok   bool
	}{
		"manifest with two sizes":        {h.index(img, larger), false},
		"manifest and blob":              {h.index(img, blob), false},
		"blob and manifest":              {h.index(blob, img), false},
		"manifest of two types":          {h.index(img, docker), false},
		"the same twice":                 {h.index(img, img), true},
		"layer with two sizes":           {h.index(h.image(layer(2, oci.MediaLayer)), h.image(layer(3, oci.MediaLayer))), false},
		"layer of two types":             {h.index(h.image(layer(2, oci.MediaLayer)), h.image(layer(2, oci.MediaLayerGzip))), true},
		"layer is the config":            {h.image(layer(2, oci.MediaLayer)), true},
		"layer is the config, two sizes": {h.image(layer(3, oci.MediaLayer)), false},
		"layer is a manifest":            {h.index(img, h.image(fmt.Sprintf(`"layers":[{"mediaType":%q,"digest":%q,"size":%d}]`, img.MediaType, img.Digest, img.Size))), false},
	} {
		if _, err := h.load(t, c.root, nil); (err == nil) != c.ok || err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBad_022_SubjectOfNothing(t *testing.T) {
	t.Parallel()
	h := heap{}
	nothing := oci.Bytes(oci.MediaManifest, []byte("nothing")).Descriptor()
	if tree, err := h.load(t, h.add(ocitest.Artifact(1, "x/y", &nothing)), nil); err != nil || len(tree.Manifests) != 1 {
		t.Errorf("a subject that is not there: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	h := heap{}
	f := ocitest.Index(1)
	h.add(f)
	child := f.Blobs[0].Descriptor()
	for _, b := range f.Blobs {
		if oci.IsManifest(b.Descriptor().MediaType) {
			child = b.Descriptor()
			break
		}
	}
	delete(h, child.Digest)
	if _, err := h.load(t, f.Root, nil); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("child is missing: %v", err)
	}
	h[child.Digest] = oci.Bytes(child.MediaType, []byte(`{"layers":[]}`))
	if _, err := h.load(t, f.Root, nil); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("child is something else: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (oci.Graph{Root: f.Root, Source: h}).Load(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestParallel(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	got := make([]int, 1000)
	if err := oci.Parallel(t.Context(), len(got), func(_ context.Context, i int) error { got[i]++; return nil }); err != nil {
		t.Error(err)
	}
	if slices.ContainsFunc(got, func(n int) bool { return n != 1 }) {
		t.Error("not each was called once")
	}
	err := oci.Parallel(t.Context(), 1000, func(ctx context.Context, i int) error {
		if i == 3 {
			return boom
		}
		<-ctx.Done() // the error ends the others
		return ctx.Err()
	})
	if err != boom {
		t.Errorf("first error: %v", err)
	}
	if err := oci.Parallel(t.Context(), 0, nil); err != nil {
		t.Error(err)
	}
}
