// SPDX-License-Identifier: Apache-2.0

package layer

// WindowsName is for the tests.
var WindowsName = windowsName

// Kept is how many bytes the tree counts.
func (t *Tree) Kept() int64 { return t.kept }
