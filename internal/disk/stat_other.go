// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package disk

import "io/fs"

// StatOf tells what the system knows of a file: nothing.
func StatOf(fs.FileInfo) Stat { return Stat{} }
