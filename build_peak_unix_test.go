// SPDX-License-Identifier: Apache-2.0

//go:build unix

package dray_test

import (
	"os"
	"runtime"
	"syscall"
)

// peakOf is the most memory that a process had, in bytes.
func peakOf(p *os.ProcessState) int64 {
	r, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return r.Maxrss
	}
	return r.Maxrss << 10
}
