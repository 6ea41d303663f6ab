// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// Capabilities is what security.capability says of a file, "" if nothing.
func Capabilities(f *os.File) string {
	var buf [64]byte // the largest form has 24
	n, err := unix.Fgetxattr(int(f.Fd()), "security.capability", buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
