// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// hostName says why the host cannot hold a name; Linux holds all.
func hostName(string) error { return nil }

// rename puts a directory in the place of an empty one, in one step, which
// Go's own Rename refuses.
func rename(parent *os.Root, from, to string) error {
	f, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("renameat", unix.Renameat(int(f.Fd()), from, int(f.Fd()), to))
}

// setTime sets the modification time of a name in a directory, also of a link
// itself. Times that the host cannot hold are left as they are.
func setTime(at *folder, base string, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return nil
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(int(at.f.Fd()), base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

func setXattr(f *os.File, name, value string) error {
	return unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
}

// makeNode makes a device or a fifo; false where that is not allowed or there
// are no such numbers.
func makeNode(at *folder, base string, n *node) (bool, error) {
	mode := map[Kind]uint32{Char: unix.S_IFCHR, Block: unix.S_IFBLK, Fifo: unix.S_IFIFO}[n.kind] | 0o600
	dev := 0
	if n.kind != Fifo {
		major, minor := n.extra.major, n.extra.minor
		if major < 0 || major >= 1<<12 || minor < 0 || minor >= 1<<20 { // what the kernel has room for
			return false, nil
		}
		dev = int(unix.Mkdev(uint32(major), uint32(minor)))
	}
	err := unix.Mknodat(int(at.f.Fd()), base, mode, dev)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) { // root of a container
		return false, nil
	}
	return err == nil, os.NewSyscallError("mknodat", err)
}
