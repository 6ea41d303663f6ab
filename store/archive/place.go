// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/oci"
)

// maxParts is how many can write one archive at the same time.
const maxParts = 64

// A part is the new archive while it is written, beside the old one. Its name
// is one of a few, so that what a killed run has left is found by the next one
// and removed.
type part struct {
	f       *os.File
	name    string
	mode    fs.FileMode // of a new archive
	release func()      // lets go of the name
}

func partName(file string, n int) string {
	if n == 0 {
		return file + ".dray-part"
	}
	return fmt.Sprintf("%s.dray-part%d", file, n)
}

// newPart makes an empty part under the first name that nobody else writes.
func newPart(file string) (*part, error) {
	for n := range maxParts {
		name := partName(file, n)
		release, err := hold(context.Background(), name+".lock", false)
		if err != nil {
			return nil, err
		}
		if release == nil {
			continue
		}
		if err = ignore(os.Remove(name), fs.ErrNotExist); err == nil {
			var p *part
			if p, err = createPart(name, release); err == nil {
				sweep(file, n+1)
				return p, nil
			}
		}
		release()
		return nil, err
	}
	return nil, oci.Errorf(oci.ErrBusy, "%d others are writing it", maxParts)
}

// createPart makes a file that is nobody else's to read until it is placed, and
// finds out the mode that the umask gives to a new archive.
func createPart(name string, release func()) (*part, error) {
	p := &part{name: name, release: release}
	for _, mode := range []fs.FileMode{0o644, 0o600} {
		// Not one that was there: whoever made it could still be writing to it.
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return nil, err
		}
		if mode == 0o600 {
			p.f = f
			break
		}
		fi, err := f.Stat()
		if err = errors.Join(err, f.Close(), os.Remove(name)); err != nil {
			return nil, err
		}
		p.mode = fi.Mode().Perm()
	}
	return p, nil
}

// sweep removes parts of killed runs.
func sweep(file string, from int) {
	for n := from; n < maxParts; n++ {
		name := partName(file, n)
		if _, err := os.Lstat(name); err != nil {
			continue
		}
		if release, err := hold(context.Background(), name+".lock", false); err == nil && release != nil {
			os.Remove(name)
			release()
		}
	}
}

// drop removes the part.
func (p *part) drop() error {
	err := p.f.Close()
	err = errors.Join(ignore(err, fs.ErrClosed), ignore(os.Remove(p.name), fs.ErrNotExist))
	p.release()
	return err
}

// hold takes the lock that the file name stands for, over all processes; with
// wait it waits for it, else release is nil if somebody has it. The lock
// belongs to the kernel: a process that dies lets go of it. The file is
// removed by release.
func hold(ctx context.Context, name string, wait bool) (release func(), err error) {
	for {
		if fi, err := os.Lstat(name); err == nil && !fi.Mode().IsRegular() {
			return nil, oci.Errorf(oci.ErrInvalid, "%s is not a regular file", name)
		}
		l, ok := flock.New(name, flock.SetPermissions(0o644)), false
		if wait {
			ok, err = l.TryLockContext(ctx, 5*time.Millisecond)
		} else {
			ok, err = l.TryLock()
		}
		if err != nil || !ok {
			l.Close()
			return nil, err
		}
		// Who had it may have removed the file in between; then this is the
		// lock of a file that nobody else finds.
		mine, merr := l.Stat()
		now, nerr := os.Lstat(name)
		if merr == nil && nerr == nil && os.SameFile(mine, now) {
			return func() { letGo(l, name) }, nil
		}
		l.Close()
	}
}

func letGo(l *flock.Flock, name string) {
	if runtime.GOOS == "windows" { // where an open file cannot be removed
		l.Close()
		os.Remove(name)
		return
	}
	os.Remove(name)
	l.Close()
}

// syncDir makes a rename durable. Where a directory cannot be synced (Windows,
// some network file systems) there is nothing to do.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// place moves the finished part over the archive.
func (p *part) place(file string, size int64) error {
	mode := p.mode
	if fi, err := os.Stat(file); err == nil {
		mode = fi.Mode().Perm()
	}
	if err := p.f.Chmod(mode); err != nil && !errors.Is(err, errors.ErrUnsupported) && runtime.GOOS != "windows" {
		return err
	}
	if err := p.f.Truncate(size); err != nil {
		return err
	}
	if err := p.f.Sync(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // where an open file cannot be renamed
		if err := p.f.Close(); err != nil {
			return err
		}
	}
	if err := os.Rename(p.name, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}
