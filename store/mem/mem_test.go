// SPDX-License-Identifier: Apache-2.0

package mem_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

func TestCatalog(t *testing.T) {
	t.Parallel()
	ocitest.TestCatalog(t, func(*testing.T) oci.Catalog { return mem.New() })
}

// A wrapper that only observes must pass as well.
func TestFailWithoutHook(t *testing.T) {
	t.Parallel()
	ocitest.TestStore(t, func(t *testing.T) oci.Store { return &ocitest.Fail{Store: open(t, mem.New(), "a")} })
}

func open(t *testing.T, c *mem.Catalog, name string) oci.Store {
	t.Helper()
	s, err := c.Repository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMountMovesNothing(t *testing.T) {
	t.Parallel()
	c := mem.New()
	b := oci.Bytes(oci.MediaLayer, []byte("layer"))
	if _, err := open(t, c, "a").Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if how, err := open(t, c, "b").Put(t.Context(), b, "x", "a"); err != nil || how != oci.Mounted {
		t.Errorf("got %v, %v", how, err)
	}
}

func TestHostsAreUnique(t *testing.T) {
	t.Parallel()
	one, _ := open(t, mem.New(), "a").(oci.Locator).Locate()
	two, name := open(t, mem.New(), "a").(oci.Locator).Locate()
	if one == two || !strings.HasPrefix(two, "mem:") || name != "a" {
		t.Errorf("got %q and %q %q", one, two, name)
	}
}

func TestManifestNeedsItsBlobs(t *testing.T) {
	t.Parallel()
	s := open(t, mem.New(), "a")
	f := ocitest.Image(1, 2, 10)
	if _, err := s.Put(t.Context(), f.Blob(f.Root.Digest)); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("image without its blobs: %v", err)
	}
	index := ocitest.Index(2)
	if _, err := s.Put(t.Context(), index.Blob(index.Root.Digest)); err != nil {
		t.Errorf("index without its images: %v", err)
	}
	w := ocitest.Symbols(t, `
		far = layer 10 foreign
		win = image far platform=windows/amd64
	`)
	for _, b := range w.Fixture("win").Blobs {
		if b.Descriptor().Digest == w.Fixture("far").Root.Digest {
			continue
		}
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Errorf("image without its foreign layer: %v", err)
		}
	}
}

func TestTagNames(t *testing.T) {
	t.Parallel()
	s := open(t, mem.New(), "a")
	f := ocitest.Image(1, 1, 10)
	if err := f.Push(t.Context(), s, "ok", "_ok", strings.Repeat("a", 128)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".a", "-a", "a/b", "a:b", "a b", strings.Repeat("a", 129), "ä"} {
		if err := s.Tag(t.Context(), name, f.Root); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("tag %q: %v", name, err)
		}
		if err := oci.Publish(t.Context(), s, f.Blob(f.Root.Digest), name); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("publish %q: %v", name, err)
		}
	}
}
