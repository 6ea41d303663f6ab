// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

// later is a clock that is ahead.
func later(d time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(d) }
}

// pausingClock stops GC while it holds the lock.
func pausingClock(held, release chan struct{}) func() time.Time {
	return func() time.Time {
		close(held)
		<-release
		return time.Now()
	}
}

func blobCount(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for _, alg := range []string{"sha256", "sha512"} {
		list, _ := os.ReadDir(filepath.Join(dir, "blobs", alg))
		n += len(list)
	}
	return n
}

// gcWorld is a layout with something of everything that GC tells apart.
func gcWorld(t *testing.T) (dir string, l *layout.Dir, w *ocitest.World) {
	t.Helper()
	w = ocitest.Symbols(t, `
		l     = layer 10
		m     = layer 20
		n     = layer 30
		keep  = image l
		drop  = image m
		root  = image n
		list  = index keep
		sig   = artifact l type=application/x.sig subject=list
		sig2  = artifact m type=application/x.sig subject=sig
		lost  = artifact n type=application/x.sig subject=drop
		named = artifact n type=application/x.other subject=drop
	`)
	dir = filepath.Join(t.TempDir(), "image")
	l = open(t, dir, layout.Options{Create: true})
	push(t, l, w.Fixture("list"), "v1")
	push(t, l, w.Fixture("drop"), "old")
	for _, name := range []string{"sig2", "sig", "lost"} {
		push(t, l, w.Fixture(name))
	}
	push(t, l, w.Fixture("named"), "artifact")
	root := w.Fixture("root")
	push(t, l, root)
	if err := l.Publish(t.Context(), root.Blob(root.Root.Digest)); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(t.Context(), w.Fixture("drop").Root); err != nil {
		t.Fatal(err)
	}
	cutPut(t, l, layerBlob(3, 2<<20), 1<<20)
	return dir, l, w
}

func wantGone(t *testing.T, l *layout.Dir, w *ocitest.World, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := l.Stat(t.Context(), w.Fixture(name).Root)
		wantErr(t, name, err, oci.ErrNotFound)
	}
}

func TestGCSparesTheYoungAndInADryRunAll(t *testing.T) {
	t.Parallel()
	dir, _, _ := gcWorld(t)
	before := snapshot(t, dir)
	r, err := layout.GC(t.Context(), dir, layout.GCOptions{})
	if err != nil || len(r.Removed) != 0 {
		t.Errorf("all is young: %+v, %v", r, err)
	}
	dry, err := layout.GC(t.Context(), dir, layout.GCOptions{Now: later(2 * time.Hour), DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if !equalMaps(before, snapshot(t, dir)) {
		t.Error("a dry run has changed something")
	}
	r, err = layout.GC(t.Context(), dir, layout.GCOptions{Now: later(2 * time.Hour)})
	if err != nil || !slices.Equal(r.Removed, dry.Removed) || r.Referrers != dry.Referrers || r.Kept != dry.Kept {
		t.Errorf("got %+v, %v, the dry run %+v", r, err, dry)
	}
}

func TestGC(t *testing.T) {
	t.Parallel()
	dir, l, w := gcWorld(t)
	before := snapshot(t, dir)
	r, err := layout.GC(t.Context(), dir, layout.GCOptions{Now: later(2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	// The config of drop, lost, and the half blob; m lives on in sig2.
	if len(r.Removed) != 3 || r.Referrers != 1 || r.Layouts != 1 || r.Kept != blobCount(t, dir) {
		t.Errorf("got %+v, %d blobs", r, blobCount(t, dir))
	}
	for _, gone := range r.Removed {
		if before[gone.Path] == "" || int64(len(before[gone.Path])) != gone.Size {
			t.Errorf("%+v was not there", gone)
		}
		if _, err := os.Stat(gone.Path); err == nil {
			t.Errorf("%s is still there", gone.Path)
		}
	}
	for _, name := range []string{"list", "sig", "sig2", "named", "root"} {
		wantGraph(t, l, w.Fixture(name).Root)
	}
	wantGone(t, l, w, "drop", "lost")
	if got := len(entries(t, dir)); got != 5 {
		t.Errorf("index.json has %d entries", got)
	}
	wantClean(t, dir)
}

func TestGCReferrersGoWithTheirSubject(t *testing.T) {
	t.Parallel()
	dir, l, w := gcWorld(t)
	if err := l.Untag(t.Context(), "v1"); err != nil { // a root all the same
		t.Fatal(err)
	}
	if r, err := layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1}); err != nil || r.Referrers != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	wantGraph(t, l, w.Fixture("sig2").Root)
	if err := l.Delete(t.Context(), w.Fixture("list").Root); err != nil {
		t.Fatal(err)
	}
	if r, err := layout.GC(t.Context(), dir, layout.GCOptions{Now: later(2 * time.Hour)}); err != nil || r.Referrers != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
	wantGone(t, l, w, "keep", "sig", "sig2")
	wantGraph(t, l, w.Fixture("named").Root)
}

func TestBad_086_UnreadableManifestStopsGC(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(file string) error{
		"missing": os.Remove,
		"stump":   grow(10),
		"flipped": flip(10),
		"link":    func(file string) error { _ = os.Remove(file); return os.Symlink("/dev/null", file) },
	} {
		for _, what := range []string{"root", "child"} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "image")
				l := open(t, dir, layout.Options{Create: true})
				f := ocitest.Index(1)
				push(t, l, f, "v1")
				put(t, l, layerBlob(9, 10), oci.Sent) // would be swept
				victim := f.Root
				if what == "child" {
					victim = f.Blobs[len(f.Blobs)-2].Descriptor()
				}
				if err := spoil(blobFile(dir, victim.Digest)); err != nil {
					t.Skip(err)
				}
				n := blobCount(t, dir)
				_, err := layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1})
				if err == nil || blobCount(t, dir) != n {
					t.Errorf("got %v, %d of %d blobs left", err, blobCount(t, dir), n)
				}
				r, err := layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1, Sparse: true})
				if ok := name == "missing" && what == "child"; ok != (err == nil) || ok && len(r.Removed) == 0 {
					t.Errorf("sparse: %+v, %v", r, err)
				}
			})
		}
	}
}

// Copies go on while GC runs again and again, and lose nothing.
func TestBad_097_GCDuringCopies(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	push(t, open(t, dir, layout.Options{Create: true}), ocitest.Image(1, 1, 10), "v0")
	var copies, sweeps sync.WaitGroup
	stop := make(chan struct{})
	sweeps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := layout.GC(t.Context(), dir, layout.GCOptions{Grace: time.Minute}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	old := time.Now().Add(-time.Hour)
	for n := range 3 {
		copies.Go(func() {
			l := open(t, dir, layout.Options{})
			for i := range 4 {
				f := ocitest.Image(uint64(1000+4*n+i), 2, 100)
				for _, b := range f.Blobs { // left over from long ago, or gone by now
					if _, err := l.Put(t.Context(), b); err != nil {
						continue // its manifest: the children may be gone
					}
					_ = os.Chtimes(blobFile(dir, b.Descriptor().Digest), old, old)
				}
				if err := f.Push(t.Context(), l, fmt.Sprintf("t-%d-%d", n, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	copies.Wait()
	close(stop)
	sweeps.Wait()
	l := open(t, dir, layout.Options{})
	for n := range 3 {
		for i := range 4 {
			f := ocitest.Image(uint64(1000+4*n+i), 2, 100)
			wantResolve(t, l, fmt.Sprintf("t-%d-%d", n, i), f.Root)
			wantGraph(t, l, f.Root)
		}
	}
}

// A clock that is years ahead or behind that of the files removes nothing that
// is young by the files' own clock.
func TestBad_102_ClockOfTheStore(t *testing.T) {
	t.Parallel()
	dir, _ := made(t)
	put(t, open(t, dir, layout.Options{}), layerBlob(9, 10), oci.Sent)
	r, err := layout.GC(t.Context(), dir, layout.GCOptions{Now: later(-10 * 365 * 24 * time.Hour)})
	if err != nil || len(r.Removed) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	r, err = layout.GC(t.Context(), dir, layout.GCOptions{})
	if err != nil || len(r.Removed) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestGCOfATree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := layout.Tree(dir, layout.Options{})
	for _, name := range []string{"a", "a/b", "c/blobs"} {
		s, err := c.Repository(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		push(t, s, ocitest.Image(1, 1, 10), "v1")
		put(t, s, layerBlob(2, 10), oci.Sent)
	}
	r, err := layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1})
	if err != nil || r.Layouts != 3 || len(r.Removed) != 3 || r.Bytes != 30 || r.Kept != 9 {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = layout.GC(t.Context(), filepath.Join(dir, "none"), layout.GCOptions{})
	wantErr(t, "gc", err, os.ErrNotExist)
}
