// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

var errBoom = errors.New("boom")

// TestMain sees to it that nothing is left running.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for i := 0; runtime.NumGoroutine() > before && i < 1_000_000; i++ {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); code == 0 && n > before {
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("%d goroutines are left\n%s", n-before, buf[:runtime.Stack(buf, true)]))
	}
}

func repo(t *testing.T, c oci.Catalog, name string) oci.Store {
	t.Helper()
	s, err := c.Repository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stocked is a repository of a new host that holds a fixture as v1.
func stocked(t *testing.T, f ocitest.Fixture) oci.Store {
	t.Helper()
	s := repo(t, mem.New(), "src")
	push(t, s, f, "v1")
	return s
}

func push(t *testing.T, s oci.Store, f ocitest.Fixture, tags ...string) {
	t.Helper()
	if err := f.Push(t.Context(), s, tags...); err != nil {
		t.Fatal(err)
	}
}

func job(from oci.Source, name string, to oci.Store, tag string) transfer.Job {
	return transfer.Job{From: from, Name: name, To: to, Tag: tag, FromRef: "from:" + name, ToRef: "to:" + tag}
}

// run plans and runs jobs; either may fail.
func run(ctx context.Context, o transfer.Options, jobs ...transfer.Job) (*transfer.Plan, error) {
	p, err := transfer.Make(ctx, jobs, o)
	if err != nil {
		return nil, err
	}
	return p, p.Run(ctx)
}

// must plans and runs jobs that may not fail.
func must(t *testing.T, o transfer.Options, jobs ...transfer.Job) *transfer.Plan {
	t.Helper()
	p, err := run(t.Context(), o, jobs...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func wantTag(t *testing.T, s oci.Store, tag string, want oci.Digest) {
	t.Helper()
	d, err := s.Resolve(t.Context(), tag)
	if want == "" {
		wantErr(t, "tag "+tag, err, oci.ErrNotFound)
	} else if err != nil || d.Digest != want {
		t.Errorf("tag %s is %s, want %s; %v", tag, d.Digest, want, err)
	}
}

// wantSame checks that a store has a fixture byte for byte.
func wantSame(t *testing.T, s oci.Store, f ocitest.Fixture) {
	t.Helper()
	for _, b := range f.Blobs {
		d := b.Descriptor()
		want, err := read(t.Context(), b.Open)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t.Context(), func(ctx context.Context) (io.ReadCloser, error) { return s.Open(ctx, d) })
		if err != nil || string(got) != string(want) {
			t.Errorf("%s %s: %d bytes, %v", d.MediaType, d.Digest, len(got), err)
		}
	}
}

func read(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) ([]byte, error) {
	r, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantAbsent(t *testing.T, s oci.Store, d oci.Descriptor) {
	t.Helper()
	if _, err := s.Stat(t.Context(), d); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("%s is there: %v", d.Digest, err)
	}
}

// whole checks that a store has all that a manifest leads to.
func whole(ctx context.Context, s oci.Store, d oci.Descriptor) error {
	tree, err := oci.Graph{Root: d, Source: s}.Load(ctx, nil)
	if err != nil {
		return err
	}
	for _, b := range tree.Blobs {
		if _, err := s.Stat(ctx, b); err != nil && !oci.IsForeign(b) {
			return err
		}
	}
	return nil
}

// wholeTags checks promise 3: no tag means something incomplete.
func wholeTags(t *testing.T, s oci.Store) {
	t.Helper()
	l, _ := oci.As[oci.Lister](s)
	for tag, err := range l.Tags(t.Context()) {
		if errors.Is(err, oci.ErrNotFound) {
			return
		}
		d, rerr := s.Resolve(t.Context(), tag)
		if err = errors.Join(err, rerr); err == nil {
			err = whole(t.Context(), s, d)
		}
		if err != nil {
			t.Errorf("tag %s: %v", tag, err)
		}
	}
}

// strict is a store that takes a manifest only if all its children are there.
type strict struct {
	oci.Store
	t *testing.T
}

func (s strict) Unwrap() any { return s.Store }

func (s strict) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	if oci.IsManifest(b.Descriptor().MediaType) {
		return oci.Sent, s.Publish(ctx, b)
	}
	return s.Store.Put(ctx, b, from...)
}

func (s strict) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if err := whole(ctx, s.Store, d); err != nil && ctx.Err() == nil {
		s.t.Errorf("tag %s comes too early: %v", name, err)
	}
	return s.Store.Tag(ctx, name, d)
}

func (s strict) Publish(ctx context.Context, b oci.Blob, names ...string) error {
	d := b.Descriptor()
	raw, err := read(ctx, b.Open)
	if err != nil {
		return err
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return err
	}
	for _, c := range m.Children() {
		if _, err := s.Stat(ctx, c); err != nil && !oci.IsForeign(c) && ctx.Err() == nil {
			s.t.Errorf("manifest %s is put before %s %s: %v", d.Digest, c.MediaType, c.Digest, err)
		}
	}
	return oci.Publish(ctx, s.Store, b, names...)
}

// events collects progress and checks that it is consistent.
type events struct {
	mu    sync.Mutex
	began map[*transfer.Step]int
	ended map[*transfer.Step]int
	sent  int64 // bytes, given-up attempts too
	kept  int64 // bytes, without those
	wrong []string
}

func (e *events) watch(x transfer.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.began == nil {
		e.began, e.ended = map[*transfer.Step]int{}, map[*transfer.Step]int{}
	}
	switch x.Kind {
	case transfer.Began:
		e.began[x.Step]++
	case transfer.Ended:
		e.ended[x.Step]++
	case transfer.Bytes:
		e.sent += int64(max(x.N, 0))
		e.kept += int64(x.N)
	}
	if x.Kind != transfer.Began && e.began[x.Step] != 1 || x.Kind != transfer.Ended && e.ended[x.Step] != 0 {
		e.wrong = append(e.wrong, fmt.Sprintf("%+v of %+v", x, x.Step))
	}
}

func (e *events) check(t *testing.T, p *transfer.Plan) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.wrong) > 0 {
		t.Errorf("events: %s", strings.Join(e.wrong, "\n"))
	}
	for s, n := range e.began {
		if n != 1 || e.ended[s] != 1 || !slices.Contains(p.Steps, s) || s.Op == transfer.Skip {
			t.Errorf("%+v: began %d times, ended %d times", s, n, e.ended[s])
		}
	}
	if e.sent != p.Moved() {
		t.Errorf("events tell of %d bytes, the plan moved %d", e.sent, p.Moved())
	}
}

// ops counts the steps of a plan by what they do.
func ops(p *transfer.Plan) string {
	n := map[transfer.Op]int{}
	for _, s := range p.Steps {
		n[s.Op]++
	}
	return fmt.Sprintf("%d skip %d mount %d put %d tag", n[transfer.Skip], n[transfer.Mount], n[transfer.Put], n[transfer.Tag])
}

// layerBytes adds up the blobs of fixtures that are no manifests, each once.
func layerBytes(list ...ocitest.Fixture) (n int64) {
	seen := map[oci.Digest]bool{}
	for _, f := range list {
		for _, b := range f.Blobs {
			if d := b.Descriptor(); !oci.IsManifest(d.MediaType) && !seen[d.Digest] {
				seen[d.Digest] = true
				n += d.Size
			}
		}
	}
	return n
}
