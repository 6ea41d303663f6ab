// SPDX-License-Identifier: Apache-2.0

//go:build unix

package dir

import (
	"io/fs"
	"os"
	"syscall"
)

// mine reports whether a file belongs to this user: in a directory that is
// everybody's, another one could have prepared it.
func mine(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return !ok || int(st.Uid) == os.Geteuid()
}

// sameDevice reports whether two files are on the same file system, where that
// can be told: a directory that is mounted cannot be replaced.
func sameDevice(a, b fs.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, yes := b.Sys().(*syscall.Stat_t)
	return !ok || !yes || x.Dev == y.Dev
}
