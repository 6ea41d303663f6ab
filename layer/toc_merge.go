// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"iter"
	"runtime"

	"github.com/dray-tools/dray/oci"
)

// MergeTOC is [Merge], for which the layers that have a table of contents are
// not read. tocs has one for each layer, nil where there is none; or is nil.
func MergeTOC(ctx context.Context, layers []oci.Blob, tocs []*TOC, o Limits) (*Tree, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := min(max(runtime.GOMAXPROCS(0), 2), 4)
	var queue []iter.Seq2[*Entry, error]
	turns := make([]chan struct{}, len(layers)) // closed when all lower layers have been read
	for i := range turns {
		turns[i] = make(chan struct{})
	}
	t := NewTree(o)
	for i, b := range layers {
		for next := i + len(queue); next < len(layers) && len(queue) < ahead; next++ {
			if tocs != nil && tocs[next] != nil {
				queue = append(queue, tocs[next].Entries())
			} else {
				queue = append(queue, entries(startReading(ctx, layers[next], turns[next], o)))
			}
		}
		close(turns[i])
		if err := t.Add(queue[0]); err != nil {
			return nil, oci.Wrap("layer", string(b.Descriptor().Digest), err)
		}
		queue = queue[1:]
	}
	return t, ctx.Err()
}
