// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

// What the caller has sent to the destination is a step that is done, told of as
// any other, once; if it is not there after all it is sent.
func TestSentByCaller(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(7, 2, 3<<20)
	for name, there := range map[string]bool{"there": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := stocked(t, f), repo(t, mem.New(), "app")
			first := f.Layers()[0]
			if there {
				put(t, to, first)
			}
			var seen events
			var jobs []transfer.Job
			for _, tag := range []string{"1", "2"} {
				j := job(from, "v1", to, tag)
				j.Sent = func(d oci.Digest) bool { return d == first.Descriptor().Digest }
				jobs = append(jobs, j)
			}
			p := must(t, transfer.Options{Progress: seen.watch}, jobs...)
			seen.check(t, p)
			wantSame(t, to, f)
			n := 0
			for _, s := range p.Steps {
				if s.Digest == first.Descriptor().Digest && s.Op == transfer.Put && (s.Why == "sent") == there {
					n++
				}
			}
			if got := p.Totals(); n != 1 || got.Bytes < layerBytes(f) || got.Saved > 0 || p.Moved() != layerBytes(f) {
				t.Errorf("%d steps: %+v, %d moved of %d", n, got, p.Moved(), layerBytes(f))
			}
		})
	}
}
