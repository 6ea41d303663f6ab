// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
)

type catalogTest struct {
	name string
	run  func(t *testing.T, c oci.Catalog)
}

// TestCatalog runs the suite that every catalog must pass, and TestStore on
// one of its repositories. open gives an empty catalog; it is called once for
// each subtest, from parallel ones.
func TestCatalog(t *testing.T, open func(t *testing.T) oci.Catalog) {
	for _, test := range catalogTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
	t.Run("Store", func(t *testing.T) {
		TestStore(t, func(t *testing.T) oci.Store { return repository(t, open(t), "some/repository") })
	})
}

func repository(t *testing.T, c oci.Catalog, name string) oci.Store {
	t.Helper()
	s, err := c.Repository(t.Context(), name)
	if err != nil {
		t.Fatalf("repository %s: %v", name, err)
	}
	return s
}

var catalogTests = []catalogTest{
	{"NamesAreChecked", func(t *testing.T, c oci.Catalog) {
		for _, name := range []string{"", "A", "a/B", "a//b", "/a", "a/", "a/../b", "..", ".", "a/.b", "-a", "a_", "a___b",
			"a\x00b", "a b", "a:b", "a@b", `a\b`, "ä", strings.Repeat("a", 256)} {
			_, err := c.Repository(t.Context(), name)
			wantErr(t, fmt.Sprintf("repository %q", name), err, oci.ErrInvalid)
		}
		for _, name := range []string{"a", "a/b/c", "a.b", "a_b", "a__b", "a---b", "0", strings.Repeat("a/", 100) + "a"} {
			push(t, repository(t, c, name), Image(80, 1, 10), "v1")
		}
	}},
	{"RepositoriesAreSorted", func(t *testing.T, c oci.Catalog) {
		if got, err := collect(c.Repositories(t.Context())); err != nil || len(got) != 0 {
			t.Errorf("empty catalog: %q, %v", got, err)
		}
		for _, name := range []string{"b", "a/z", "a", "a-b", "a/b/c"} {
			push(t, repository(t, c, name), Image(81, 1, 10), "v1")
		}
		_, _ = repository(t, c, "looked/at").Resolve(t.Context(), "v1") // holds nothing
		want := []string{"a", "a-b", "a/b/c", "a/z", "b"}
		got, err := collect(c.Repositories(t.Context()))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		for name := range c.Repositories(t.Context()) { // a consumer may stop
			if name != "a" {
				t.Errorf("first is %s", name)
			}
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = collect(c.Repositories(ctx))
		wantErr(t, "repositories", err, context.Canceled)
	}},
	{"RepositoriesAreApart", func(t *testing.T, c oci.Catalog) {
		f := Image(82, 1, 10)
		a, b := repository(t, c, "a"), repository(t, c, "a/b")
		push(t, a, f, "v1")
		for _, blob := range f.Blobs {
			wantAbsent(t, b, blob.Descriptor())
		}
		_, err := b.Resolve(t.Context(), "v1")
		wantErr(t, "resolve", err, oci.ErrNotFound)
		wantErr(t, "tag", b.Tag(t.Context(), "v1", f.Root), oci.ErrNotFound)
		wantResolve(t, repository(t, c, "a"), "v1", f.Root) // opened again
	}},
	{"PutMayMount", func(t *testing.T, c oci.Catalog) {
		a, b := repository(t, c, "a"), repository(t, c, "b")
		p := honest(oci.Bytes(oci.MediaLayer, Random(83, 1000)))
		put(t, a, p)
		how, err := b.Put(t.Context(), p, "no/such", "a")
		if err != nil || how == oci.Existed {
			t.Errorf("put: %v, %v", how, err)
		}
		if n := p.opens.Load(); how == oci.Mounted && n != 1 || how == oci.Sent && n != 2 {
			t.Errorf("%v, but the blob was opened %d times", how, n)
		}
		wantSame(t, b, p)
		if how, err = b.Put(t.Context(), p, "a"); err != nil || how != oci.Existed {
			t.Errorf("second put: %v, %v", how, err)
		}
		if del, ok := oci.As[oci.Deleter](a); ok && del.Delete(t.Context(), p.Descriptor()) == nil {
			wantAbsent(t, a, p.Descriptor())
			wantSame(t, b, p)
		}
	}},
	{"DeleteInOneRepositoryOnly", func(t *testing.T, c oci.Catalog) {
		f := Image(84, 1, 10)
		a, b := repository(t, c, "a"), repository(t, c, "b")
		push(t, a, f, "v1")
		push(t, b, f, "v1")
		del := ability[oci.Deleter](t, a, "Deleter")
		supported(t, "delete", del.Delete(t.Context(), f.Root))
		for _, blob := range f.Blobs[:len(f.Blobs)-1] {
			supported(t, "delete", del.Delete(t.Context(), blob.Descriptor()))
		}
		wantResolve(t, b, "v1", f.Root)
		for _, blob := range f.Blobs {
			wantAbsent(t, a, blob.Descriptor())
			wantSame(t, b, blob)
		}
	}},
	{"RepositoriesConcurrently", func(t *testing.T, c oci.Catalog) {
		f := Index(85)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s, err := c.Repository(t.Context(), fmt.Sprintf("r%d", i/2)) // two writers each
				if err != nil {
					t.Error(err)
					return
				}
				if err := f.Push(t.Context(), s, "v1"); err != nil {
					t.Error(err)
					return
				}
				wantResolve(t, s, "v1", f.Root)
			})
		}
		wg.Wait()
		if got, err := collect(c.Repositories(t.Context())); err != nil || len(got) != 4 {
			t.Errorf("got %q, %v", got, err)
		}
	}},
	{"LocatorsOfOneCatalog", func(t *testing.T, c oci.Catalog) {
		a, b := ability[oci.Locator](t, repository(t, c, "a"), "Locator"), ability[oci.Locator](t, repository(t, c, "b"), "Locator")
		host, name := a.Locate()
		other, second := b.Locate()
		if host != other || name == second {
			t.Errorf("got %q %q and %q %q", host, name, other, second)
		}
	}},
}
