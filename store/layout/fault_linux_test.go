// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

func init() { children["files"] = childFewFiles }

// disk mounts a file system of that size.
func disk(t *testing.T, size string) string {
	t.Helper()
	require(t, os.Geteuid() == 0, "root, to mount a small file system")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		require(t, false, "permission to mount: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestBad_100_DiskFull(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(disk(t, "4m"), "image")
	l := open(t, dir, layout.Options{Create: true})
	f := ocitest.Image(1, 1, 1000)
	push(t, l, f, "v1")
	before := snapshot(t, dir)
	for _, size := range []int{8 << 20, 5 << 20} {
		_, err := l.Put(t.Context(), layerBlob(2, size))
		wantErr(t, "put", err, syscall.ENOSPC)
		if err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("%v does not name %s", err, dir)
		}
		if !equalMaps(before, snapshot(t, dir)) {
			t.Error("a blob that did not fit left something behind")
		}
	}
	big := layerBlob(3, 2<<20)
	put(t, l, big, oci.Sent) // there is room for what fits
	wantClean(t, dir)

	// With no room at all index.json stays as it is.
	fill(t, filepath.Join(filepath.Dir(dir), "fill"))
	before = snapshot(t, dir)
	wantErr(t, "tag", l.Tag(t.Context(), "v2", f.Root), syscall.ENOSPC)
	_, err := l.Put(t.Context(), layerBlob(4, 100_000))
	wantErr(t, "put", err, syscall.ENOSPC)
	if !equalMaps(before, snapshot(t, dir)) {
		t.Error("the layout has changed")
	}
	wantResolve(t, l, "v1", f.Root)
	if err := os.Remove(filepath.Join(filepath.Dir(dir), "fill")); err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(t.Context(), "v2", f.Root); err != nil {
		t.Fatal(err)
	}
	wantClean(t, dir)
}

// fill writes a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		wantErr(t, "fill", err, syscall.ENOSPC)
	}
}

func TestBad_101_ReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	mount := disk(t, "4m")
	dir := filepath.Join(mount, "image")
	f := ocitest.Image(1, 1, 1000)
	push(t, open(t, dir, layout.Options{Create: true}), f, "v1")
	if err := os.Remove(filepath.Join(dir, ".lock")); err != nil { // as others write layouts
		t.Fatal(err)
	}
	writable := mount
	mount = t.TempDir()
	if err := syscall.Mount(writable, mount, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
	if err := syscall.Mount("", mount, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(mount, "image")
	l := open(t, dir, layout.Options{})
	wantResolve(t, l, "v1", f.Root)
	wantGraph(t, l, f.Root)
	if got, err := collect(l.Tags(t.Context())); err != nil || len(got) != 1 {
		t.Errorf("tags: %q, %v", got, err)
	}
	if got, err := collect(l.Referrers(t.Context(), f.Root, "")); err != nil || len(got) != 0 {
		t.Errorf("referrers: %v, %v", got, err)
	}
	put(t, l, layerOf(f), oci.Existed) // what is there is there
	_, err := l.Put(t.Context(), layerBlob(2, 10))
	for what, err := range map[string]error{
		"put": err, "tag": l.Tag(t.Context(), "v2", f.Root), "delete": l.Delete(t.Context(), f.Root), "untag": l.Untag(t.Context(), "v1"),
	} {
		wantErr(t, what, err, syscall.EROFS)
		if err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v does not name %s", what, err, dir)
		}
	}
	_, err = layout.Open(filepath.Join(mount, "new"), layout.Options{Create: true})
	if err == nil {
		_, err = open(t, filepath.Join(mount, "new"), layout.Options{Create: true}).Put(t.Context(), layerBlob(2, 10))
	}
	wantErr(t, "create", err, syscall.EROFS)
}

// Another user's layout can be read but not written.
func TestBad_101_NoPermission(t *testing.T) {
	t.Parallel()
	require(t, os.Geteuid() == 0, "root, to become another user")
	top, err := os.MkdirTemp("", "layout") // others may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "image")
	f := ocitest.Image(0, 2, 800_000)
	push(t, open(t, dir, layout.Options{Create: true}), f, "v1")
	before := snapshot(t, dir)
	self, err := os.ReadFile(exe(t))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(top, "test")
	if err := os.WriteFile(other, self, 0o755); err != nil {
		t.Fatal(err)
	}
	c := child(t, "one", dir, "v2", "v3")
	c.Path = other
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Stderr = nil
	_, err = c.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "permission denied") || !strings.Contains(string(exit.Stderr), dir) {
		t.Errorf("got %v", err)
	}
	if !equalMaps(before, snapshot(t, dir)) {
		t.Error("the layout has changed")
	}
}

func exe(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// childFewFiles uses the layout when no more files can be opened.
func childFewFiles(dir string, _ []string) error {
	l, err := layout.Open(dir, layout.Options{})
	if err != nil {
		return err
	}
	f := ocitest.Image(1, 2, 1000)
	limit := syscall.Rlimit{Cur: 64, Max: 64}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	var held []*os.File
	for {
		h, err := os.Open(dir)
		if err != nil {
			break
		}
		held = append(held, h)
	}
	ctx := background
	_, put := l.Put(ctx, layerBlob(2, 10))
	_, big := l.Put(ctx, layerBlob(2, 2<<20))
	_, get := l.Open(ctx, f.Root)
	_, resolve := l.Resolve(ctx, "v1")
	tag := l.Tag(ctx, "v2", f.Root)
	for n := 0; len(held) > 0; n++ { // some can be opened, but not all that are needed
		_ = held[0].Close()
		held = held[1:]
		if _, err := l.Put(ctx, layerBlob(uint64(10+n), 2<<20)); err == nil {
			break
		} else if !errors.Is(err, syscall.EMFILE) {
			return fmt.Errorf("with %d files: %w", n, err)
		}
	}
	for _, h := range held {
		_ = h.Close()
	}
	for _, err := range []error{put, big, get, resolve, tag} {
		var at *fs.PathError
		if !errors.Is(err, syscall.EMFILE) || !errors.As(err, &at) && !strings.Contains(err.Error(), dir) {
			return fmt.Errorf("got %w", err)
		}
	}
	return f.Push(ctx, l, "v2")
}

func TestBad_101_TooManyOpenFiles(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	if err := child(t, "files", dir).Run(); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, open(t, dir, layout.Options{}), "v2", f.Root)
	wantClean(t, dir)
}
