// SPDX-License-Identifier: Apache-2.0

//go:build unix

package place_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/oci"
)

// Files of a context that are no plain files, or not for long.
func TestBad_089_Contexts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(dir string) error
		hook func(dir, name string)
		spec place.Spec
		want string // or a part of an error
		kind error
	}{
		"pipe":    {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o600) }, nil, copyOf("/n", "p"), "600,0,0:n|", nil},
		"pipes":   {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o600) }, nil, copyOf("/n/", "."), "n/ n/a=A 600,0,0:n/p|", nil},
		"addp":    {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o600) }, nil, adding("/n", "p"), "600,0,0:n|", nil},
		"hidden":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, ".wh.a"), nil, 0o600) }, nil, copyOf("/n/", "."), ".wh.", oci.ErrInvalid},
		"opaque":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, ".wh..wh..opq"), nil, 0o600) }, nil, copyOf("/n/", "."), ".wh.", oci.ErrInvalid},
		"grows":   {nil, func(dir, name string) { appendTo(filepath.Join(dir, name), "more") }, copyOf("/n", "a"), "\"a\" was changed while it was read", oci.ErrBusy},
		"shrinks": {nil, func(dir, name string) { _ = os.Truncate(filepath.Join(dir, name), 0) }, copyOf("/n", "a"), "\"a\" was changed while it was read", oci.ErrBusy},
		"loop":    {func(dir string) error { return os.Symlink("loop", filepath.Join(dir, "loop")) }, nil, copyOf("/n", "loop"), "more than 40 links", oci.ErrInvalid},
		"link":    {func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) }, nil, adding("/n", "l"), "not found", oci.ErrNotFound},
		"up":      {func(dir string) error { return os.Symlink("../..", filepath.Join(dir, "l")) }, nil, copyOf("/n/", "l/*"), "leads out", oci.ErrInvalid},
		"deep":    {func(dir string) error { return os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 510)), 0o755) }, nil, copyOf("/n/", "."), "more than 500 deep", oci.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, "a=A")
			if c.make != nil {
				must(t, c.make(dir))
			}
			x := newWorld(t, build.Options{})
			if c.hook != nil {
				x.set.SetHook(func(name string) { c.hook(dir, name) })
			}
			c.spec.From = place.Context(dir, nil)
			onto, _ := x.stack(t, "linux/amd64", debian)
			got, err := x.add(t, onto, c.spec)
			if c.kind == nil && (err != nil || got != c.want) {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
			if c.kind != nil && (!errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "Dockerfile:3: ")) {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func appendTo(path, text string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, _ = f.WriteString(text)
		f.Close()
	}
}

func TestBad_089_Sockets(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "s") // a socket's path must be short
	must(t, err)
	defer os.RemoveAll(dir)
	fill(t, dir, "a=A")
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	defer l.Close()
	c := copyCase{copyOf("/n/", "."), "n/ n/a=A"}
	c.spec.From = place.Context(dir, nil)
	newWorld(t, build.Options{}).check(t, debian, c)
}

func TestBad_089_Unreadable(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := folder(t, "d/a=A")
	must(t, os.Chmod(filepath.Join(dir, "d/a"), 0))
	c := copyCase{copyOf("/n/", "d"), "! \"d/a\": permission denied"}
	c.spec.From = place.Context(dir, nil)
	newWorld(t, build.Options{}).check(t, debian, c)
}

// A file that is replaced by a link to somewhere else while the context is
// looked through: nothing outside is read.
func TestBad_089_Swapped(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(folder(t, "secret=hidden"), "secret")
	dir := folder(t, "a=A b=B")
	x := newWorld(t, build.Options{})
	x.set.SetHook(func(name string) {
		if name == "a" { // b is next
			_ = os.Remove(filepath.Join(dir, "b"))
			_ = os.Symlink(secret, filepath.Join(dir, "b"))
		}
	})
	s := copyOf("/n/", ".")
	s.From = place.Context(dir, nil)
	onto, _ := x.stack(t, "linux/amd64", debian)
	if got, err := x.add(t, onto, s); strings.Contains(got, "hidden") {
		t.Errorf("got %s, %v", got, err)
	}
}

// A file that is larger than memory may be.
func TestLargeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	dir := folder(t, "a=A")
	const size = 2 << 30
	must(t, os.Truncate(filepath.Join(dir, "a"), size))
	x := newWorld(t, build.Options{})
	s := copyOf("/n", "a")
	s.From = place.Context(dir, nil)
	var peak uint64
	n := int64(0)
	out := writerFunc(func(p []byte) (int, error) {
		if n += int64(len(p)); n>>28 != (n-int64(len(p)))>>28 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		return len(p), nil
	})
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	must(t, x.set.WriteTar(context.Background(), x.e, s, out))
	if n < size || peak > before.HeapAlloc+64<<20 {
		t.Errorf("%d bytes, and %d MB of memory", n, (peak-before.HeapAlloc)>>20)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

var _ io.Writer = writerFunc(nil)
