// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

var errNetwork = errors.New("connection reset")

// cutPut leaves a half blob behind.
func cutPut(t *testing.T, l *layout.Dir, b oci.Blob, n int64) {
	t.Helper()
	c := count(b)
	c.wrap = cutAfter(n, errNetwork)
	_, err := l.Put(t.Context(), c)
	wantErr(t, "put", err, errNetwork)
}

func TestResume(t *testing.T) {
	t.Parallel()
	const size, cut = 3 << 20, 2<<20 + 1
	for _, c := range []struct {
		name                 string
		spoil                func(file string) error // the half blob
		blob                 func(*counted) oci.Blob
		opens, ranges, bytes int64
	}{
		{"goes on", nil, nil, 0, 1, size - cut},
		{"other bytes start again", flip(1000), nil, 1, 1, size - cut + size},
		{"too long starts again", grow(size + 1), nil, 1, 0, size},
		{"whole needs nothing", whole(layerBlob(1, size)), nil, 0, 0, 0},
		{"right size, wrong bytes", grow(size), nil, 1, 0, size},
		{"empty", grow(0), nil, 1, 0, size},
		{"no ranges", nil, func(b *counted) oci.Blob { return struct{ oci.Blob }{b} }, 1, 0, size},
		{"ranges refused", nil, func(b *counted) oci.Blob { return refusing{b} }, 1, 0, size},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "image")
			l := open(t, dir, layout.Options{Create: true})
			b := layerBlob(1, size)
			cutPut(t, l, b, cut)
			half := filepath.Join(dir, "ingest", "sha256-"+b.Descriptor().Digest.Encoded()+".part")
			if fi, err := os.Stat(half); err != nil || fi.Size() != cut || l.Left(t.Context(), b.Descriptor()) != cut {
				t.Fatalf("half blob: %v, %v, left %d", fi, err, l.Left(t.Context(), b.Descriptor()))
			}
			if c.spoil != nil {
				if err := c.spoil(half); err != nil {
					t.Fatal(err)
				}
			}
			n := count(b)
			var from oci.Blob = n
			if c.blob != nil {
				from = c.blob(n)
			}
			put(t, l, from, oci.Sent)
			if n.opens.Load() != c.opens || n.ranges.Load() != c.ranges || n.bytes.Load() != c.bytes {
				t.Errorf("%d opens, %d ranges, %d bytes, want %d, %d, %d", n.opens.Load(), n.ranges.Load(), n.bytes.Load(), c.opens, c.ranges, c.bytes)
			}
			if got, err := readAll(t, l, b.Descriptor()); err != nil || len(got) != size {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			wantClean(t, dir)
		})
	}
}

func flip(at int64) func(string) error {
	return func(file string) error {
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte{0, 1, 2, 3, 4, 5, 6, 7}, at)
		return err
	}
}

func grow(size int64) func(string) error {
	return func(file string) error { return os.Truncate(file, size) }
}

func whole(b oci.Blob) func(string) error {
	return func(file string) error {
		r, err := b.Open(background)
		if err != nil {
			return err
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return os.WriteFile(file, raw, 0o644)
	}
}

// refusing cannot be read from its middle after all.
type refusing struct{ oci.RangeBlob }

func (refusing) OpenRange(context.Context, int64, int64) (io.ReadCloser, error) {
	return nil, oci.Errorf(oci.ErrUnsupported, "no ranges")
}

// A half blob survives many cuts, and ends when its bytes are wrong.
func TestHalfBlobIsKeptWhileItMayBeGood(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	b := layerBlob(1, 4<<20)
	half := filepath.Join(dir, "ingest", "sha256-"+b.Descriptor().Digest.Encoded()+".part")
	total := int64(0)
	for i := range int64(3) {
		cutPut(t, l, b, 1<<20)
		total += 1 << 20
		if fi, err := os.Stat(half); err != nil || fi.Size() != (i+1)<<20 {
			t.Fatalf("after %d cuts: %v, %v", i+1, fi, err)
		}
	}
	c := count(b)
	ctx, cancel := context.WithCancel(t.Context())
	c.wrap = func(r io.ReadCloser) io.ReadCloser { cancel(); return r }
	_, err := l.Put(ctx, c)
	wantErr(t, "put", err, context.Canceled)
	if _, err := os.Stat(half); err != nil {
		t.Error(err)
	}
	wrong := ocitest.Random(2, 4<<20)
	lie := oci.Bytes(oci.MediaLayer, wrong, b.Descriptor().Digest)
	_, err = l.Put(t.Context(), lie)
	wantErr(t, "put of wrong bytes", err, oci.ErrCorrupt)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half blob is still there: %v", err)
	}
	put(t, l, b, oci.Sent)
	wantClean(t, dir)
}

func TestManyPutsOfOneLargeBlob(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	l := open(t, dir, layout.Options{Create: true})
	b := layerBlob(1, 2<<20)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			l := l
			if i%2 == 0 {
				l = open(t, dir, layout.Options{Create: true}) // as another process
			}
			if _, err := l.Put(t.Context(), b); err != nil {
				t.Error(err)
			}
			if got, err := readAll(t, l, b.Descriptor()); err != nil || len(got) != 2<<20 {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	wantClean(t, dir)
}

// A blob goes on being readable and the Puts of others go on while the lock of
// the layout is held.
func TestPutsDoNotWaitForTheIndex(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	l := open(t, dir, layout.Options{})
	held, release := make(chan struct{}), make(chan struct{})
	gc := make(chan error, 1)
	go func() {
		_, err := layout.GC(t.Context(), dir, layout.GCOptions{Now: pausingClock(held, release)})
		gc <- err
	}()
	<-held
	for i := range uint64(4) {
		put(t, l, layerBlob(20+i, 100), oci.Sent)
	}
	wantGraph(t, l, f.Root)
	close(release)
	if err := <-gc; err != nil {
		t.Error(err)
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	raw := ocitest.Random(1, 100_000)
	d := oci.Bytes(oci.MediaLayer, raw).Descriptor()
	other := ""
	if _, err := os.Stat("/dev/shm"); err == nil { // likely another file system
		if other, err = os.MkdirTemp("/dev/shm", "layout"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(other) })
		}
	}
	for i, from := range []string{t.TempDir(), other} {
		if from == "" {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "image")
			l := open(t, dir, layout.Options{Create: true})
			file := filepath.Join(from, "upload")
			for _, want := range []oci.How{oci.Sent, oci.Existed} {
				if err := os.WriteFile(file, raw, 0o600); err != nil {
					t.Fatal(err)
				}
				how, err := l.Adopt(t.Context(), file, d)
				if err != nil || how != want {
					t.Errorf("got %v, %v, want %v", how, err, want)
				}
				if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the file is still there: %v", err)
				}
			}
			if got, err := readAll(t, l, d); err != nil || !bytes.Equal(got, raw) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			write(t, file, raw[:10])
			_, err := l.Adopt(t.Context(), file, d)
			wantErr(t, "adopt a stump", err, oci.ErrCorrupt)
			wantClean(t, dir)
		})
	}
}

func TestReadOnlyOption(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	before := snapshot(t, dir)
	l := open(t, dir, layout.Options{ReadOnly: true})
	wantGraph(t, l, f.Root)
	_, put := l.Put(t.Context(), layerBlob(2, 10))
	_, adopt := l.Adopt(t.Context(), filepath.Join(dir, "index.json"), oci.Descriptor{Digest: f.Root.Digest, Size: int64(len(read(t, filepath.Join(dir, "index.json"))))})
	for what, err := range map[string]error{
		"put": put, "adopt": adopt, "tag": l.Tag(t.Context(), "v2", f.Root), "untag": l.Untag(t.Context(), "v1"),
		"delete": l.Delete(t.Context(), f.Root), "publish": l.Publish(t.Context(), f.Blob(f.Root.Digest), "v2"),
	} {
		wantErr(t, what, err, oci.ErrDenied)
	}
	if !equalMaps(before, snapshot(t, dir)) {
		t.Error("the layout has changed")
	}
	_, err := layout.Open(filepath.Join(dir, "no"), layout.Options{Create: true, ReadOnly: true})
	wantErr(t, "open", err, oci.ErrNotFound)
}

// What an index has left behind is a root only once it is published itself.
func TestRooted(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1)
	l := open(t, t.TempDir()+"/x", layout.Options{Create: true})
	if ok, err := l.Rooted(t.Context(), f.Root); ok || err != nil {
		t.Errorf("before there is a layout: %t, %v", ok, err)
	}
	if err := f.Push(t.Context(), l, "v1"); err != nil {
		t.Fatal(err)
	}
	m, err := oci.Fetch(t.Context(), l, f.Root)
	if err != nil {
		t.Fatal(err)
	}
	child := m.Manifests[0]
	for _, c := range []struct {
		d    oci.Descriptor
		want bool
	}{{f.Root, true}, {child, false}} {
		if ok, err := l.Rooted(t.Context(), c.d); ok != c.want || err != nil {
			t.Errorf("%s: %t, %v", c.d.MediaType, ok, err)
		}
	}
	if err := l.Delete(t.Context(), f.Root); err != nil {
		t.Fatal(err)
	}
	if err := oci.Publish(t.Context(), l, oci.From(l, child)); err != nil {
		t.Fatal(err)
	}
	if ok, err := l.Rooted(t.Context(), child); !ok || err != nil {
		t.Errorf("published: %t, %v", ok, err)
	}
}

// An interrupted GC can leave a manifest without its layers. An index that
// names it is not taken for whole.
func TestIndexOfBrokenChild(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(3, "linux/amd64", "linux/arm64")
	dir := t.TempDir()
	l, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	push(t, l, f, "1")
	if err := os.Remove(blobFile(dir, f.Layers()[0].Descriptor().Digest)); err != nil {
		t.Fatal(err)
	}
	if l, err = layout.Open(dir, layout.Options{}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "index", oci.Publish(t.Context(), l, f.Blob(f.Root.Digest), "2"), oci.ErrNotFound)
}
