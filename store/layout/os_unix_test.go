// SPDX-License-Identifier: Apache-2.0

//go:build unix

package layout_test

import "syscall"

func mkfifo(file string) error { return syscall.Mkfifo(file, 0o644) }
