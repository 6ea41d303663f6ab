// SPDX-License-Identifier: Apache-2.0

//go:build unix

package layer_test

import (
	"fmt"
	"io/fs"
	"syscall"
)

// identity is the file behind a name, with its owner and number of names.
func identity(fi fs.FileInfo) string {
	s := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprint(s.Dev, s.Ino, s.Uid, s.Gid, s.Nlink)
}
