// SPDX-License-Identifier: Apache-2.0

package layer_test

import "io/fs"

func identity(fi fs.FileInfo) string { return fi.Name() }
