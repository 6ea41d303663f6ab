// SPDX-License-Identifier: Apache-2.0

package image

// HasTree reports whether the whole tree had to be read.
func (f *Files) HasTree() bool { return f.tree != nil }

// SetMost sets how many bytes of the layers' names are kept.
func (f *Files) SetMost(n int64) { f.most = n }

// Kept is how many there are.
func (f *Files) Kept() int64 { return f.kept }
