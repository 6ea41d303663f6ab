// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/layer"
)

// TestBad_064_ManyEntries: what is remembered of an image is bounded; beyond
// that the tree has the answer, and its limits.
func TestBad_064_ManyEntries(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1<<20+1)
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("d%d/ d%d/l->x", i, i))
	}
	for _, toc := range []string{"", "toc "} {
		_, i := picture(t, "etc/ etc/os=1 big="+large, toc+strings.Join(many, " "), "tmp/ tmp/x=1")
		for most, tree := range map[int64]bool{100_000: false, 20_000: true, 0: true} {
			f := i.Files(layer.Limits{})
			f.SetMost(most)
			for _, name := range []string{"etc/none", "etc/os", "d7/l", "big", "tmp/x"} {
				got, err := read(t, f, name)
				want := map[string]string{"etc/os": "1", "tmp/x": "1", "big": large}[name]
				if got != want || (err == nil) != (want != "") {
					t.Errorf("%d bytes, %s: %d bytes, %v", most, name, len(got), err)
				}
			}
			if f.HasTree() != tree || f.Kept() > most {
				t.Errorf("%d bytes: %d are kept, whole tree %v", most, f.Kept(), f.HasTree())
			}
		}
		f := i.Files(layer.Limits{Entries: 100})
		f.SetMost(20_000)
		_, err := read(t, f, "etc/os")
		if kind(err) != "invalid" {
			t.Errorf("more entries than allowed: %v", err)
		}
	}
}
