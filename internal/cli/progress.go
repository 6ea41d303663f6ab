// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/transfer"
)

// worthALine is the size in bytes from which a blob gets a bar or a line of
// its own.
const worthALine = 1 << 20

// progress shows a transfer on stderr: bars on a terminal, else a line for
// each large blob and one at the end.
type progress struct {
	a    *app
	plan *transfer.Plan
	bars *bars

	began   time.Time
	mu      sync.Mutex
	sent    int
	bytes   int64
	mounted int
	existed int
	stopped bool
}

// showProgress makes o tell what happens; start and stop say when to show it.
func (a *app) showProgress(o *transfer.Options) *progress {
	p := &progress{a: a, began: time.Now(), stopped: true}
	if !a.quiet {
		o.Progress = p.event
	}
	return p
}

func (p *progress) start(plan *transfer.Plan) {
	p.plan, p.stopped = plan, p.a.quiet
	if f, ok := p.a.Err.(*os.File); ok && !p.a.quiet && term.IsTerminal(int(f.Fd())) && p.a.Getenv("TERM") != "dumb" && plan.Totals().Bytes > 0 {
		p.bars = newBars(f, plan.Totals().Bytes, p.a.Getenv("NO_COLOR") == "")
		p.a.bars = p.bars
	}
}

func (p *progress) event(e transfer.Event) {
	if p.bars != nil {
		p.bars.event(e)
	}
	if e.Kind == transfer.Bytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Kind != transfer.Ended || e.Err != nil {
		return
	}
	switch e.How {
	case oci.Sent:
		p.sent++
		p.bytes += e.Step.Size
	case oci.Mounted:
		p.mounted++
	default:
		p.existed++
	}
	if p.bars == nil && e.Step.Size >= worthALine {
		p.a.note("%s %s %s", e.How, short(string(e.Step.Digest)), size(e.Step.Size))
	}
}

// stop takes the bars away and says in a line what happened.
func (p *progress) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	if p.bars != nil {
		p.a.bars = nil
		p.bars.stop()
	}
	t := p.plan.Totals()
	s := fmt.Sprintf("%s: %s moved (%s), %d mounted, %d there, %s", count(t.Images, "image"), size(p.bytes), count(p.sent, "object"),
		p.mounted, p.existed+t.Skipped, time.Since(p.began).Round(10*time.Millisecond))
	if t.Unchanged == t.Images {
		s = fmt.Sprintf("%s unchanged, nothing to move", count(t.Images, "image"))
	}
	p.a.note("%s", s)
}

// bars are the progress bars of a run: one for all, and one for each large
// blob that is moving.
type bars struct {
	p     *mpb.Progress
	total *mpb.Bar
	color bool

	mu   sync.Mutex
	each map[*transfer.Step]*mpb.Bar
}

func newBars(f *os.File, total int64, color bool) *bars {
	b := &bars{p: mpb.New(mpb.WithOutput(f), mpb.WithWidth(30), mpb.WithRefreshRate(120*time.Millisecond)), color: color, each: map[*transfer.Step]*mpb.Bar{}}
	b.total = b.bar("total", total, mpb.BarPriority(1<<30))
	return b
}

func (b *bars) bar(name string, total int64, more ...mpb.BarOption) *mpb.Bar {
	return b.p.New(total, mpb.BarStyle().Lbound("").Rbound("").Filler("━").Tip("━").Padding("·"), append(more,
		mpb.PrependDecorators(decor.Name(name, decor.WC{W: 20, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.CountersKiloByte("% .1f / % .1f", decor.WC{W: 20}), decor.AverageSpeed(decor.SizeB1000(0), " % .1f", decor.WC{W: 12})))...)
}

func (b *bars) event(e transfer.Event) {
	b.mu.Lock()
	bar := b.each[e.Step]
	switch e.Kind {
	case transfer.Began:
		if e.Step.Op == transfer.Put && e.Step.Size >= worthALine {
			bar = b.bar(short(string(e.Step.Digest)), e.Step.Size, mpb.BarRemoveOnComplete())
			b.each[e.Step] = bar
		}
	case transfer.Ended:
		delete(b.each, e.Step)
	}
	b.mu.Unlock()
	switch e.Kind {
	case transfer.Bytes:
		b.total.IncrBy(e.N)
		if bar != nil {
			bar.IncrBy(e.N)
		}
	case transfer.Ended:
		if bar != nil {
			bar.Abort(true)
		}
	}
}

// print writes a line above the bars.
func (b *bars) print(s string) { fmt.Fprintln(b.p, s) }

func (b *bars) stop() {
	b.total.Abort(true)
	b.p.Wait()
}
