// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package layer

import "io/fs"

// A stat is what a layer needs to know of a file beyond fs.FileInfo; nothing
// of it is known here.
type stat struct {
	known        bool
	uid, gid     int
	links        uint64
	inode        inode
	major, minor int64
}

func statOf(fs.FileInfo) stat { return stat{} }
