// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// rangeCounting counts how often the whole layer is opened.
type rangeCounting struct {
	memLayer
	n *int
}

func (b rangeCounting) Open(ctx context.Context) (io.ReadCloser, error) {
	*b.n++
	return b.memLayer.Open(ctx)
}

// An askedBlob counts how often it is opened, by many at a time, and may wait
// or fail.
type askedBlob struct {
	oci.Blob
	n    atomic.Int32
	open func(ctx context.Context) error
}

func (b *askedBlob) Open(ctx context.Context) (io.ReadCloser, error) {
	b.n.Add(1)
	if b.open != nil {
		if err := b.open(ctx); err != nil {
			return nil, err
		}
	}
	return b.Blob.Open(ctx)
}

func keptFiles(t testing.TB, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// A layer is opened once, by whatever process.
func TestOutlinesKeep(t *testing.T) {
	t.Parallel()
	b := &askedBlob{Blob: oci.Bytes(oci.MediaLayer, tarOf(t, strange()...))}
	dir := filepath.Join(t.TempDir(), "new", "outlines")
	if _, ok := (&layer.Outlines{Dir: dir}).Cached(b.Descriptor()); ok {
		t.Error("known before it was read")
	}
	var want []string
	for i := range 3 {
		o, err := (&layer.Outlines{Dir: dir}).Of(ctx(t), b)
		if err != nil {
			t.Fatal(err)
		}
		if got := changes(t, o); i == 0 {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	}
	if n := b.n.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	if _, ok := (&layer.Outlines{Dir: dir}).Cached(b.Descriptor()); !ok {
		t.Error("not known")
	}
	if _, ok := (&layer.Outlines{Dir: dir}).Cached(oci.Descriptor{Digest: "sha256:../../x"}); ok {
		t.Error("what is no digest is known")
	}
}

// Files that are broken, of another layer or no files are as if they were not
// there, and are replaced.
func TestOutlinesBroken(t *testing.T) {
	t.Parallel()
	b := &askedBlob{Blob: oci.Bytes(oci.MediaLayer, tarOf(t, strange()...))}
	other := outlines(t, []rec{file("other", "")})[0].OutlineFile()
	cache := &layer.Outlines{Dir: t.TempDir()}
	if _, err := cache.Of(ctx(t), b); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(cache.Dir, keptFiles(t, cache.Dir)[0])
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	opened := b.n.Load()
	for what, broken := range map[string][]byte{"empty": {}, "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "other": other, "zeros": make([]byte, 1000)} {
		if err := os.WriteFile(name, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := cache.Of(ctx(t), b); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if opened++; b.n.Load() != opened {
			t.Errorf("%s: opened %d times, want %d", what, b.n.Load(), opened)
		}
	}
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Of(ctx(t), b); err != nil {
		t.Error(err)
	}
	if left := keptFiles(t, cache.Dir); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
	nowhere := &layer.Outlines{Dir: filepath.Join(os.DevNull, "x")}
	if _, err := nowhere.Of(ctx(t), b); err != nil {
		t.Errorf("a directory that cannot be: %v", err)
	}
}

// What one manifest's table says is not what the layer is known as: another
// manifest vouches for another table.
func TestOutlinesOfTables(t *testing.T) {
	t.Parallel()
	cache := &layer.Outlines{Dir: t.TempDir()}
	b := tocForms(t)["estargz"]
	o, err := cache.Of(ctx(t), b)
	if err != nil || o.Table == "" {
		t.Fatal(o, err)
	}
	reads := len(*b.reads)
	if _, err := cache.Of(ctx(t), b); err != nil || len(*b.reads) != reads {
		t.Errorf("asked again: %v", err)
	}
	bare := b.d
	bare.Annotations = nil
	if _, ok := cache.Cached(bare); ok {
		t.Error("a table that nobody vouches for is believed")
	}
	if o, err := cache.Of(ctx(t), oci.Bytes(oci.MediaLayerGzip, b.raw)); err != nil || o.DiffID == "" {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, ok := cache.Cached(b.d); !ok || o.DiffID == "" {
		t.Error("the layer itself is better than its table")
	}
}

// A layer that many want at once is read once; who goes away does not take it
// from the others.
func TestOutlinesTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &askedBlob{Blob: oci.Bytes(oci.MediaLayer, tarOf(t, strange()...)), open: func(ctx context.Context) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		cache := &layer.Outlines{}
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := cache.Of(first, b); !errors.Is(err, context.Canceled) {
				t.Errorf("the one that went away got %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				if o, err := cache.Of(t.Context(), b); err != nil || o.Len == 0 {
					t.Errorf("got %v", err)
				}
			})
		}
		impatient, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		wg.Go(func() {
			if _, err := cache.Of(impatient, b); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient one got %v", err)
			}
		})
		synctest.Wait()
		if n := b.n.Load(); n != 1 {
			t.Errorf("opened %d times at once", n)
		}
		<-impatient.Done()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := b.n.Load(); n != 2 {
			t.Errorf("opened %d times", n)
		}
	})
}

// Beyond the bound the files go that were not used for longest.
func TestOutlinesBound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all []oci.Blob
	var size int64
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, oci.Bytes(oci.MediaLayer, tarOf(t, file(name, ""))))
		size = int64(len(outline(t, all[0]).OutlineFile()))
	}
	cache := &layer.Outlines{Dir: dir, MaxBytes: 2*size + size/2}
	for i, b := range all[:2] {
		if _, err := cache.Of(ctx(t), b); err != nil {
			t.Fatal(err)
		}
		for _, name := range keptFiles(t, dir) {
			if filepath.Base(name)[len("sha256-"):] == b.Descriptor().Digest.Encoded() {
				when := time.Now().Add(-time.Hour).Add(time.Duration(i) * time.Minute)
				if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if _, ok := cache.Cached(all[0].Descriptor()); !ok { // used: now it is b that goes
		t.Fatal("a is not kept")
	}
	if _, err := cache.Of(ctx(t), all[2]); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if _, ok := cache.Cached(all[i].Descriptor()); ok != want {
			t.Errorf("%d is kept: %v", i, ok)
		}
	}
}

// Many processes write into one directory.
func TestOutlinesShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := blobs(t, strange(), []rec{file("a", "")}, []rec{file("b", "")})
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if _, err := (&layer.Outlines{Dir: dir}).Of(ctx(t), all[i%3]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := keptFiles(t, dir); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}
