// SPDX-License-Identifier: Apache-2.0

//go:build unix

package place

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// A stat is what a layer needs to know of a file beyond fs.FileInfo.
type stat struct {
	known        bool
	links        uint64
	inode        inode
	major, minor int64
}

func statOf(info fs.FileInfo) stat {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{}
	}
	dev := uint64(s.Rdev)
	return stat{true, uint64(s.Nlink), inode{uint64(s.Dev), s.Ino}, int64(unix.Major(dev)), int64(unix.Minor(dev))}
}
