// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

// disk mounts a file system of that size.
func disk(t *testing.T, size string) string {
	t.Helper()
	path := t.TempDir()
	err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+size)
	if err != nil && os.Getenv("DRAY_TEST_REQUIRE") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("missing: permission to mount a small file system")
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	return path
}

func TestBad_100_DiskFull(t *testing.T) {
	t.Parallel()
	parent := disk(t, "4m")
	path := filepath.Join(parent, "image")
	save(t, path, ocitest.Image(1, 1, 1000))
	before := snapshot(t, parent)
	d := open(t, path, true)
	_, err := d.Put(t.Context(), oci.Bytes(oci.MediaLayer, ocitest.Random(1, 8<<20)))
	wantErr(t, "put", err, syscall.ENOSPC)
	if err := d.Abort(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, snapshot(t, parent)) {
		t.Error("something was changed or left")
	}
	save(t, path, ocitest.Image(2, 1, 1000))
}

// A mounted directory cannot be replaced: that is said before anything moves.
func TestMountedDirectory(t *testing.T) {
	t.Parallel()
	_, err := open(t, disk(t, "4m"), true).Put(t.Context(), oci.Bytes(oci.MediaLayer, nil))
	wantErr(t, "put", err, oci.ErrUnsupported)
}

// A directory that cannot be written to can be read.
func TestBad_101_ReadOnly(t *testing.T) {
	t.Parallel()
	parent := disk(t, "4m")
	path := filepath.Join(parent, "image")
	f := ocitest.Image(1, 1, 1000)
	save(t, path, f)
	if err := syscall.Mount("", parent, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantImage(t, path, f)
	d, err := dir.Open(path, dir.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stat(t.Context(), f.Root); err != nil {
		t.Error(err)
	}
	_, err = d.Put(t.Context(), f.Blobs[0])
	wantErr(t, "put", err, syscall.EROFS)
}

// A pipe in place of a file does not block.
func TestBad_082_Pipe(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	path := made(t, f)
	layer := f.Layers()[0].Descriptor()
	for _, name := range []string{layer.Digest.Encoded(), "manifest.json"} {
		file := filepath.Join(path, name)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(file, 0o644); err != nil {
			t.Skip(err)
		}
	}
	_, err := dir.Open(path, dir.Options{})
	wantErr(t, "open", err, oci.ErrCorrupt)
}
