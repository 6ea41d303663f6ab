// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package layer

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"
)

var errNoXattr = errors.ErrUnsupported

// hostName says why the host cannot hold a name.
func hostName(base string) error {
	if runtime.GOOS == "windows" {
		return windowsName(base)
	}
	return nil
}

// rename puts a directory in the place of an empty one.
func rename(parent *os.Root, from, to string) error {
	if err := parent.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return parent.Rename(from, to)
}

// setTime sets the modification time of a name in a directory. That of a link
// stays as it is.
func setTime(at *folder, base string, t time.Time) error {
	if fi, err := at.Lstat(base); err != nil || fi.Mode()&fs.ModeSymlink != 0 {
		return err
	}
	return at.Chtimes(base, t, t)
}

func setXattr(*os.File, string, string) error { return errNoXattr }

func makeNode(*folder, string, *node) (bool, error) { return false, nil }
