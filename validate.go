// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"

	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/oci"
)

// A Validation is what a check found.
type Validation struct {
	Reference string          `json:"reference"`
	Digest    oci.Digest      `json:"digest"`
	Findings  []check.Finding `json:"findings"`
	Checked   check.Stats     `json:"checked"`
}

// Validate checks all that a reference leads to; with a platform, that child.
// Each blob is read once. What is wrong is in the result; see [check.Graph]
// for what is an error.
func (c *Client) Validate(ctx context.Context, name string, s Side, p *oci.Platform, o check.Options) (*Validation, error) {
	r, st, d, err := c.resolve(ctx, name, s, p)
	if err != nil {
		return nil, err
	}
	found, stats, err := check.Graph(ctx, st, d, o)
	if err != nil {
		return nil, oci.Wrap("", r.String(), err)
	}
	if found == nil {
		found = []check.Finding{}
	}
	return &Validation{r.String(), d.Digest, found, stats}, nil
}
