// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

// bench is a transfer all of whose calls can be made to fail: an index with
// a signature to two repositories of one host.
type bench struct {
	src, host  *mem.Catalog
	index, sig ocitest.Fixture
}

func newBench(t *testing.T) *bench {
	b := &bench{src: mem.New(), host: mem.New(), index: ocitest.Index(1, "linux/amd64", "linux/arm64")}
	b.sig = ocitest.Artifact(2, "application/x", &b.index.Root)
	push(t, repo(t, b.src, "src"), b.index, "v1")
	push(t, repo(t, b.src, "src"), b.sig)
	return b
}

// run copies; hook is called before every call of every store.
func (b *bench) run(ctx context.Context, t *testing.T, keepGoing bool, hook func() error) (*transfer.Plan, error) {
	watched := func(s oci.Store) oci.Store {
		return &ocitest.Fail{Store: s, Hook: func(string, oci.Descriptor) error { return hook() }}
	}
	src := watched(repo(t, b.src, "src"))
	to := func(name string) oci.Store { return watched(strict{repo(t, b.host, name), t}) }
	return run(ctx, transfer.Options{Referrers: true, KeepGoing: keepGoing}, job(src, "v1", to("a"), "v1"), job(src, "v1", to("b"), "v1"))
}

func (b *bench) check(t *testing.T) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		s := repo(t, b.host, name)
		wantSame(t, s, b.index)
		wantSame(t, s, b.sig)
		wantTag(t, s, "v1", b.index.Root.Digest)
	}
}

// calls counts what a run without faults asks of the stores.
func calls(t *testing.T) int64 {
	var n atomic.Int64
	b := newBench(t)
	if _, err := b.run(t.Context(), t, false, func() error { n.Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	b.check(t)
	return n.Load()
}

func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	total := calls(t)
	for k := range total {
		for _, keepGoing := range []bool{false, true} {
			var n atomic.Int64
			b := newBench(t)
			_, err := b.run(t.Context(), t, keepGoing, func() error {
				if n.Add(1) == k+1 {
					return errBoom
				}
				return nil
			})
			if n.Load() > k && !errors.Is(err, errBoom) {
				t.Errorf("call %d fails: %v", k, err)
			}
			b.recover(t, fmt.Sprintf("after call %d failed", k))
		}
	}
}

func TestEveryCallIsTheLast(t *testing.T) {
	t.Parallel()
	total := calls(t)
	for k := range total {
		var n atomic.Int64
		b := newBench(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := b.run(ctx, t, true, func() error {
			if n.Add(1) == k+1 {
				cancel(errBoom)
			}
			return nil
		})
		if n.Load() > k && err != nil && !errors.Is(err, errBoom) && !errors.Is(err, context.Canceled) {
			t.Errorf("ends at call %d: %v", k, err)
		}
		if n.Load() > k && k < total-10 && err == nil {
			t.Errorf("ends at call %d of %d: no error", k, total)
		}
		cancel(nil)
		b.recover(t, fmt.Sprintf("after the end at call %d", k))
	}
}

// recover checks that no tag means something incomplete, and that a second run
// makes all good.
func (b *bench) recover(t *testing.T, what string) {
	t.Helper()
	wholeTags(t, repo(t, b.host, "a"))
	wholeTags(t, repo(t, b.host, "b"))
	if _, err := b.run(t.Context(), t, false, func() error { return nil }); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	b.check(t)
}

// liar is a source whose blobs of one digest arrive wrong for a while.
type liar struct {
	oci.Store
	d     oci.Digest
	times int64 // how often
	opens atomic.Int64
}

func (l *liar) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if d.Digest == l.d && l.opens.Add(1) <= l.times {
		return oci.Verify(io.NopCloser(io.LimitReader(zeroes{}, d.Size)), d), nil
	}
	return l.Store.Open(ctx, d)
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestCorruptSource(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 3, 100_000)
	bad := f.Layers()[1].Descriptor()
	for _, c := range []struct {
		times, opens int64
		want         error
	}{{1 << 30, 8, oci.ErrCorrupt}, {7, 8, nil}, {1, 2, nil}} {
		src := &liar{Store: stocked(t, f), d: bad.Digest, times: c.times}
		dst := repo(t, mem.New(), "dst")
		var e events
		p, err := run(t.Context(), transfer.Options{Progress: e.watch, KeepGoing: true}, job(src, "v1", strict{dst, t}, "v1"))
		wantErr(t, "corrupt", err, c.want)
		e.check(t, p)
		if src.opens.Load() != c.opens {
			t.Errorf("opened %d times, want %d", src.opens.Load(), c.opens)
		}
		if c.want != nil {
			wantTag(t, dst, "v1", "")
			wantAbsent(t, dst, f.Root)
			wantAbsent(t, dst, bad)
			continue
		}
		wantSame(t, dst, f)
		if e.kept != layerBytes(f) {
			t.Errorf("events add up to %d bytes, want %d", e.kept, layerBytes(f))
		}
	}
}

func TestBad_015_SizeInTheManifestIsWrong(t *testing.T) {
	t.Parallel()
	layer := oci.Bytes(oci.MediaLayer, ocitest.Random(1, 100))
	for _, size := range []int64{99, 101, 1 << 62} {
		f := holding(layer, size)
		src := stocked(t, f)
		for _, there := range []bool{false, true} {
			dst := repo(t, mem.New(), "dst")
			if there {
				put(t, dst, layer)
			}
			_, err := run(t.Context(), transfer.Options{}, job(src, "v1", dst, "v1"))
			wantErr(t, fmt.Sprintf("size %d, the blob is there: %v", size, there), err, oci.ErrCorrupt)
			wantTag(t, dst, "v1", "")
			wantAbsent(t, dst, f.Root)
		}
	}
}

// forgetful is a destination that says it has blobs until a manifest comes.
type forgetful struct {
	oci.Store
	stats sync.Map // what it claims to have
}

func (s *forgetful) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if _, ok := s.stats.Load(d.Digest); ok {
		return d, nil
	}
	return s.Store.Stat(ctx, d)
}

func (s *forgetful) Publish(ctx context.Context, b oci.Blob, names ...string) error {
	return oci.Publish(ctx, s.Store, b, names...)
}

func TestBad_052_DestinationForgotABlob(t *testing.T) {
	t.Parallel()
	for _, docker := range []string{"", " docker"} {
		f := ocitest.Symbols(t, "a = layer 1000\nb = layer 2000\nfar = layer 10 foreign\nimg = image a far b"+docker+"\narm = image a platform=linux/arm64\nall = index img arm").Fixture("all")
		dst := &forgetful{Store: repo(t, mem.New(), "dst")}
		for _, l := range f.Layers() {
			dst.stats.Store(l.Descriptor().Digest, true)
		}
		p := must(t, transfer.Options{}, job(stocked(t, f), "v1", dst, "v1"))
		wantTag(t, dst.Store, "v1", f.Root.Digest)
		if err := whole(t.Context(), dst.Store, f.Root); err != nil {
			t.Error(err)
		}
		if want := layerBytes(f) - 10; p.Moved() != want {
			t.Errorf("moved %d, want %d", p.Moved(), want)
		}
	}
	// What is missing for good is an error, and is asked for once.
	f := ocitest.Image(1, 1, 10)
	dst := &ocitest.Fail{Store: repo(t, mem.New(), "dst")}
	var n atomic.Int64
	dst.Hook = func(op string, _ oci.Descriptor) error {
		if op == "publish" {
			n.Add(1)
			return oci.ErrNotFound
		}
		return nil
	}
	_, err := run(t.Context(), transfer.Options{}, job(stocked(t, f), "v1", dst, "v1"))
	wantErr(t, "missing for good", err, oci.ErrNotFound)
	if n.Load() != 2 {
		t.Errorf("%d tries, want 2", n.Load())
	}
}

func TestKeepGoing(t *testing.T) {
	t.Parallel()
	good, shared := ocitest.Image(1, 2, 100), ocitest.Index(2)
	src := repo(t, mem.New(), "src")
	push(t, src, good, "good")
	push(t, src, shared, "shared")
	host := mem.New()
	broken := &ocitest.Fail{Store: repo(t, host, "broken"), Hook: func(op string, d oci.Descriptor) error {
		if op == "put" && !oci.IsManifest(d.MediaType) {
			return errBoom
		}
		return nil
	}}
	deaf := &ocitest.Fail{Store: repo(t, host, "deaf"), Hook: func(op string, _ oci.Descriptor) error {
		if op == "stat" {
			return oci.ErrBusy
		}
		return nil
	}}
	p, err := run(t.Context(), transfer.Options{KeepGoing: true},
		job(src, "shared", broken, "v1"), // others wait to mount its blobs
		job(src, "shared", strict{repo(t, host, "a"), t}, "v1"), job(src, "shared", strict{repo(t, host, "b"), t}, "v1"),
		job(src, "missing", repo(t, host, "c"), "v1"), job(src, "shared", deaf, "v1"), job(src, "good", repo(t, host, "d"), "v1"), job(src, "shared", broken, ""))
	for _, want := range []error{errBoom, oci.ErrNotFound, oci.ErrBusy} {
		wantErr(t, "joined", err, want)
	}
	for i, want := range []error{errBoom, nil, nil, oci.ErrNotFound, oci.ErrBusy, nil, errBoom} {
		wantErr(t, fmt.Sprint("image ", i), p.Images[i].Err, want)
	}
	wantTag(t, repo(t, host, "a"), "v1", shared.Root.Digest)
	wantTag(t, repo(t, host, "b"), "v1", shared.Root.Digest)
	wantTag(t, repo(t, host, "d"), "v1", good.Root.Digest)
	wantTag(t, repo(t, host, "broken"), "v1", "")
	wantSame(t, repo(t, host, "b"), shared)
	for _, s := range p.Steps {
		if s.Image == 3 || s.Image == 4 {
			t.Errorf("a step for an image that could not be planned: %+v", s)
		}
	}
	_, err = run(t.Context(), transfer.Options{}, job(src, "good", repo(t, host, "e"), "v1"), job(src, "missing", repo(t, host, "e"), "v2"))
	wantErr(t, "without KeepGoing", err, oci.ErrNotFound)
	wantTag(t, repo(t, host, "e"), "v1", "")
}

// Copies in opposite directions take their slots together, so they cannot
// block one another.
func TestOppositeDirections(t *testing.T) {
	t.Parallel()
	a, b := mem.New(), mem.New()
	var jobs []transfer.Job
	for i := range 8 {
		name := fmt.Sprint("r", i)
		push(t, repo(t, a, name), ocitest.Image(uint64(i), 3, 1<<20), "v1")
		push(t, repo(t, b, name), ocitest.Image(uint64(100+i), 3, 1<<20), "v1")
		jobs = append(jobs, job(repo(t, a, name), "v1", repo(t, b, "from-a/"+name), "v1"), job(repo(t, b, name), "v1", repo(t, a, "from-b/"+name), "v1"))
	}
	var large, most atomic.Int64
	must(t, transfer.Options{Jobs: 1, Progress: func(e transfer.Event) {
		if e.Step.Op != transfer.Put || e.Step.Size < 1<<20 {
			return
		}
		switch e.Kind {
		case transfer.Began:
			most.Store(max(most.Load(), large.Add(1)))
		case transfer.Ended:
			large.Add(-1)
		}
	}}, jobs...)
	if most.Load() > 2 {
		t.Errorf("%d large blobs at a time, want one in each direction", most.Load())
	}
	for i := range 8 {
		wholeTags(t, repo(t, a, fmt.Sprint("from-b/r", i)))
		wholeTags(t, repo(t, b, fmt.Sprint("from-a/r", i)))
	}
}

func TestBad_016_SumsOfSizes(t *testing.T) {
	t.Parallel()
	var p transfer.Plan
	for range 9 {
		p.Steps = append(p.Steps, &transfer.Step{Op: transfer.Put, Size: 1 << 62}, &transfer.Step{Op: transfer.Mount, Size: 1 << 62})
	}
	if n := p.Totals(); n.Bytes != 1<<63-1 || n.Saved != 1<<63-1 {
		t.Errorf("%+v", n)
	}
}
