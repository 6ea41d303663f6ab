// SPDX-License-Identifier: Apache-2.0

package layer

// End is the offset in the tar at which the last entry that was read ends, with
// its padding. After the end of the layer only zeros should follow it.
func (r *Reader) End() int64 { return r.raw.body + padded(r.raw.bodySize) }
