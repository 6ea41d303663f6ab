// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package place

import "io/fs"

// A stat is what a layer needs to know of a file beyond fs.FileInfo.
type stat struct {
	known        bool
	links        uint64
	inode        inode
	major, minor int64
}

func statOf(fs.FileInfo) stat { return stat{} }
