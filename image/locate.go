// SPDX-License-Identifier: Apache-2.0

package image

import "github.com/dray-tools/dray/oci"

// Locate implements oci.Locator: it is where the source below is, so that what
// has not changed can be mounted from there.
func (c *Converter) Locate() (host, repository string) {
	if l, ok := oci.As[oci.Locator](c.s); ok {
		return l.Locate()
	}
	return "", ""
}

// Made implements oci.Maker.
func (c *Converter) Made(d oci.Digest) bool { return c.own(d) != nil || c.output(d) != nil }
