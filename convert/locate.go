// SPDX-License-Identifier: Apache-2.0

package convert

import "github.com/dray-tools/dray/oci"

// Part implements oci.Composite: what was made here is nowhere else yet.
func (c *Converter) Part(d oci.Digest) oci.Source {
	if c.own(d) != nil || c.output(d) != nil {
		return nil
	}
	return c.s
}
