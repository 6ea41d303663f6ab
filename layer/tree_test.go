// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func treeOf(t testing.TB, layers ...[]rec) (*layer.Tree, error) {
	t.Helper()
	tree := layer.NewTree(layer.Limits{})
	for _, l := range layers {
		if err := tree.Apply(reader(tarOf(t, l...))); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

func mustTree(t testing.TB, layers ...[]rec) *layer.Tree {
	t.Helper()
	tree, err := treeOf(t, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// names are the paths of a tree, without the root.
func names(tree *layer.Tree) string {
	var out []string
	for p, n := range tree.All(".") {
		if n.Kind == layer.Dir {
			p += "/"
		}
		out = append(out, p)
	}
	return strings.Join(out, " ")
}

func TestTree(t *testing.T) {
	t.Parallel()
	base := []rec{dir("a"), file("a/x", "1"), file("a/y", "2"), symlink("l", "/a"), file("z", "3")}
	for name, test := range map[string]struct {
		layers [][]rec
		want   string
	}{
		"one":                    {[][]rec{base}, "a/ a/x a/y l z"},
		"whiteout":               {[][]rec{base, {file("a/.wh.x", "")}}, "a/ a/y l z"},
		"whiteout of nothing":    {[][]rec{base, {file("q/r/.wh.x", "")}}, "a/ a/x a/y l z"},
		"whiteout of a tree":     {[][]rec{base, {file(".wh.a", "")}}, "l z"},
		"whiteout through link":  {[][]rec{base, {file("l/.wh.x", "")}}, "a/ a/y l z"},
		"whiteout of a link":     {[][]rec{base, {file(".wh.l", "")}}, "a/ a/x a/y z"},
		"own file, whiteout 1st": {[][]rec{base, {file("a/.wh.x", ""), file("a/x", "new")}}, "a/ a/x a/y l z"},
		"own file, whiteout 2nd": {[][]rec{base, {file("a/x", "new"), file("a/.wh.x", "")}}, "a/ a/x a/y l z"},
		"own tree, whiteout 2nd": {[][]rec{base, {file("a/n", "new"), file(".wh.a", "")}}, "a/ a/n l z"},
		"opaque":                 {[][]rec{base, {file("a/.wh..wh..opq", ""), file("a/n", "")}}, "a/ a/n l z"},
		"opaque last":            {[][]rec{base, {file("a/n", ""), file("a/.wh..wh..opq", "")}}, "a/ a/n l z"},
		"opaque through link":    {[][]rec{base, {file("l/.wh..wh..opq", "")}}, "a/ l z"},
		"opaque where link was":  {[][]rec{base, {dir("l"), file("l/.wh..wh..opq", "")}}, "a/ a/x a/y l/ z"},
		"opaque root":            {[][]rec{base, {file("n", ""), file(".wh..wh..opq", "")}}, "n"},
		"opaque, then a layer":   {[][]rec{base, {file("a/.wh..wh..opq", "")}, {file("a/m", "")}}, "a/ a/m l z"},
		"file below a link":      {[][]rec{base, {file("l/n", "")}}, "a/ a/n a/x a/y l z"},
		"directory over link":    {[][]rec{base, {dir("l"), file("l/n", "")}}, "a/ a/x a/y l/ l/n z"},
		"file over directory":    {[][]rec{base, {file("a", "")}}, "a l z"},
		"directory over file":    {[][]rec{base, {dir("z")}}, "a/ a/x a/y l z/"},
		"made over file":         {[][]rec{base, {file("z/n", "")}}, "a/ a/x a/y l z/ z/n"},
		"missing parents":        {[][]rec{{file("p/q/r", "")}}, "p/ p/q/ p/q/r"},
		"order":                  {[][]rec{{file("b/x", ""), file("b-", ""), file("b.", "")}}, "b/ b/x b- b."},
		"aufs":                   {[][]rec{{file(".wh..wh.aufs", ""), file(".wh..wh.plnk/1.2", ""), file("x", "")}}, "x"},
		"names":                  {[][]rec{{file("./x", ""), file("//y", ""), dir("./"), dir("z/"), file("a//b/./c/../d", "")}}, "a/ a/b/ a/b/d x y z/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := mustTree(t, test.layers...)
			got := strings.Fields(names(tree))
			want := strings.Fields(test.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTreeOrder(t *testing.T) {
	t.Parallel()
	tree := mustTree(t, []rec{file("b/x", ""), file("b-", ""), file("a", ""), file("b/a/c", "")})
	if got, want := names(tree), "a b/ b/a/ b/a/c b/x b-"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTreeLookup(t *testing.T) {
	t.Parallel()
	tree := mustTree(t, []rec{dir("a"), file("a/x", "1"), symlink("l", "/a/./b/.."), symlink("a/up", "../l/x"), symlink("o", "o"), dir("a/b"),
		symlink("way/out", "../../../../l"), symlink("gone", "a/nothing")})
	for _, test := range []struct{ name, lookup, follow string }{
		{"a/x", "a/x", "a/x"},
		{"/l/x", "a/x", "a/x"},
		{"l", "l", "a"},
		{"l/", "l", "a"},
		{"a/up", "a/up", "a/x"},
		{"way/out/up", "a/up", "a/x"},
		{".", ".", "."},
		{"", ".", "."},
		{"/", ".", "."},
		{"a/b/../x", "a/x", "a/x"},
		{"a/..", ".", "."},
		{"../../a", "a", "a"},
		{"o", "o", "!invalid"},
		{"o/x", "!invalid", "!invalid"},
		{"gone", "gone", "!not found"},
		{"a/x/y", "!not found", "!not found"},
		{"q", "!not found", "!not found"},
	} {
		try := func(f func(string) (string, *layer.Node, error), want string) {
			t.Helper()
			got, n, err := f(test.name)
			switch {
			case want == "!invalid" && errors.Is(err, oci.ErrInvalid), want == "!not found" && errors.Is(err, oci.ErrNotFound):
			case err != nil || got != want || n.Name != want:
				t.Errorf("%q: got %q %v, want %s", test.name, got, err, want)
			}
		}
		try(tree.Lookup, test.lookup)
		try(tree.Follow, test.follow)
	}
}

func TestTreeIsModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		b := make([]byte, rnd.IntN(120))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		checkModel(t, b)
	}
}

// FuzzWhiteout compares the tree with a model that is too simple to be wrong.
func FuzzWhiteout(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x08\x00\x00\x06"))
	f.Add([]byte("abcabcabcabcabcabcabcabc"))
	f.Add([]byte{0, 2, 1, 1, 0, 0, 0, 8, 0, 1, 0, 7, 0, 1, 2, 1, 1, 0, 4, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 400 {
			checkModel(t, b)
		}
	})
}

func checkModel(t *testing.T, b []byte) {
	layers := (&coder{b}).layers(6)
	m, tree := newModel(), layer.NewTree(layer.Limits{})
	for _, l := range layers {
		ok := m.apply(l)
		err := tree.Apply(reader(tarOf(t, l...)))
		if ok != (err == nil) || err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatalf("%q: model %v, tree %v\n%s", b, ok, err, show(layers))
		}
		if !ok {
			return
		}
		if want, got := m.list(), listTree(tree); !slices.Equal(want, got) {
			t.Fatalf("%q\n%s\ntree\n %s\nmodel\n %s", b, show(layers), strings.Join(got, "\n "), strings.Join(want, "\n "))
		}
	}
}

func show(layers [][]rec) string {
	var b strings.Builder
	for _, l := range layers {
		b.WriteString("layer\n")
		for _, r := range l {
			b.WriteString(" " + string(r.Typeflag) + " " + r.Name + " -> " + r.Linkname + "\n")
		}
	}
	return b.String()
}

func readAll(r *layer.Reader) ([]*layer.Entry, error) {
	var out []*layer.Entry
	for {
		e, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}
