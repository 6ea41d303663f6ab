// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

// oneFile is a store that changes as a whole, wants things in order and holds no
// indexes. It notes what is asked of it.
type oneFile struct {
	oci.Store
	puts, admitted     []oci.Digest
	inside, most       atomic.Int64
	committed, aborted int
	fail               error // of Commit
}

func (w *oneFile) Admit(_ context.Context, m *oci.Manifest, from oci.Source) error {
	w.admitted = append(w.admitted, m.Descriptor.Digest)
	if m.IsIndex() {
		return oci.Errorf(oci.ErrUnsupported, "no indexes here")
	}
	return nil
}
func (w *oneFile) InOrder() bool                { return true }
func (w *oneFile) Commit(context.Context) error { w.committed++; return w.fail }
func (w *oneFile) Abort() error                 { w.aborted++; return nil }
func (w *oneFile) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	w.most.Store(max(w.most.Load(), w.inside.Add(1)))
	defer w.inside.Add(-1)
	w.puts = append(w.puts, b.Descriptor().Digest)
	return w.Store.Put(ctx, b, from...)
}

func TestPlacesThatChangeAsAWhole(t *testing.T) {
	t.Parallel()
	a, b := ocitest.Image(1, 20, 1000), ocitest.Image(2, 20, 30<<10)
	var orders [][]oci.Digest
	for range 5 {
		src := stocked(t, a)
		push(t, src, b, "v2")
		to := &oneFile{Store: repo(t, mem.New(), "x")}
		must(t, transfer.Options{}, job(src, "v1", to, "a"), job(src, "v2", to, "b"))
		if to.committed != 1 || to.aborted != 0 || to.most.Load() != 1 || len(to.admitted) != 2 {
			t.Errorf("committed %d times, aborted %d, %d puts at a time, admitted %v", to.committed, to.aborted, to.most.Load(), to.admitted)
		}
		orders = append(orders, to.puts)
	}
	for _, o := range orders[1:] {
		if !slices.Equal(o, orders[0]) {
			t.Fatalf("the order differs:\n%v\n%v", o, orders[0])
		}
	}
}

func TestPlaceCannotHoldIt(t *testing.T) {
	t.Parallel()
	f, img := ocitest.Index(1, "linux/amd64", "linux/arm64"), ocitest.Image(2, 1, 100)
	src := stocked(t, f)
	push(t, src, img, "one")
	to := &oneFile{Store: repo(t, mem.New(), "x")}
	if _, err := transfer.Make(t.Context(), []transfer.Job{job(src, "v1", to, "a")}, transfer.Options{}); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("an index: %v", err)
	}
	p, err := run(t.Context(), transfer.Options{KeepGoing: true}, job(src, "v1", to, "a"), job(src, "one", to, "b"))
	if !errors.Is(err, oci.ErrUnsupported) || p.Images[0].Err == nil || p.Images[1].Err != nil || to.committed != 1 {
		t.Errorf("with others: %v, %v, committed %d times", err, p.Images[1].Err, to.committed)
	}
}

func TestFailedRunLeavesThePlaceAlone(t *testing.T) {
	t.Parallel()
	img := ocitest.Image(2, 3, 100)
	broken := errors.New("broken")
	src := &ocitest.Fail{Store: stocked(t, img), Hook: func(op string, d oci.Descriptor) error {
		if op == "open" && d.Digest == img.Blobs[2].Descriptor().Digest {
			return broken
		}
		return nil
	}}
	to := &oneFile{Store: repo(t, mem.New(), "x")}
	if _, err := run(t.Context(), transfer.Options{}, job(src, "v1", to, "a")); !errors.Is(err, broken) || to.committed != 0 || to.aborted != 1 {
		t.Errorf("%v; committed %d times, aborted %d", err, to.committed, to.aborted)
	}
	to = &oneFile{Store: repo(t, mem.New(), "x"), fail: broken}
	p, err := run(t.Context(), transfer.Options{}, job(stocked(t, img), "v1", to, "a"))
	if !errors.Is(err, broken) || !errors.Is(p.Images[0].Err, broken) {
		t.Errorf("commit: %v, %v", err, p.Images[0].Err)
	}
}

func TestPlaceForSingleImages(t *testing.T) {
	t.Parallel()
	two, one := ocitest.Index(1, "linux/amd64", "linux/arm64"), ocitest.Index(2, "linux/amd64")
	src := stocked(t, two)
	push(t, src, one, "one")
	for name, c := range map[string]struct {
		image     string
		platforms []oci.Platform
		ok        bool
	}{
		"one of one": {"one", nil, true},
		"one of two": {"v1", []oci.Platform{{OS: "linux", Architecture: "arm64"}}, true},
		"two":        {"v1", nil, false},
	} {
		to := &oneFile{Store: repo(t, mem.New(), "x")}
		j := job(src, c.image, to, "a")
		j.Single = true
		p, err := run(t.Context(), transfer.Options{Platforms: c.platforms}, j)
		if ok := err == nil; ok != c.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.ok {
			continue
		}
		d, err := to.Resolve(t.Context(), "a")
		if err != nil || oci.IsIndex(d.MediaType) || d.Digest != p.Images[0].Digest || len(p.Images[0].Notes) != 1 {
			t.Errorf("%s: %v, %v, notes %v", name, d, err, p.Images[0].Notes)
		}
	}
}

// The small blobs are read while the ones before them are written, and never
// more of them than there is room for.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	img := ocitest.Image(1, 60, 1000)
	var open atomic.Int64
	both := make(chan struct{})
	src := &ocitest.Fail{Store: stocked(t, img), Hook: func(op string, d oci.Descriptor) error {
		if op == "open" && !oci.IsManifest(d.MediaType) {
			if open.Add(1) == 2 {
				close(both)
			}
			<-both // the first waits for the second, which does not come if nobody reads ahead
		}
		return nil
	}}
	to := &oneFile{Store: repo(t, mem.New(), "x")}
	if _, err := run(t.Context(), transfer.Options{}, job(src, "v1", to, "a")); err != nil {
		t.Fatal(err)
	}
	wantSame(t, to, img)
}

// resuming is a store that has the first bytes of every large blob.
type resuming struct{ oci.Store }

func (resuming) Left(context.Context, oci.Descriptor) int64 { return 1000 }

func TestPlanKnowsOfHalfBlobs(t *testing.T) {
	t.Parallel()
	img := ocitest.Image(1, 2, 2<<20)
	j := job(stocked(t, img), "v1", resuming{repo(t, mem.New(), "x")}, "a")
	full, err := transfer.Make(t.Context(), []transfer.Job{job(j.From.(oci.Store), "v1", repo(t, mem.New(), "x"), "a")}, transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := transfer.Make(t.Context(), []transfer.Job{j}, transfer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Totals(), full.Totals(); got.Bytes != want.Bytes-2000 || got.Saved != want.Saved+2000 {
		t.Errorf("totals %+v, of a full copy %+v", got, want)
	}
}
