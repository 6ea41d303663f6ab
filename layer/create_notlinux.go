// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package layer

import "os"

// capabilities are Linux's.
func capabilities(*os.File) string { return "" }
