// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package disk

import "os"

// Capabilities is what only Linux has: "".
func Capabilities(*os.File) string { return "" }
