// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

var _ interface {
	oci.Store
	oci.Ranger
	oci.Publisher
	oci.Rooter
	oci.Admitter
	oci.Committer
	oci.Locator
} = (*dir.Dir)(nil)

// children are what the test binary does instead of testing when it is
// started again as another process.
var children = map[string]func(dir string) error{}

const childVariable = "DRAY_TEST_DIR_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child makes the command of another process.
func child(t testing.TB, name, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, path)
	c.Env = append(os.Environ(), childVariable+"="+name)
	c.Stderr = os.Stderr
	return c
}

func open(t testing.TB, path string, write bool) *dir.Dir {
	t.Helper()
	d, err := dir.Open(path, dir.Options{Write: write})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Abort() })
	return d
}

// save writes a fixture as a whole.
func save(t testing.TB, path string, f ocitest.Fixture) {
	t.Helper()
	d := open(t, path, true)
	push(t, d, f)
	publish(t, d, f)
	commit(t, d)
}

func publish(t testing.TB, d *dir.Dir, f ocitest.Fixture) {
	t.Helper()
	if err := d.Publish(context.Background(), f.Blob(f.Root.Digest)); err != nil {
		t.Fatal(err)
	}
}

// made makes a directory with an image.
func made(t testing.TB, f ocitest.Fixture) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	save(t, path, f)
	return path
}

func push(t testing.TB, d oci.Sink, f ocitest.Fixture) {
	t.Helper()
	if err := f.Push(context.Background(), d); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, d *dir.Dir) {
	t.Helper()
	if err := d.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// wantImage reads all of a fixture, and that it is the root.
func wantImage(t testing.TB, path string, f ocitest.Fixture) {
	t.Helper()
	d := open(t, path, false)
	for _, name := range []string{"", string(f.Root.Digest)} {
		got, err := d.Resolve(t.Context(), name)
		if err != nil || got.Digest != f.Root.Digest || got.Size != f.Root.Size || got.MediaType != f.Root.MediaType {
			t.Errorf("resolve %q: %+v, %v, want %s", name, got, err, f.Root.Digest)
		}
	}
	tree, err := oci.Graph{Root: f.Root, Source: d}.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range tree.Blobs {
		if _, err := content(d, b); err != nil {
			t.Errorf("read %s: %v", b.Digest, err)
		}
	}
}

func content(s oci.Source, d oci.Descriptor) ([]byte, error) {
	r, err := s.Open(context.Background(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// snapshot is all files below a directory with their content.
func snapshot(t testing.TB, path string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(path, at)
		switch {
		case err != nil:
			return err
		case e.Type().IsRegular():
			out[rel] = string(read(t, at))
		default:
			out[rel] = e.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// named gives a store names that it keeps in memory, for the suite: the format
// has none.
type named struct {
	*dir.Dir
	mu    sync.Mutex
	names map[string]oci.Descriptor
}

func (n *named) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	n.mu.Lock()
	d, ok := n.names[name]
	n.mu.Unlock()
	if ok && ctx.Err() == nil {
		return d, nil
	}
	return n.Dir.Resolve(ctx, name)
}

func (n *named) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if _, err := n.Stat(ctx, d); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = d
	return nil
}

func (n *named) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	if _, err := n.Put(ctx, manifest); err != nil {
		return err
	}
	for _, name := range names {
		if err := n.Tag(ctx, name, manifest.Descriptor()); err != nil {
			return err
		}
	}
	return nil
}

func TestStore(t *testing.T) {
	ocitest.TestStore(t, func(t *testing.T) oci.Store {
		return &named{Dir: open(t, filepath.Join(t.TempDir(), "image"), true), names: map[string]oci.Descriptor{}}
	})
}
