// SPDX-License-Identifier: Apache-2.0

//go:build unix

package disk

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// StatOf tells what the system knows of a file.
func StatOf(info fs.FileInfo) Stat {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stat{}
	}
	dev := uint64(s.Rdev)
	return Stat{
		Known: true, UID: int(s.Uid), GID: int(s.Gid), Links: uint64(s.Nlink), Inode: Inode{uint64(s.Dev), s.Ino},
		Major: int64(unix.Major(dev)), Minor: int64(unix.Minor(dev)),
	}
}
