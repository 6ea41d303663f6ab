// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"

	"github.com/dray-tools/dray/compare"
	"github.com/dray-tools/dray/oci"
)

// Diff compares what two references mean; with a platform, that child of each.
// They can be in different stores. See [compare.Graphs] for what is read.
func (c *Client) Diff(ctx context.Context, a, b string, s Side, p *oci.Platform, o compare.Options) (*compare.Report, error) {
	ra, sa, da, err := c.resolve(ctx, a, s, p)
	if err != nil {
		return nil, err
	}
	rb, sb, db, err := c.resolve(ctx, b, s, p)
	if err != nil {
		return nil, err
	}
	r, err := compare.Graphs(ctx, oci.Graph{Root: da, Source: sa}, oci.Graph{Root: db, Source: sb}, o)
	return r, oci.Wrap("diff", ra.String()+" "+rb.String(), err)
}
