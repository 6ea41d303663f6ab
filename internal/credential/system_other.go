// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package credential

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
)

// ownGroup makes that what a helper has started ends with it.
func ownGroup(cmd *exec.Cmd) {
	cmd.Cancel = func() error {
		if runtime.GOOS == "windows" {
			_ = exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run()
		}
		return cmd.Process.Kill()
	}
}

// keepOwner has nothing to do where a file takes its rights from its folder.
func keepOwner(*os.File, os.FileInfo) {}
