// SPDX-License-Identifier: Apache-2.0

package wrap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/store/wrap"
)

// A repo is a store of a registry that notes what it is asked for.
type repo struct {
	oci.Store
	mu   sync.Mutex
	seen []string
}

func (r *repo) note(op, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, op+" "+what)
}

func (r *repo) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	r.note("resolve", name)
	return r.Store.Resolve(ctx, name)
}

func (r *repo) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	r.note("open", kind(d))
	return r.Store.Open(ctx, d)
}

func (r *repo) Locate() (host, repository string) { return "registry.example", "a/b" }

func (r *repo) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

func kind(d oci.Descriptor) string {
	switch {
	case oci.IsIndex(d.MediaType):
		return "index"
	case oci.IsManifest(d.MediaType):
		return "manifest"
	case oci.IsConfig(d.MediaType):
		return "config"
	}
	return "layer"
}

func newRepo(t *testing.T, f ocitest.Fixture, names ...string) *repo {
	t.Helper()
	s, err := mem.New().Repository(t.Context(), "a/b")
	if err == nil {
		err = f.Push(t.Context(), s, names...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &repo{Store: s}
}

// whole reads all that a name means.
func whole(t *testing.T, s oci.Source, name string) (digests []oci.Digest) {
	t.Helper()
	m, err := oci.Get(t.Context(), s, name)
	if err != nil {
		t.Fatal(err)
	}
	if m.Descriptor.Digest != oci.FromBytes(m.Raw) || m.Descriptor.Size != int64(len(m.Raw)) {
		t.Errorf("%+v", m.Descriptor)
	}
	digests = append(digests, m.Descriptor.Digest)
	for _, d := range m.Children() {
		if oci.IsManifest(d.MediaType) {
			digests = append(digests, whole(t, s, string(d.Digest))...)
			continue
		}
		if _, err := oci.ReadAll(t.Context(), s, d, 1<<20); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.Digest)
	}
	return digests
}

// A second time manifests and configs are not read again, in another process too;
// names are asked for each time, and layers read.
func TestCache(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1, "linux/amd64", "linux/arm64")
	r, dir := newRepo(t, f, "1"), t.TempDir()
	first := whole(t, wrap.Cache(r, dir), "1")
	r.asked()
	again := whole(t, wrap.Cache(r, dir), "1")
	if !slices.Equal(first, again) {
		t.Errorf("%q, then %q", first, again)
	}
	seen := r.asked()
	if rest := slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return s == "open layer" }); !slices.Equal(rest, []string{"resolve 1"}) || len(rest) == len(seen) {
		t.Errorf("%q", seen)
	}
	if _, err := oci.Get(t.Context(), wrap.Cache(r, dir), "2"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a name that is not there: %v", err)
	}
	if _, err := oci.Get(t.Context(), wrap.Cache(r, dir), string(oci.FromBytes([]byte("x")))); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("a digest that is not there: %v", err)
	}
}

// A name that means something else now means that.
func TestCacheNames(t *testing.T) {
	t.Parallel()
	one, two := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	r, dir := newRepo(t, one, "1"), t.TempDir()
	whole(t, wrap.Cache(r, dir), "1")
	if err := two.Push(t.Context(), r.Store, "1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := whole(t, wrap.Cache(r, dir), "1"); got[0] != two.Root.Digest {
			t.Errorf("%s, want %s", got[0], two.Root.Digest)
		}
	}
	// Another repository has names of its own.
	other := newRepo(t, one, "1")
	if got := whole(t, wrap.Cache(elsewhere{other}, dir), "1"); got[0] != one.Root.Digest {
		t.Errorf("%s, want %s", got[0], one.Root.Digest)
	}
}

type elsewhere struct{ *repo }

func (elsewhere) Locate() (host, repository string) { return "registry.example", "a/c" }

// What is broken in the directory is read anew, and is right afterwards.
func TestCacheIsChecked(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1, "linux/amd64", "linux/arm64")
	r, dir := newRepo(t, f, "1"), t.TempDir()
	want := whole(t, wrap.Cache(r, dir), "1")
	files, err := filepath.Glob(filepath.Join(dir, "sha256-*"))
	if err != nil || len(files) != 5 { // an index, two manifests and two configs
		t.Fatal(err, files)
	}
	names, err := filepath.Glob(filepath.Join(dir, "names", "*"))
	if err != nil || len(names) == 0 {
		t.Fatal(err, names)
	}
	for n, data := range []string{"", "x", "{}", strings.Repeat("y", 5<<20), fmt.Sprintf(`{"mediaType":%q,"digest":%q}`, oci.MediaManifest, f.Root.Digest)} {
		for _, path := range append(files, names...) {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if got := whole(t, wrap.Cache(r, dir), "1"); !slices.Equal(got, want) {
				t.Errorf("%d: %q, want %q", n, got, want)
			}
		}
		r.asked()
		whole(t, wrap.Cache(r, dir), "1")
		if seen := r.asked(); slices.Contains(seen, "open manifest") || slices.Contains(seen, "open config") {
			t.Errorf("%d: it was not mended: %q", n, seen)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("%q", left)
	}
}

// A directory that cannot be written is one that keeps nothing.
func TestCacheNowhere(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	r := newRepo(t, f, "1")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := whole(t, wrap.Cache(r, file), "1"); got[0] != f.Root.Digest {
			t.Errorf("%q", got)
		}
	}
}

// Wrong bytes are not kept, nor is what is too large or a layer; digests that are
// none lead nowhere.
func TestCacheKeepsWhatIsRight(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	large := oci.Bytes(oci.MediaConfig, ocitest.Random(1, 5<<20))
	f.Blobs = append(f.Blobs, large)
	r, dir := newRepo(t, f, "1"), t.TempDir()
	bad := &ocitest.Fail{Store: r.Store, Hook: func(op string, d oci.Descriptor) error {
		if op == "open" && oci.IsConfig(d.MediaType) {
			return oci.Errorf(oci.ErrCorrupt, "%s", d.Digest)
		}
		return nil
	}}
	s := wrap.Cache(bad, dir)
	m, err := oci.Get(t.Context(), s, "1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oci.ReadAll(t.Context(), s, *m.Config, 1<<20); err == nil {
		t.Error("corrupt, and no error")
	}
	s = wrap.Cache(r, dir)
	for _, d := range []oci.Descriptor{large.Descriptor(), m.Layers[0]} {
		rc, err := s.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rc); err != nil {
			t.Error(err)
		}
		rc.Close()
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "*-*")); len(kept) != 1 { // the manifest
		t.Errorf("%q", kept)
	}
	for _, d := range []oci.Digest{"sha256:../../x", "x", "", "sha999:00"} {
		if rc, err := s.Open(t.Context(), oci.Descriptor{MediaType: oci.MediaManifest, Digest: d, Size: 3}); err == nil {
			rc.Close()
			t.Errorf("%s opened", d)
		}
	}
	if _, ok := oci.As[*repo](s); !ok {
		t.Error("what is around it is not found")
	}
}

// Reads and abilities are those of the source, as far as the suite can tell: what
// was deleted there is asked for there.
func TestCacheStore(t *testing.T) {
	t.Parallel()
	ocitest.TestStore(t, func(t *testing.T) oci.Store {
		s, err := mem.New().Repository(t.Context(), "a/b")
		if err != nil {
			t.Fatal(err)
		}
		return &cached{s, wrap.Cache(s, t.TempDir())}
	})
}

// A cached store reads through a cache.
type cached struct {
	oci.Store
	read oci.Source
}

func (c *cached) Unwrap() any { return c.Store }

func (c *cached) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return c.read.Open(ctx, d)
}
