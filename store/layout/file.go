// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// lock takes the exclusive lock of the layout, over all processes and all Dirs
// of this one. It belongs to the kernel: a process that dies lets go of it.
func (l *Dir) lock(ctx context.Context, root *os.Root) (unlock func(), err error) {
	if fi, err := root.Lstat(lockFile); err == nil && !fi.Mode().IsRegular() {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s is not a regular file", lockFile)
	}
	f := flock.New(filepath.Join(l.place.String(), lockFile), flock.SetPermissions(0o644))
	if _, err := f.TryLockContext(ctx, 3*time.Millisecond); err != nil {
		return nil, oci.Wrap("lock", f.Path(), err)
	}
	return func() { f.Close() }, nil
}

// newTemp makes a file of its own below ingest.
func newTemp(root *os.Root) (*os.File, string, error) {
	name := path.Join(ingestDir, rand.Text()+".tmp")
	f, err := openIngest(root, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	return f, name, err
}

// openIngest opens a file below ingest; another writer may be removing the
// empty directory at the same moment.
func openIngest(root *os.Root, name string, flag int) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := root.OpenFile(name, flag, 0o644)
		if !errors.Is(err, fs.ErrNotExist) || try == 100 {
			return f, err
		}
		if err := root.Mkdir(ingestDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}

// writeFile replaces a file of the layout in one step that survives a power
// cut: written beside it, synced, renamed, directory synced.
func writeFile(root *os.Root, name string, content []byte) error {
	f, temp, err := newTemp(root)
	if err != nil {
		return err
	}
	defer root.Remove(ingestDir) // fails while others use it
	_, err = f.Write(content)
	if err = finish(f, err); err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		root.Remove(temp)
		return err
	}
	return disk.SyncDir(root, ".")
}

// finish syncs and closes a written file and returns the first error.
func finish(f *os.File, err error) error {
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
