// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/dray-tools/dray/oci"
)

// OpenRegular opens a file that is a file: no link, directory, device or pipe
// (which could block). Those are ErrCorrupt.
func OpenRegular(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	if _, err := StatRegular(root, name); err != nil {
		return nil, nil, err
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	now, err := f.Stat()
	if err == nil && !now.Mode().IsRegular() {
		err = oci.Errorf(oci.ErrCorrupt, "%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, now, nil
}

func StatRegular(root *os.Root, name string) (fs.FileInfo, error) {
	fi, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s is not a regular file but %s", name, fi.Mode().Type())
	}
	return fi, nil
}

// ReadFile reads a regular file of at most limit bytes, ErrInvalid beyond.
func ReadFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, fi, err := OpenRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi.Size() > limit {
		return nil, oci.Errorf(oci.ErrInvalid, "%s has %d bytes, more than %d", name, fi.Size(), limit)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = oci.Errorf(oci.ErrInvalid, "%s has more than %d bytes", name, limit)
	}
	return b, err
}

// SyncDir makes the names in a directory durable. Where a directory cannot be
// synced (Windows, some network file systems) there is nothing to do.
func SyncDir(root *os.Root, name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
