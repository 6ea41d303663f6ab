// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// children are what the test binary does instead of testing when it is
// started again as another process.
var children = map[string]func(dir string, args []string) error{}

var background = context.Background()

const childVariable = "DRAY_TEST_LAYOUT_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child makes the command of another process.
func child(t testing.TB, name, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, append([]string{dir}, args...)...)
	c.Env = append(os.Environ(), childVariable+"="+name)
	c.Stderr = os.Stderr
	return c
}

// require skips a test for which something is missing; where everything must
// be tested it fails.
func require(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("DRAY_TEST_REQUIRE") == "1":
		t.Fatalf("missing: %s", what)
	default:
		t.Skipf("missing: %s", what)
	}
}

// A counted blob tells how much of it was read, and fails on demand.
type counted struct {
	oci.RangeBlob
	opens, ranges, bytes atomic.Int64
	offset               atomic.Int64                      // of the last range
	wrap                 func(io.ReadCloser) io.ReadCloser // may be nil
}

func count(b oci.Blob) *counted { return &counted{RangeBlob: b.(oci.RangeBlob)} }

func (c *counted) Open(ctx context.Context) (io.ReadCloser, error) {
	c.opens.Add(1)
	return c.reader(c.RangeBlob.Open(ctx))
}

func (c *counted) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	c.ranges.Add(1)
	c.offset.Store(offset)
	return c.reader(c.RangeBlob.OpenRange(ctx, offset, length))
}

func (c *counted) reader(r io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	if c.wrap != nil {
		r = c.wrap(r)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, counter{&c.bytes}), r}, nil
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// cutAfter makes readers that fail with err after n bytes.
func cutAfter(n int64, err error) func(io.ReadCloser) io.ReadCloser {
	return func(r io.ReadCloser) io.ReadCloser {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r, n), failing{err}), r}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func layerBlob(seed uint64, n int) oci.Blob {
	return oci.Bytes(oci.MediaLayer, ocitest.Random(seed, n))
}

func blobFile(dir string, d oci.Digest) string {
	return filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// push puts a fixture and names it.
func push(t testing.TB, s oci.Sink, f ocitest.Fixture, names ...string) {
	t.Helper()
	if err := f.Push(t.Context(), s, names...); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s oci.Sink, b oci.Blob, want oci.How) {
	t.Helper()
	if how, err := s.Put(t.Context(), b); err != nil || how != want {
		t.Fatalf("put %s: %v, %v, want %v", b.Descriptor().Digest, how, err, want)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func wantResolve(t testing.TB, s oci.Source, name string, want oci.Descriptor) {
	t.Helper()
	d, err := s.Resolve(t.Context(), name)
	if err != nil || d.Digest != want.Digest || d.Size != want.Size || d.MediaType != want.MediaType {
		t.Errorf("resolve %q: got %+v, %v, want %s", name, d, err, want.Digest)
	}
}

// wantGraph reads all of a graph.
func wantGraph(t testing.TB, s oci.Source, root oci.Descriptor) {
	t.Helper()
	tree, err := oci.Graph{Root: root, Source: s}.Load(t.Context(), nil)
	if err != nil {
		t.Errorf("load %s: %v", root.Digest, err)
		return
	}
	for _, d := range tree.Blobs {
		r, err := s.Open(t.Context(), d)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		if err != nil {
			t.Errorf("read %s: %v", d.Digest, err)
		}
	}
}

// files lists what is in a directory but for the blobs, with slashes.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, at)
		if rel = filepath.ToSlash(rel); err == nil && rel != "." && !strings.HasPrefix(rel, "blobs/") {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantClean checks that nothing is left but the layout itself.
func wantClean(t testing.TB, dir string) {
	t.Helper()
	if got := files(t, dir); !slices.Equal(got, []string{".lock", "blobs", "index.json", "oci-layout"}) {
		t.Errorf("the directory holds %q", got)
	}
}

type entry struct {
	MediaType   string            `json:"mediaType"`
	Digest      oci.Digest        `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

func (e entry) name() string { return e.Annotations["org.opencontainers.image.ref.name"] }

// entries reads index.json.
func entries(t testing.TB, dir string) []entry {
	t.Helper()
	var x struct{ Manifests []entry }
	if err := json.Unmarshal(read(t, filepath.Join(dir, "index.json")), &x); err != nil {
		t.Fatal(err)
	}
	return x.Manifests
}

func collect[T any](seq func(func(T, error) bool)) (out []T, err error) {
	for v, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// snapshot is all files of a directory with their content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != ".lock" {
			out[at] = string(read(t, at))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
