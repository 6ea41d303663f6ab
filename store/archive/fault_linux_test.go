// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

func init() {
	children["limit"] = childLimit
	children["deny"] = childDeny
}

// childLimit adds an image, but files cannot grow beyond a size: as on a full
// disk, the write that is too much fails.
func childLimit(file string, args []string) error {
	limit, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	a, err := archive.Open(file, archive.Options{Write: true})
	if err != nil {
		return err
	}
	f := ocitest.Image(2, 3, 50_000)
	if err = f.Push(context.Background(), a, "2"); err == nil {
		err = a.Commit(context.Background())
	}
	if err != nil && !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("not what was expected: %w", err)
	}
	return errors.Join(err, a.Close())
}

func TestBad_100_DiskFull(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 30_000)
	file := made(t, archive.OCI, f, "1")
	before := read(t, file)
	whole := 0
	for limit := 1000; whole == 0; limit += 23_000 { // at every stage
		c := child(t, "limit", file, strconv.Itoa(limit))
		c.Stderr = nil
		out, err := c.CombinedOutput()
		switch {
		case err == nil:
			whole = limit
		case !strings.Contains(string(out), "file too large") || !strings.Contains(string(out), file) || strings.Contains(string(out), "expected"):
			t.Errorf("limit %d: %s", limit, out)
		case !bytes.Equal(before, read(t, file)):
			t.Fatalf("limit %d: the archive has changed", limit)
		}
		wantAlone(t, file)
		if limit > 1_000_000 {
			t.Fatal("it never fits")
		}
	}
	if whole < 150_000 {
		t.Errorf("%d bytes are enough", whole)
	}
	a := open(t, file, archive.Options{})
	wantResolve(t, a, "1", f.Root)
	wantGraph(t, a, ocitest.Image(2, 3, 50_000).Root)
}

// A real full disk, where the test may mount one.
func TestBad_100_SmallDisk(t *testing.T) {
	t.Parallel()
	require(t, os.Geteuid() == 0, "root, to mount a small file system")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		require(t, false, "permission to mount: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	file := filepath.Join(dir, "image.tar")
	f := ocitest.Image(1, 1, 1_500_000)
	push(t, open(t, file, archive.Options{Write: true}), f, "1")
	before := read(t, file)
	a := open(t, file, archive.Options{Write: true})
	_, err := a.Put(t.Context(), oci.Bytes(oci.MediaLayer, ocitest.Random(2, 4<<20)))
	wantErr(t, "put", err, syscall.ENOSPC)
	g := ocitest.Image(3, 1, 1_500_000) // fits, but not with what is copied
	if err := g.Push(t.Context(), a, "2"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", a.Commit(t.Context()), syscall.ENOSPC)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(before, read(t, file)) {
		t.Error("the archive has changed")
	}
	wantAlone(t, file)
}

// childDeny reads an archive of another user, and cannot write it.
func childDeny(file string, _ []string) error {
	a, err := archive.Open(file, archive.Options{Write: true})
	if err != nil {
		return err
	}
	if _, err := a.Resolve(context.Background(), "1"); err != nil {
		return err
	}
	err = ocitest.Image(2, 1, 10).Push(context.Background(), a, "2")
	if !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), file) {
		return fmt.Errorf("got %w", err)
	}
	return a.Close()
}

func TestBad_101_OtherUser(t *testing.T) {
	t.Parallel()
	require(t, os.Geteuid() == 0, "root, to become another user")
	top, err := os.MkdirTemp("", "archive") // others may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "dir")
	if err := errors.Join(os.Chmod(top, 0o755), os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(top, "test"), read(t, self), 0o755)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "image.tar")
	push(t, open(t, file, archive.Options{Write: true}), ocitest.Image(1, 1, 1000), "1")
	before := read(t, file)
	c := child(t, "deny", file)
	c.Path = filepath.Join(top, "test")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Stderr = nil
	if _, err := c.Output(); err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Errorf("%v: %s", err, exit.Stderr)
	}
	if !bytes.Equal(before, read(t, file)) {
		t.Error("the archive has changed")
	}
	wantAlone(t, file)
}

func TestBad_101_ReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	require(t, os.Geteuid() == 0, "root, to mount")
	f := ocitest.Image(1, 1, 1000)
	file := made(t, archive.OCI, f, "1")
	dir := t.TempDir()
	if err := syscall.Mount(filepath.Dir(file), dir, "", syscall.MS_BIND, ""); err != nil {
		require(t, false, "permission to mount: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	a := open(t, filepath.Join(dir, "image.tar"), archive.Options{Write: true})
	wantResolve(t, a, "1", f.Root)
	wantGraph(t, a, f.Root)
	_, err := a.Put(t.Context(), ocitest.Image(2, 1, 10).Blobs[0])
	wantErr(t, "put", err, syscall.EROFS)
	if err := a.Tag(t.Context(), "2", f.Root); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", a.Commit(t.Context()), syscall.EROFS)
}

// A pipe is written as a stream.
func TestPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f := ocitest.Image(1, 2, 2_000_000)
	wrote := make(chan error, 1)
	go func() {
		a, err := archive.Open(pipe, archive.Options{Write: true})
		if err == nil {
			err = f.Push(context.Background(), a, "1")
		}
		if err == nil {
			err = a.Commit(context.Background())
		}
		wrote <- errors.Join(err, a.Close())
	}()
	a := open(t, pipe, archive.Options{})
	wantResolve(t, a, "1", f.Root)
	wantGraph(t, a, f.Root)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// A pipe that nobody is at the other end of, or nobody who does anything, is
// waited for no longer than the context, and not before it is read or written.
func TestPipeNobodyReads(t *testing.T) {
	t.Parallel()
	for _, idle := range []bool{false, true} {
		pipe := func() string {
			name := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			if idle {
				other, err := os.OpenFile(name, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = other.Close() })
			}
			return name
		}
		late := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}
		f := ocitest.Image(1, 1, 1<<20)
		a := open(t, pipe(), archive.Options{Write: true})
		_, err := a.Stat(t.Context(), f.Root)
		wantErr(t, "stat", err, oci.ErrNotFound)
		_, err = a.Put(late(), f.Layers()[0])
		wantErr(t, "put", err, context.DeadlineExceeded)
		_, err = open(t, pipe(), archive.Options{}).Resolve(late(), "")
		wantErr(t, "resolve", err, context.DeadlineExceeded)
		_, err = archive.KindOf(pipe())
		wantErr(t, "kind", err, oci.ErrInvalid)
	}
}
