// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/dray-tools/dray/oci"
)

// showPacking shows the layers that are packed anew while a plan is made: a bar
// each on a terminal, else a line. finish takes the bars away.
func (a *app) showPacking() (tell func(oci.Descriptor, int), finish func()) {
	work, finish := a.showWork()
	return func(d oci.Descriptor, n int) { work(short(string(d.Digest)), d.Size, n) }, finish
}

// showCompiling shows what is compiled, where there are bars, until end is called.
func (a *app) showCompiling(what string) (end func()) {
	b := a.bars
	if b == nil {
		return func() {}
	}
	bar := b.p.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Name("compile "+printable(what)+" "), decor.Elapsed(decor.ET_STYLE_GO)))
	return func() { bar.Abort(true) }
}

// showWork shows what is packed by names; a size of 0 is not known.
func (a *app) showWork() (tell func(name string, total int64, n int), finish func()) {
	f, ok := a.Err.(*os.File)
	if !ok || a.quiet || !isTerminal(f) || a.Getenv("TERM") == "dumb" {
		return func(name string, total int64, n int) {
			if n == 0 && total >= worthALine {
				a.note("packing %s %s", name, size(total))
			}
		}, func() {}
	}
	b := &bars{p: mpb.New(mpb.WithOutput(f), mpb.WithWidth(30), mpb.WithRefreshRate(120*time.Millisecond))}
	a.bars = b
	var mu sync.Mutex
	each := map[string]*mpb.Bar{} // nil when a plan is there: the bars of the transfer take over
	tell = func(name string, total int64, n int) {
		mu.Lock()
		defer mu.Unlock()
		if each == nil {
			return
		}
		if each[name] == nil {
			label := "pack " + printable(strings.TrimPrefix(name, "sha256:"))
			each[name] = b.bar(func(decor.Statistics) string { return label }, total, mpb.BarRemoveOnComplete())
		}
		each[name].IncrBy(n)
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
