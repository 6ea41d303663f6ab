// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package place

import "os"

// capabilities is what only Linux has.
func capabilities(*os.File) string { return "" }
