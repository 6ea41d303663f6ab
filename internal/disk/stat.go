// SPDX-License-Identifier: Apache-2.0

package disk

// A Stat is what a layer needs to know of a file beyond fs.FileInfo.
type Stat struct {
	Known        bool // false where the system does not tell
	UID, GID     int
	Links        uint64 // names of the file
	Inode        Inode
	Major, Minor int64 // of a device
}

// An Inode is a file on its device.
type Inode struct{ Dev, Ino uint64 }
