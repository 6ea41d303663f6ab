// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"fmt"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// An index of as many entries as there may be takes seconds: with their square
// it would be minutes, and the test would not end.
func TestBad_013_LargeIndex(t *testing.T) {
	t.Parallel()
	s := shelf{}
	d := s.small("linux/amd64", 1)
	var children []oci.Descriptor
	var more []string
	for i := range oci.MaxFanOut {
		children = append(children, d)
		more = append(more, fmt.Sprintf(`"platform":{"os":"linux","architecture":"a%d"}`, i))
	}
	n, err := edit.Load(t.Context(), s, s.index(false, children, more...), edit.Options{Choose: func(oci.Descriptor) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	x := newIndex(t, false)
	take(t, x, n, edit.TakeOptions{})
	chosen, err := edit.Choice{All: true}.Among(descriptors(x))
	if err != nil {
		t.Fatal(err)
	}
	version := "1"
	if err := x.Change(edit.IndexChanges{EntryAnnotations: map[string]string{"a": "b"}, OSVersion: &version}, chosen); err != nil {
		t.Fatal(err)
	}
	chosen[0] = false
	if err := x.Retain(chosen); err != nil {
		t.Fatal(err)
	}
	seal(t, x)
}
