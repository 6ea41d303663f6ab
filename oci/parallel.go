// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"sync"
)

// Parallel calls f for 0 to n-1, up to 256 at a time, and waits for all of
// them. The first error ends the context of the others and is returned.
func Parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, 256)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
