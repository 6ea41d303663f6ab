// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"context"
	"io"

	"github.com/dray-tools/dray/build"
)

// SetHook calls f when a file of a context has been opened.
func (x *Set) SetHook(f func(name string)) { x.hook = f }

// AllowLocalGit lets repositories be file://.
func (x *Set) AllowLocalGit() { x.o.localGit = true }

// WriteTar writes what a Spec means, before it is put in place.
func (x *Set) WriteTar(ctx context.Context, e *build.Engine, s Spec, out io.Writer) error {
	p, err := newPlan(ctx, e, s, x.o)
	if err != nil {
		return err
	}
	return p.write(&writer{ctx: ctx, tw: tar.NewWriter(out), mode: p.mode, times: x.o.KeepTimes, hook: x.hook})
}
