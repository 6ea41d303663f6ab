// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/transfer"
)

// worthALine is the size in bytes from which a blob gets a bar or a line of
// its own.
const worthALine = 1 << 20

// pulse is how often a line says how far a run is, where there are no bars.
const pulse = 15 * time.Second

// progress shows a transfer on stderr: bars on a terminal, else a line for
// each large blob and one at the end.
type progress struct {
	a    *app
	plan *transfer.Plan
	bars *bars

	several bool // repositories are moved to

	began   time.Time
	mu      sync.Mutex
	told    time.Time // when the last line about all was printed
	moved   int64     // bytes, as far as they had to
	sent    int
	bytes   int64 // of what was sent, whole
	mounted int
	existed int
	stopped bool
}

// showProgress makes o tell what happens; start and finish say when to show it.
func (a *app) showProgress(o *transfer.Options) *progress {
	p := &progress{a: a, began: time.Now(), stopped: true}
	if !a.quiet {
		o.Progress = p.event
	}
	return p
}

func (p *progress) start(plan *transfer.Plan) {
	p.plan, p.told, p.stopped = plan, time.Now(), p.a.quiet
	p.several = slices.ContainsFunc(plan.Images, func(i *transfer.Image) bool { return repository(i.To) != repository(plan.Images[0].To) })
	if f, ok := p.a.Err.(*os.File); ok && !p.a.quiet && isTerminal(f) && p.a.Getenv("TERM") != "dumb" && plan.Totals().Bytes > 0 {
		p.bars = newBars(f, plan.Totals())
		p.a.bars = p.bars
	}
}

func (p *progress) event(e transfer.Event) {
	if p.bars != nil {
		p.bars.event(e)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Kind == transfer.Bytes {
		p.moved += int64(e.N)
		if now := time.Now(); p.bars == nil && p.plan != nil && now.Sub(p.told) >= pulse {
			p.told = now
			t := p.plan.Totals()
			p.a.note("%s of %s moved, %d of %d objects", size(p.moved), size(t.Bytes), p.sent+p.mounted, t.Put+t.Mounted)
		}
		return
	}
	if e.Kind != transfer.Ended || e.Err != nil {
		return
	}
	switch e.How {
	case oci.Sent:
		if p.sent++; oci.IsManifest(e.Step.MediaType) {
			p.moved += e.Step.Size
		}
		p.bytes += e.Step.Size
	case oci.Mounted:
		p.mounted++
	default:
		p.existed++
	}
	if p.bars == nil && e.Step.Size >= worthALine {
		p.a.note("%s %s %s%s", e.How, short(string(e.Step.Digest)), size(e.Step.Size), p.where(e.Step))
	}
}

// where says which of several repositories a step is for.
func (p *progress) where(s *transfer.Step) string {
	if !p.several || s.Image >= len(p.plan.Images) {
		return ""
	}
	return " to " + repository(p.plan.Images[s.Image].To)
}

// repository is the repository of a reference, or what else it is in.
func repository(name string) string {
	r, err := ref.ParseAny(name)
	if err != nil {
		return name
	}
	return r.Repo().String()
}

// finish takes the bars away and says in a line what happened; nothing if
// nothing was sent before an error, or if the user did not want to wait.
func (p *progress) finish(err error) {
	if p.stopped {
		return
	}
	p.stopped = true
	if p.bars != nil {
		p.a.bars = nil
		p.bars.stop()
	}
	t := p.plan.Totals()
	done := transfer.Totals{Images: t.Images, Put: p.sent, Bytes: min(p.bytes, p.moved), Mounted: p.mounted, Skipped: p.existed + t.Skipped}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errInterrupted):
		return
	case p.sent+p.mounted > 0:
	case t.Images == 0: // there was nowhere to move to
		return
	case t.Unchanged == t.Images:
		p.a.note("%s unchanged, nothing to move", images(p.plan))
		return
	case err != nil || t.Put+t.Mounted == 0: // others say what there is to say
		return
	}
	more := ""
	if err != nil {
		more = ", with errors"
	}
	p.a.note("%s in %s%s", summary(p.plan, done, "moved", "mounted"), time.Since(p.began).Round(10*time.Millisecond), more)
}

// bars are the progress bars of a run: one for all, and one for each large
// blob that is moving.
type bars struct {
	p     *mpb.Progress
	total *mpb.Bar
	done  atomic.Int64 // objects

	mu   sync.Mutex
	each map[*transfer.Step]*mpb.Bar
}

func newBars(f *os.File, t transfer.Totals) *bars {
	b := &bars{p: mpb.New(mpb.WithOutput(f), mpb.WithWidth(30), mpb.WithRefreshRate(120*time.Millisecond)), each: map[*transfer.Step]*mpb.Bar{}}
	b.total = b.bar(func(decor.Statistics) string { return fmt.Sprintf("%d of %d objects", b.done.Load(), t.Put+t.Mounted) }, t.Bytes, mpb.BarPriority(1<<30))
	return b
}

func (b *bars) bar(name func(decor.Statistics) string, total int64, more ...mpb.BarOption) *mpb.Bar {
	return b.p.New(total, mpb.BarStyle().Lbound("").Rbound("").Filler("━").Tip("━").Padding("·"), append(more,
		mpb.PrependDecorators(decor.Any(name, decor.WC{W: 20, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(far, decor.WC{W: 20}), decor.Any(speed(time.Now()), decor.WC{W: 14})))...)
}

// far says how far a bar is; a total of 0 is not known.
func far(s decor.Statistics) string {
	if s.Total <= 0 {
		return size(s.Current)
	}
	return size(s.Current) + " / " + size(s.Total)
}

func speed(began time.Time) func(decor.Statistics) string {
	return func(s decor.Statistics) string {
		return " " + size(int64(float64(s.Current)/max(time.Since(began).Seconds(), 0.1))) + "/s"
	}
}

func (b *bars) event(e transfer.Event) {
	b.mu.Lock()
	bar := b.each[e.Step]
	switch e.Kind {
	case transfer.Began:
		if e.Step.Op == transfer.Put && e.Step.Size >= worthALine {
			name := short(string(e.Step.Digest))
			bar = b.bar(func(decor.Statistics) string { return name }, e.Step.Size, mpb.BarRemoveOnComplete())
			b.each[e.Step] = bar
		}
	case transfer.Ended:
		b.done.Add(1)
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

// isTerminal reports whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
