// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"io"

	"github.com/dray-tools/dray/layer"
)

// Pack writes a layer with all that is in a directory; see [layer.Create] for
// what makes it the same bytes on any machine.
func (c *Client) Pack(ctx context.Context, dir string, w io.Writer, o layer.CreateOptions) (layer.Created, error) {
	return layer.Create(ctx, w, dir, o)
}
