// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/watch"
)

// A world is a directory that is watched.
type world struct {
	t   *testing.T
	dir string
	w   *watch.Watcher
}

func newWorld(t *testing.T, ignore ...string) world {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for n, path := range ignore {
		ignore[n] = filepath.Join(dir, path)
	}
	w, err := watch.New(watch.Options{Ignore: ignore, Quiet: 20 * time.Millisecond})
	if err != nil {
		t.Skipf("files cannot be watched here: %v", err)
	}
	t.Cleanup(func() { w.Close() })
	return world{t, dir, w}
}

func (x world) path(name string) string { return filepath.Join(x.dir, filepath.FromSlash(name)) }

func (x world) write(name, text string) {
	x.t.Helper()
	err := os.MkdirAll(filepath.Dir(x.path(name)), 0o755)
	if err == nil {
		err = os.WriteFile(x.path(name), []byte(text), 0o644)
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x world) add(paths ...string) []string {
	x.t.Helper()
	for n, p := range paths {
		paths[n] = x.path(p)
	}
	changed, err := x.w.Add(paths, time.Now().Add(time.Hour))
	if err != nil {
		x.t.Fatal(err)
	}
	return changed
}

// wait waits until it has been told of a file, however often.
func (x world) wait(name string) {
	x.t.Helper()
	for seen := []string{}; ; {
		got, err := x.w.Wait(x.t.Context())
		if err != nil {
			x.t.Fatal(err)
		}
		if seen = append(seen, got...); slices.Contains(seen, x.path(name)) {
			return
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	x := newWorld(t, "out")
	x.write("src/a", "1")
	x.write("src/deep/b", "1")
	x.write("src/.git/HEAD", "1")
	x.write("one/file", "1")
	x.write("one/other", "1")
	if got := x.add("src", "one/file", "one/later"); len(got) > 0 {
		t.Errorf("changed: %q", got)
	}
	x.write("src/a", "2")
	x.wait("src/a")
	x.write("src/deep/b", "2")
	x.wait("src/deep/b")

	// A new directory counts with what is in it, and is watched from then on.
	x.write("src/new/sub/c", "1")
	x.wait("src/new")
	x.write("src/new/sub/c", "2")
	x.wait("src/new/sub/c")

	// Editors write another file and rename it.
	x.write("one/file.new", "2")
	if err := os.Rename(x.path("one/file.new"), x.path("one/file")); err != nil {
		t.Fatal(err)
	}
	x.wait("one/file")
	x.write("one/file", "3")
	x.wait("one/file")

	// What was not there is waited for.
	x.write("one/later", "1")
	x.wait("one/later")

	// A directory that is replaced is watched in its new form.
	x.write("other/b", "9")
	for _, err := range []error{os.RemoveAll(x.path("src/deep")), os.Rename(x.path("other"), x.path("src/deep"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	x.wait("src/deep")
	x.write("src/deep/b", "10")
	x.wait("src/deep/b")
	if err := os.Remove(x.path("src/deep/b")); err != nil {
		t.Fatal(err)
	}
	x.wait("src/deep/b")
}

// What is ignored wakes nobody: only the change after it does.
func TestIgnore(t *testing.T) {
	t.Parallel()
	x := newWorld(t, "src/out", "src/later/deep")
	x.write("src/.git/HEAD", "1")
	x.write("src/out/x", "1")
	x.write("other/x", "1")
	x.add("src")
	x.w.Ignore(x.path("src/meta.json"))
	for _, name := range []string{"src/.meta.json.part1", "src/meta.json.dray-part", "src/meta.json.dray-lock", "src/.git/HEAD", "src/.git/objects/x", "src/out/x", "src/out/sub/y", "src/later/deep/z", "src/meta.json", "other/x"} {
		x.write(name, "2")
	}
	x.write("src/a", "1")
	for told := false; !told; {
		got, err := x.w.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range got {
			if told = told || path == x.path("src/a"); path != x.path("src/a") && path != x.path("src/later") {
				t.Errorf("told of %s", path)
			}
		}
	}
}

// A directory says nothing where what is ignored was written into it.
func TestIgnoreSince(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	began := time.Now().Add(-time.Hour)
	x.write("src/out.json", "1")
	x.w.Ignore(x.path("src/out.json"))
	if got, err := x.w.Add([]string{x.path("src")}, began); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

// Add tells what has changed since a time among what was not watched yet, and not
// a second time.
func TestAddSince(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	long := time.Now().Add(-time.Hour)
	for _, name := range []string{"src/old", "src/new", "file"} {
		x.write(name, "1")
	}
	for _, name := range []string{"src/old", "src"} {
		if err := os.Chtimes(x.path(name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range [][]string{{x.path("src/new"), x.path("file")}, nil} {
		got, err := x.w.Add([]string{x.path("src"), x.path("file"), x.path("none/at/all")}, long.Add(time.Minute))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	x := newWorld(t)
	x.add("")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := x.w.Wait(ctx); !errors.Is(err, why) {
		t.Error(err)
	}
	x.w.Close()
	if _, err := x.w.Wait(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
