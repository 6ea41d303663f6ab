// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two directories in one step. errors.ErrUnsupported where the
// kernel or the file system cannot.
func exchange(root *os.Root, a, b string) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.Renameat2(int(fd), a, int(fd), b, unix.RENAME_EXCHANGE)
	})
	switch {
	case cerr != nil:
		return cerr
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
		return errors.ErrUnsupported
	case err != nil:
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}
