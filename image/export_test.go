// SPDX-License-Identifier: Apache-2.0

package image

// HasTree reports whether the whole tree had to be read.
func (f *Files) HasTree() bool { return f.tree != nil }
