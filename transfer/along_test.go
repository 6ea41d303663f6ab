// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"testing"

	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

// What goes along is there before the tag, also where the tag is unchanged,
// unless the caller knows better.
func TestAlong(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 100)
	bill := ocitest.Artifact(2, "application/x", &f.Root)
	doc := bill.Root
	f.Blobs = append(f.Blobs, bill.Blobs...)
	from := stocked(t, f)
	to := repo(t, mem.New(), "to")
	j := job(from, string(f.Root.Digest), to, "1")
	must(t, transfer.Options{}, j)
	wantAbsent(t, to, doc)

	j.Along, j.AlongKnown = []transfer.Companion{{Descriptor: doc, Tag: "bill"}}, true
	if p := must(t, transfer.Options{}, j); !p.Images[0].Unchanged {
		t.Error("not unchanged")
	}
	wantAbsent(t, to, doc)

	j.AlongKnown = false
	must(t, transfer.Options{}, j)
	wantTag(t, to, "bill", doc.Digest)

	fresh := repo(t, mem.New(), "to")
	j.To, j.AlongKnown = fresh, true
	p := must(t, transfer.Options{}, j)
	wantTag(t, fresh, "bill", doc.Digest)
	last := p.Steps[len(p.Steps)-1]
	if last.Op != transfer.Tag || last.Name != "1" {
		t.Errorf("the last step is %+v", last)
	}
}
