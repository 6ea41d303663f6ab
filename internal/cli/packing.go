// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/dray-tools/dray/oci"
)

// showPacking shows the layers that are packed anew while a plan is made: a bar
// each on a terminal, else a line. finish takes the bars away.
func (a *app) showPacking() (tell func(oci.Descriptor, int), finish func()) {
	f, ok := a.Err.(*os.File)
	if !ok || a.quiet || !isTerminal(f) || a.Getenv("TERM") == "dumb" {
		return func(d oci.Descriptor, n int) {
			if n == 0 && d.Size >= worthALine {
				a.note("packing %s %s", short(string(d.Digest)), size(d.Size))
			}
		}, func() {}
	}
	b := &bars{p: mpb.New(mpb.WithOutput(f), mpb.WithWidth(30), mpb.WithRefreshRate(120*time.Millisecond))}
	a.bars = b
	var mu sync.Mutex
	each := map[oci.Digest]*mpb.Bar{} // nil when a plan is there: the bars of the transfer take over
	tell = func(d oci.Descriptor, n int) {
		mu.Lock()
		defer mu.Unlock()
		if each == nil {
			return
		}
		if each[d.Digest] == nil {
			name := "pack " + short(string(d.Digest))[7:]
			each[d.Digest] = b.bar(func(decor.Statistics) string { return name }, d.Size, mpb.BarRemoveOnComplete())
		}
		each[d.Digest].IncrBy(n)
	}
	return tell, func() {
		mu.Lock()
		defer mu.Unlock()
		if each == nil {
			return
		}
		for _, bar := range each {
			bar.Abort(true)
		}
		each, a.bars = nil, nil
		b.p.Wait()
	}
}
