// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"errors"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

// Of a source that cannot do it in one step it takes two.
func TestGet(t *testing.T) {
	t.Parallel()
	s, err := mem.New().Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	f := ocitest.Image(1, 2, 10)
	if err := f.Push(t.Context(), s, "v1"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v1", string(f.Root.Digest)} {
		if m, err := oci.Get(t.Context(), s, name); err != nil || m.Descriptor.Digest != f.Root.Digest || len(m.Layers) != 2 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, err := oci.Get(t.Context(), s, "v2"); !errors.Is(err, oci.ErrNotFound) {
		t.Error(err)
	}
}
