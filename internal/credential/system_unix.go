// SPDX-License-Identifier: Apache-2.0

//go:build unix

package credential

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts a helper and what it starts into a process group that is
// killed as one.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
}

// keepOwner gives a new file the owner of the one that it replaces, as far as
// that is allowed: a login by way of sudo must not take the file away.
func keepOwner(f *os.File, old os.FileInfo) {
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}
