// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// usrMerged is a base as most are.
func usrMerged() [][]rec {
	return [][]rec{
		{dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib"), symlink("bin", "/usr/bin"), dir("usr/bin"), dir("var"), symlink("var/run", "/run"), symlink("var/lock", "../run/lock"),
			dir("etc"), file("etc/passwd", "root"), file("usr/lib/os", ""), symlink("usr/loop", "loop"), dir("opt"), symlink("opt/app", "nothing/../../lib/app"), dir("home"), dir("home/me")},
		{file("home/.wh.me", ""), dir("opt/real"), symlink("opt/up", "../../../../etc"), symlink("srv", "opt/real/../far"), dir("App"), symlink("app", "opt/real")},
	}
}

// asked are the blobs of layers, which count how often they are opened.
func asked(t testing.TB, layers ...[]rec) (counted []*askedBlob, all []oci.Blob) {
	t.Helper()
	for _, b := range blobs(t, layers...) {
		a := &askedBlob{Blob: b}
		counted, all = append(counted, a), append(all, a)
	}
	return counted, all
}

func opened(blobs []*askedBlob) (n int) {
	for _, b := range blobs {
		n += int(b.n.Load())
	}
	return n
}

func TestBaseDir(t *testing.T) {
	t.Parallel()
	_, layers := asked(t, usrMerged()...)
	base := layer.NewBase(layers, layer.BaseOptions{Deep: true})
	for _, test := range []struct {
		dir, path string
		there     layer.There
	}{
		{".", ".", layer.Present},
		{"usr/lib", "usr/lib", layer.Present},
		{"lib", "usr/lib", layer.Present},
		{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", layer.Absent},
		{"bin", "usr/bin", layer.Present},
		{"var/run", "run", layer.Absent},         // dangling: what would be there
		{"var/run/app", "run/app", layer.Absent}, //
		{"var/lock/a/b", "run/lock/a/b", layer.Absent},
		{"var/new", "var/new", layer.Absent},
		{"opt/app/x", "usr/lib/app/x", layer.Absent}, // through what is not there to a link that is
		{"opt/up", "etc", layer.Present},             // no higher than the root
		{"srv", "opt/far", layer.Absent},             // "real" is there
		{"etc/passwd", "etc/passwd", layer.Blocked},
		{"etc/passwd/x/y", "etc/passwd/x/y", layer.Blocked},
		{"home", "home", layer.Present},
		{"home/me", "home/me", layer.Absent}, // whited out
		{"app/x", "opt/real/x", layer.Absent},
		{"App", "App", layer.Present},
		{"new/dir", "new/dir", layer.Absent},
	} {
		got, err := base.Dir(ctx(t), test.dir)
		if want := (layer.Place{Path: test.path, There: test.there}); err != nil || got != want {
			t.Errorf("%s: got %v %v, want %v", test.dir, got, err, want)
		}
	}
	if _, err := base.Dir(ctx(t), "usr/loop/x"); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), `"usr/loop/x"`) {
		t.Errorf("a link to itself: %v", err)
	}
}

// Nothing is read before it has to be, and then once.
func TestBaseReads(t *testing.T) {
	t.Parallel()
	unknown := func(dir string) layer.Place { return layer.Place{Path: dir} }
	foreign := func(b []oci.Blob) []oci.Blob {
		d := b[0].Descriptor()
		d.MediaType = oci.MediaDockerForeign
		return []oci.Blob{typed{b[0], d}, b[1]}
	}
	for name, test := range map[string]struct {
		o      layer.BaseOptions
		change func([]oci.Blob) []oci.Blob
		dir    string
		want   layer.Place
		reads  int
	}{
		"root":             {dir: ".", want: layer.Place{Path: ".", There: layer.Present}},
		"fresh":            {dir: "app/x", want: unknown("app/x")},
		"fresh, taken":     {o: layer.BaseOptions{Taken: func(top string) bool { return top == "app" }}, dir: "App/x", want: layer.Place{Path: "App/x", There: layer.Absent}, reads: 2},
		"fresh, not taken": {o: layer.BaseOptions{Taken: func(top string) bool { return top != "app" }}, dir: "app/x", want: unknown("app/x")},
		"fresh, hidden":    {dir: ".config", want: unknown(".config")},
		"fresh, deep":      {o: layer.BaseOptions{Deep: true}, dir: "app/x", want: layer.Place{Path: "opt/real/x", There: layer.Absent}, reads: 2},
		"usual":            {dir: "lib/x", want: layer.Place{Path: "usr/lib/x", There: layer.Absent}, reads: 2},
		"usual, other":     {dir: "lib32/x", want: layer.Place{Path: "lib32/x", There: layer.Absent}, reads: 2},
		"usual, merged":    {dir: "bin.usr-is-merged", want: layer.Place{Path: "bin.usr-is-merged", There: layer.Absent}, reads: 2},
		"usual, letters":   {dir: "Home", want: layer.Place{Path: "Home", There: layer.Absent}, reads: 2},
		"usual, blind":     {o: layer.BaseOptions{Blind: true}, dir: "lib/x", want: unknown("lib/x")},
		"blind and deep":   {o: layer.BaseOptions{Blind: true, Deep: true}, dir: "lib/x", want: unknown("lib/x")},
		"root, blind":      {o: layer.BaseOptions{Blind: true}, dir: ".", want: layer.Place{Path: ".", There: layer.Present}},
		"foreign":          {change: foreign, dir: "lib/x", want: unknown("lib/x")},
		"foreign, deep":    {o: layer.BaseOptions{Deep: true}, change: foreign, dir: "lib/x", want: unknown("lib/x")},
		"scratch":          {change: func([]oci.Blob) []oci.Blob { return nil }, dir: "lib/x", want: layer.Place{Path: "lib/x", There: layer.Absent}},
		"scratch, fresh":   {change: func([]oci.Blob) []oci.Blob { return nil }, dir: "app", want: layer.Place{Path: "app", There: layer.Absent}},
		"scratch, root":    {change: func([]oci.Blob) []oci.Blob { return nil }, dir: ".", want: layer.Place{Path: ".", There: layer.Present}},
		"the same 2 times": {change: func(b []oci.Blob) []oci.Blob { return append(b, b[0]) }, dir: "lib/x", want: layer.Place{Path: "usr/lib/x", There: layer.Absent}, reads: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counted, layers := asked(t, usrMerged()...)
			if test.change != nil {
				layers = test.change(layers)
			}
			test.o.Outlines = &layer.Outlines{Dir: t.TempDir()}
			base := layer.NewBase(layers, test.o)
			again := layer.NewBase(layers, test.o)
			for _, b := range []*layer.Base{base, base, again} {
				if got, err := b.Dir(ctx(t), test.dir); err != nil || got != test.want {
					t.Errorf("got %v %v, want %v", got, err, test.want)
				}
			}
			if n := opened(counted); n != test.reads || len(base.Read()) != test.reads || len(again.Read()) != 0 {
				t.Errorf("%d layers were opened, said to be %v and %v", n, base.Read(), again.Read())
			}
		})
	}
}

type typed struct {
	oci.Blob
	d oci.Descriptor
}

func (b typed) Descriptor() oci.Descriptor { return b.d }

// The same inputs give the same layer: an answer does not depend on what has
// been kept or asked before.
func TestBaseIsRepeatable(t *testing.T) {
	t.Parallel()
	dirs := []string{"app/x", "lib/x", "new", "App", "var/run", "."}
	cache := &layer.Outlines{Dir: t.TempDir()}
	_, layers := asked(t, usrMerged()...)
	var want []layer.Place
	for round := range 3 {
		o := layer.BaseOptions{}
		if round == 1 {
			o.Outlines = cache
			for _, b := range layers {
				if _, err := cache.Of(ctx(t), b); err != nil {
					t.Fatal(err)
				}
			}
		}
		base := layer.NewBase(layers, o)
		got := make([]layer.Place, len(dirs))
		for i := range dirs {
			if round == 2 {
				i = len(dirs) - 1 - i
			}
			var err error
			if got[i], err = base.Dir(ctx(t), dirs[i]); err != nil {
				t.Fatal(err)
			}
		}
		if round == 0 {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("round %d: got %v, want %v", round, got, want)
		}
	}
}

// Many ask at once; one who goes away takes nothing from the others, and a
// layer that could not be read is read again.
func TestBaseTogether(t *testing.T) {
	t.Parallel()
	counted, layers := asked(t, usrMerged()...)
	fail := true
	counted[1].open = func(context.Context) error {
		if fail {
			return oci.Errorf(oci.ErrBusy, "not now")
		}
		return nil
	}
	base := layer.NewBase(layers, layer.BaseOptions{Outlines: &layer.Outlines{Dir: t.TempDir()}})
	if _, err := base.Dir(ctx(t), "lib"); !errors.Is(err, oci.ErrBusy) {
		t.Errorf("got %v", err)
	}
	fail = false
	gone, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := base.Dir(gone, "lib"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if p, err := base.Dir(ctx(t), "lib"); err != nil || p.Path != "usr/lib" {
				t.Errorf("got %v %v", p, err)
			}
			if _, err := base.Tree(ctx(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := counted[1].n.Load(); n != 2 {
		t.Errorf("opened %d times", n)
	}
	all, err := base.Outlines(ctx(t))
	if err != nil || len(all) != 2 || all[0].Layer != layers[0].Descriptor().Digest {
		t.Errorf("got %v %v", all, err)
	}
}

// A layer with a table of contents is not read for its names.
func TestBaseOfTables(t *testing.T) {
	t.Parallel()
	n := 0
	base := layer.NewBase([]oci.Blob{rangeCounting{tocForms(t)["zstd"], &n}}, layer.BaseOptions{Deep: true})
	if p, err := base.Dir(ctx(t), "dir"); err != nil || p.There != layer.Present || n != 0 || len(base.Read()) != 0 {
		t.Errorf("got %v %v, read %d times", p, err, n)
	}
}

// A place is where a file that is put there shows up in the tree, whatever the
// base is.
func TestBaseIsTree(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 60 {
		layers := randomLayers(rnd)
		base := layer.NewBase(blobs(t, layers...), layer.BaseOptions{Deep: true})
		before, err := base.Tree(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			c := coder{[]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}}
			dir := c.path()
			p, err := base.Dir(ctx(t), dir)
			if err != nil {
				if _, err := treeOf(t, append(slices.Clone(layers), []rec{file(dir+"/new", "")})...); err == nil {
					t.Fatalf("%s\n%s: refused", show(layers), dir)
				}
				continue
			}
			if _, n, err := before.Lookup(p.Path); (p.There == layer.Present) != (err == nil && n.Kind == layer.Dir) {
				t.Fatalf("%s\n%s: %v, there is %v", show(layers), dir, p, err)
			}
			if real, n, err := before.Follow(dir); err == nil && n.Kind == layer.Dir && real != p.Path {
				t.Fatalf("%s\n%s: %v, but it is %s", show(layers), dir, p, real)
			}
			// No link is on the way: a file that is put there stays there.
			after, err := treeOf(t, append(slices.Clone(layers), []rec{file(path.Join(p.Path, "new"), "")})...)
			if err != nil {
				t.Fatal(err)
			}
			if _, n, err := after.Lookup(path.Join(p.Path, "new")); err != nil || n.Name != path.Join(p.Path, "new") {
				t.Fatalf("%s\n%s: %v, the file is not there: %v", show(layers), dir, p, err)
			}
		}
	}
}

// Links of a base lead nowhere but into it, and to the end of what it has.
func TestBad_059_BaseLinksStayInside(t *testing.T) {
	t.Parallel()
	_, layers := asked(t, []rec{symlink("usr", "/../../.."), symlink("etc", "../../var/./x/.."), dir("var"), symlink("a", "b"), symlink("b", "a"), symlink("tmp", strings.Repeat("../", 1000)+"var")})
	base := layer.NewBase(layers, layer.BaseOptions{Deep: true})
	for dir, want := range map[string]string{"usr/etc": "var", "usr/usr/usr": ".", "etc": "var", "etc/..": ".", "tmp": "var"} {
		if p, err := base.Dir(ctx(t), dir); err != nil || p.Path != want {
			t.Errorf("%s: got %v %v", dir, p, err)
		}
	}
	if _, err := base.Dir(ctx(t), "a/x"); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	long := layer.NewBase(blobs(t, []rec{symlink("l", strings.Repeat("x/", 1500)+"l2"), symlink(strings.Repeat("x/", 1500)+"l2", "y/"+strings.Repeat("z/", 1500))}), layer.BaseOptions{Deep: true})
	if _, err := long.Dir(ctx(t), "l"); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a path that is too long: %v", err)
	}
}

// A tar that does not know of a base's links leaves them as they are.
func TestBaseUnderRewrite(t *testing.T) {
	t.Parallel()
	base := layer.NewBase(blobs(t, usrMerged()...), layer.BaseOptions{})
	var out bytes.Buffer
	in := tarOf(t, dir("lib"), file("lib/x86_64-linux-gnu/x", "x"), file("var/run/pid", ""), file("fresh/x", ""))
	if _, err := layer.Rewrite(ctx(t), &out, bytes.NewReader(in), layer.RewriteOptions{Ground: base}); err != nil {
		t.Fatal(err)
	}
	tree, err := base.Tree(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	_, before, err := tree.Lookup("lib")
	if err != nil {
		t.Fatal(err)
	}
	after := mustTree(t, append(usrMerged(), untar(t, out.Bytes()))...)
	if _, n, err := after.Lookup("lib"); err != nil || n.Kind != layer.Symlink || n.Link != before.Link {
		t.Errorf("lib is %v %v", n, err)
	}
	for _, name := range []string{"usr/lib/x86_64-linux-gnu/x", "run/pid", "fresh/x"} {
		if got, _, err := after.Lookup(name); err != nil || got != name {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
}
