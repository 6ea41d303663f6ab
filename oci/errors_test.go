// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"errors"
	"testing"

	"github.com/dray-tools/dray/oci"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	if err := oci.Wrap("copy", "a", nil); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"a: not found":                         oci.Wrap("", "a", oci.ErrNotFound),
		"copy a: not found":                    oci.Wrap("copy", "a", oci.Wrap("", "a", oci.ErrNotFound)),
		"open a: not found":                    oci.Wrap("", "a", oci.Wrap("open", "a", oci.ErrNotFound)),
		"copy a: open: not found":              oci.Wrap("copy", "a", oci.Wrap("open", "", oci.ErrNotFound)),
		"a: b: not found":                      oci.Wrap("", "a", oci.Wrap("", "b", oci.ErrNotFound)),
		"copy a: open a: busy or out of reach": oci.Wrap("copy", "a", oci.Wrap("open", "a", oci.ErrBusy)),
	} {
		if err.Error() != want || !errors.Is(err, oci.ErrNotFound) && !errors.Is(err, oci.ErrBusy) {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
