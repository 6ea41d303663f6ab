// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// What a layer brings at its top is said in its history, also if the layer is
// only remembered.
func TestTopsAreRemembered(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"made":  {makeTar(t, entry{"app/x", []byte("x")}, entry{"opt/y", []byte("y")}, entry{"app/z", nil}), ": app, opt"},
		"as is": {packed(t, layer.Gzip, makeTar(t, entry{"./app/x", []byte("x")})), ": app"},
	} {
		for range 2 {
			l, err := maker(t, input.Options{CacheDir: cache}).Layer(t.Context(), input.File(inFile(t, c.raw)), input.Onto{}, nil)
			if err != nil || !strings.HasPrefix(l.CreatedBy, "file ") || !strings.HasSuffix(l.CreatedBy, c.want) {
				t.Errorf("%s: %v, %v", name, l, err)
			}
		}
	}
}

// Of a few names all are told.
func TestTopsAreBounded(t *testing.T) {
	t.Parallel()
	many := slices.Repeat([]entry{{}}, 12)
	for n := range many {
		many[n].name = string(rune('a' + n))
	}
	for want, list := range map[string][]entry{
		": a, b, c, d, e, f, g, h":    many[:8],
		": a, b, c, d, e, f, g, h, …": many,
		": a, …":                      {{"a", nil}, {"b, c", nil}, {"d", nil}},
		": …":                         {{strings.Repeat("a", 65), nil}},
	} {
		l, err := maker(t, input.Options{}).Layer(t.Context(), input.File(inFile(t, makeTar(t, list...))), input.Onto{}, nil)
		if err != nil || !strings.HasSuffix(l.CreatedBy, want) {
			t.Errorf("%s: %v, %v", want, l, err)
		}
	}
}

// What is no tar is called that, and a tar that is broken is not.
func TestNoTarIsCalledThat(t *testing.T) {
	t.Parallel()
	good := makeTar(t, entry{"app/x", bytes.Repeat([]byte("x"), 2000)})
	for name, c := range map[string]struct {
		raw []byte
		no  bool
	}{
		"text":        {[]byte("This is no tar.\n"), true},
		"long text":   {bytes.Repeat([]byte("This is no tar.\n"), 1000), true},
		"packed text": {packed(t, layer.Gzip, []byte("This is no tar.\n")), true},
		"zeros":       {make([]byte, 700), false},
		"cut":         {good[:1000], false},
		"cut gzip":    {packed(t, layer.Gzip, good)[:40], false},
	} {
		_, err := maker(t, input.Options{}).Layer(t.Context(), input.File(inFile(t, c.raw)), input.Onto{}, nil)
		if !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrCorrupt) || strings.HasSuffix(err.Error(), "it is no tar") != c.no {
			t.Errorf("%s: %v", name, err)
		}
	}
}
