// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func squash(t testing.TB, layers ...[]rec) ([]byte, error) {
	t.Helper()
	var out bytes.Buffer
	err := layer.Squash(t.Context(), &out, blobs(t, layers...), layer.Limits{})
	return out.Bytes(), err
}

// TestSquashIsTheSame: what the upper layers do together does what they did one
// after the other, whatever lies below them.
func TestSquashIsTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 1))
		raw := make([]byte, r.IntN(150))
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		checkSquash(t, raw, int(seed%4)+1)
	}
}

func FuzzSquash(f *testing.F) {
	f.Add([]byte("some bytes that become layers"), uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, below uint8) { checkSquash(t, raw, int(below%4)) })
}

func checkSquash(t *testing.T, raw []byte, below int) {
	all := (&coder{raw}).layers(5)
	below = min(below, len(all))
	for _, l := range all[:below] { // what a layer writes through a link that is below it is another question
		for i := range l {
			if l[i].Typeflag == tar.TypeSymlink {
				l[i].Typeflag, l[i].Linkname = tar.TypeReg, ""
			}
		}
	}
	_, layers := valid(all)
	upper, err := squash(t, layers[below:]...)
	if errors.Is(err, oci.ErrUnsupported) || errors.Is(err, oci.ErrInvalid) && strings.Contains(err.Error(), "too many links") {
		return // what is a circle of links in the upper layers alone need be none above others
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, show(layers))
	}
	again, err := squash(t, layers[below:]...)
	if err != nil || !bytes.Equal(upper, again) {
		t.Fatalf("not the same again: %v", err)
	}
	want := flattened(t, blobs(t, layers...))
	got := flattened(t, append(blobs(t, layers[:below]...), oci.Bytes(oci.MediaLayer, upper)))
	if !vague(want) && !slices.Equal(got, want) {
		for _, r := range untar(t, upper) {
			t.Logf("squashed: %c %s -> %s", r.Typeflag, r.Name, r.Linkname)
		}
		t.Fatalf("below %d\n%s\n got\n %s\nwant\n %s", below, show(layers), strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}

func flattened(t testing.TB, layers []oci.Blob) []string {
	t.Helper()
	var out bytes.Buffer
	if err := layer.Flatten(t.Context(), &out, layers, layer.FlattenOptions{}); err != nil {
		t.Fatal(err)
	}
	return listing(t, untar(t, out.Bytes()))
}

// vague reports whether there is an empty directory that no layer describes,
// which is there for some readers and not for others.
func vague(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		name, rest, _ := strings.Cut(s, " ")
		return strings.HasPrefix(rest, "5 755 ") && !slices.ContainsFunc(list, func(x string) bool { return strings.HasPrefix(x, name+"/") })
	})
}
