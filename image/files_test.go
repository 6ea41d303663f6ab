// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// TestOpen: what is found, and which layers were read whole for it.
func TestOpen(t *testing.T) {
	t.Parallel()
	base := "bin->usr/bin etc/ etc/os=base usr/ usr/bin/ usr/bin/sh=sh usr/lib/ usr/lib/x=old"
	for _, c := range []struct {
		name   string
		layers []string
		path   string
		want   string // content, or a kind of error
		whole  []int  // how often each layer was read
	}{
		{"top", []string{base, "etc/ etc/os=top"}, "/etc/os", "top", []int{0, 1}},
		{"middle", []string{base, "etc/ etc/os=mid", "tmp/ tmp/x=1"}, "etc/os", "mid", []int{0, 1, 1}},
		{"bottom", []string{base, "tmp/ tmp/x=1"}, "etc/os", "base", []int{1, 1}},
		{"bottom without parents", []string{"a/b/c=deep", "tmp/ tmp/x=1"}, "a/b/c", "deep", []int{1, 1}},
		{"nowhere", []string{base, "tmp/"}, "etc/none", "not found", []int{1, 1}},
		{"whiteout", []string{base, "etc/ etc/.wh.os"}, "etc/os", "not found", []int{0, 1}},
		{"whiteout of the directory", []string{base, ".wh.etc"}, "etc/os", "not found", []int{0, 1}},
		{"whiteout and a new one", []string{base, "etc/ etc/os=new etc/.wh.os"}, "etc/os", "new", []int{0, 1}},
		{"opaque", []string{base, "etc/ etc/other=1 etc/.wh..wh..opq"}, "etc/os", "not found", []int{0, 1}},
		{"opaque root", []string{base, "./ .wh..wh..opq"}, "etc/os", "not found", []int{0, 1}},
		{"opaque and a new one", []string{base, "etc/ etc/os=new etc/.wh..wh..opq"}, "etc/os", "new", []int{0, 1}},
		{"parent replaced by a file", []string{base, "etc=file"}, "etc/os", "not found", []int{0, 1}},
		{"a directory", []string{base, "tmp/"}, "usr/bin", "invalid", []int{1, 1}},
		{"the root", []string{base, "tmp/"}, "/", "invalid", []int{0, 0}},
		{"a device", []string{base, "null"}, "null", "invalid", []int{0, 1}},
		{"through a link", []string{base, "tmp/"}, "bin/sh", "sh", []int{2, 1}},
		{"links", []string{"a->b b->/c c->d/../e e=end d/"}, "a", "end", []int{3}},
		{"links within a directory", []string{"x/ x/a->../y y->x/z x/z=end"}, "x/a", "end", []int{2}},
		{"out of the root", []string{"x/ x/a->../../../y y=in"}, "x/a", "in", []int{2}},
		{"circle", []string{"a->b b->a"}, "a", "invalid", []int{1}},
		{"to nothing", []string{"a->b"}, "a", "not found", []int{1}},
		{"link above a directory", []string{"etc/ etc/os=old", "etc->usr usr/ usr/os=new"}, "etc/os", "new", []int{0, 2}},
		{"directory above a link", []string{"lib->usr usr/ usr/x=old", "lib/ lib/y=new"}, "lib/x", "not found", []int{1, 1}},
		{"through the link of a lower layer", []string{"lib->usr usr/ usr/x=old", "lib/x=new"}, "usr/x", "new", []int{1, 3}},
		{"that and a real one above", []string{"lib->usr usr/ usr/x=old", "lib/x=mid", "usr/ usr/x=new"}, "lib/x", "new", []int{1, 2, 3}},
		{"hard link", []string{"a=1 b=>a"}, "b", "1", []int{2}},
		{"hard link to a lower layer", []string{"a=1", "b=>a", "a=2"}, "b", "1", []int{1, 1, 1}},
		{"the other name has changed", []string{"a=1 b=>a", "a=2"}, "b", "1", []int{2, 1}},
		{"twice", []string{"a=1 a=2"}, "a", "2", []int{3}},
		{"twice, the first large", []string{"a=" + strings.Repeat("1", 1<<20+1) + " a=2"}, "a", "not supported", []int{2}},
		{"a directory through a link above", []string{"usr/ usr/x=low", "lib->usr", "lib/x/y/z=new"}, "usr/x", "invalid", []int{1, 1, 2}},
		{"in the place of a file", []string{"a=1 b/", "l->a", "l/x=2"}, "a", "invalid", []int{2, 2, 2}},
		{"table", []string{"toc " + base, "toc etc/ etc/x=1", "toc tmp/ tmp/os=1"}, "etc/os", "base", []int{0, 0, 0}},
		{"table and a link", []string{"toc " + base, "toc tmp/"}, "bin/sh", "sh", []int{0, 0}},
		{"table above", []string{base, "toc etc/ etc/os=new"}, "etc/os", "new", []int{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			src, i := picture(t, c.layers...)
			got, err := read(t, i.Files(layer.Limits{}), c.path)
			if err != nil {
				got = kind(err)
			}
			if got != c.want { // what a layer has twice is found out at its end
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
			if n := src.whole(i); !slices.Equal(n, c.whole) {
				t.Errorf("layers were read %v, want %v", n, c.whole)
			}
		})
	}
}

func kind(err error) string {
	for _, k := range []error{oci.ErrNotFound, oci.ErrInvalid, oci.ErrCorrupt, oci.ErrUnsupported} {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	return err.Error()
}

// TestOpenAgain: what has been read is remembered.
func TestOpenAgain(t *testing.T) {
	t.Parallel()
	src, i := picture(t, "etc/ etc/a=1", "etc/ etc/b=2")
	f := i.Files(layer.Limits{})
	for _, c := range [][2]string{{"etc/b", "2"}, {"etc/a", "1"}, {"etc/a", "1"}} {
		if got, err := read(t, f, c[0]); got != c[1] || err != nil {
			t.Errorf("%s: %q, %v", c[0], got, err)
		}
	}
	if n := src.whole(i); !slices.Equal(n, []int{2, 1}) {
		t.Errorf("layers were read %v", n)
	}
}

// TestOpenReadsRanges: a small file of a large layer.
func TestOpenReadsRanges(t *testing.T) {
	t.Parallel()
	src, i := picture(t, "toc etc/ etc/os=base big="+strings.Repeat("0123456789abcdef", 1<<16), "toc tmp/ fat="+strings.Repeat("0123456789abcdef", 1<<16))
	if got, err := read(t, i.Files(layer.Limits{}), "etc/os"); got != "base" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for n, d := range i.Manifest.Layers {
		if src.opens[d.Digest] > 0 || src.bytes[d.Digest] > 66<<10 {
			t.Errorf("layer %d: %d bytes of %d", n, src.bytes[d.Digest], d.Size)
		}
	}
}

// TestOpenIsVerified: a layer that is wrong in its very last byte is an error
// in the place of io.EOF.
func TestOpenIsVerified(t *testing.T) {
	t.Parallel()
	src, i := picture(t, "a=1 b="+strings.Repeat("x", 100_000))
	raw := src.blobs[i.Manifest.Layers[0].Digest]
	raw[len(raw)-1] ^= 1
	if _, err := read(t, i.Files(layer.Limits{}), "a"); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

// TestBrokenTable: the layer is read in the place of a table that does not
// match its digest.
func TestBrokenTable(t *testing.T) {
	t.Parallel()
	src, i := picture(t, "toc a=1")
	i.Manifest.Layers[0].Annotations[estargz.TOCJSONDigestAnnotation] = string(oci.FromBytes(nil))
	if got, err := read(t, i.Files(layer.Limits{}), "a"); got != "1" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n := src.whole(i); !slices.Equal(n, []int{1}) {
		t.Errorf("layers were read %v", n)
	}
}

// TestOpenIsTheTree: for random layers, Open finds what the whole tree has,
// however the layers are packed and in whatever order the files are asked for.
func TestOpenIsTheTree(t *testing.T) {
	t.Parallel()
	direct := 0
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 1))
		direct += compareToTree(t, r, fmt.Sprint("seed ", seed))
	}
	if direct < 200 {
		t.Errorf("only %d answers without the tree", direct)
	}
}

func compareToTree(t *testing.T, r *rand.Rand, what string) (direct int) {
	t.Helper()
	layers := make([]string, 1+r.IntN(4))
	for i := range layers {
		layers[i] = randomLayer(r, i)
	}
	_, i := picture(t, layers...)
	whole := i.Files(layer.Limits{})
	if _, err := whole.Tree(t.Context()); err != nil {
		if !errors.Is(err, oci.ErrInvalid) {
			t.Fatalf("%s: %q: %v", what, layers, err)
		}
		return 0
	}
	for range 12 {
		name := randomName(r)
		want, wantErr := read(t, whole, name)
		f := i.Files(layer.Limits{})
		got, err := read(t, f, name)
		if errors.Is(err, oci.ErrUnsupported) {
			continue // streamed before the layer said otherwise
		}
		if got != want || (err == nil) != (wantErr == nil) { // that a directory is there only because of what a link leads to may be missed
			t.Fatalf("%s: %q: %s: got %q, %v; want %q, %v", what, layers, name, got, err, want, wantErr)
		}
		if !f.HasTree() {
			direct++
		}
	}
	return direct
}

// randomName is a path of names that can be anything, a, b and l, below those
// and d and e, which are only ever directories or not there. Only to these do
// links lead: where one leads to a file, and a layer writes below it, the tree
// has a directory in the place of the file, and engines stop with an error.
func randomName(r *rand.Rand) string {
	parts := make([]string, 1+r.IntN(3))
	for i := range parts {
		parts[i] = string("abldde"[r.IntN(6)])
	}
	parts[len(parts)-1] = string("abl"[r.IntN(3)])
	return strings.Join(parts, "/")
}

// randomLayer is as an engine writes one, with every directory before what is
// in it, or not.
func randomLayer(r *rand.Rand, n int) string {
	var out []string
	if r.IntN(3) == 0 {
		out = append(out, "toc")
	} else {
		out = append(out, "")
	}
	tidy := r.IntN(2) == 0
	for k := range 1 + r.IntN(5) {
		name := randomName(r)
		if tidy {
			parts := strings.Split(name, "/")
			for i := 1; i < len(parts); i++ {
				if dir := strings.Join(parts[:i], "/") + "/"; !slices.Contains(out, dir) {
					out = append(out, dir)
				}
			}
		}
		cut := strings.LastIndex(name, "/") + 1
		switch r.IntN(9) {
		case 0:
			name += "/"
		case 1:
			name += "->" + []string{"", "/", "../", "/d/", "/d/../", "../../"}[r.IntN(6)] + string("de"[r.IntN(2)])
		case 2:
			name += "=>" + randomName(r)
		case 3:
			name = name[:cut] + ".wh." + name[cut:]
		case 4:
			name = name[:cut] + ".wh..wh..opq"
		default:
			name += fmt.Sprintf("=%d.%d", n, k)
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// TestBad_059_LinksStayInTheImage: a link's target is a path of the image,
// however it is written (row 60: and is never refused for that).
func TestBad_059_LinksStayInTheImage(t *testing.T) {
	t.Parallel()
	_, i := picture(t, "etc/ etc/passwd=inside", "etc/ etc/a->../../../../etc/passwd etc/b->/etc/passwd c->etc c2->/c d->c2/../../etc")
	for _, name := range []string{"etc/a", "etc/b", "c/passwd", "c2/passwd", "d/passwd", "../../etc/passwd", "/etc/../../etc/passwd"} {
		if got, err := read(t, i.Files(layer.Limits{}), name); got != "inside" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestBad_062_OtherNameKeepsContent: a layer that replaces one name of a file
// leaves the other one with what it had.
func TestBad_062_OtherNameKeepsContent(t *testing.T) {
	t.Parallel()
	for _, layers := range [][]string{{"a=1 b=>a", "a=2"}, {"toc a=1 b=>a", "toc a=2"}, {"a=1", "b=>a", "a=2"}, {"toc a=1", "toc b=>a", "toc a=2"}} {
		_, i := picture(t, layers...)
		for name, want := range map[string]string{"a": "2", "b": "1"} {
			if got, err := read(t, i.Files(layer.Limits{}), name); got != want || err != nil {
				t.Errorf("%q: %s: %q, %v", layers, name, got, err)
			}
		}
	}
}

// TestBad_063_Whiteouts: markers hide what lower layers have and nothing of
// their own layer, wherever they stand in it.
func TestBad_063_Whiteouts(t *testing.T) {
	t.Parallel()
	for _, top := range []string{"d/ d/new=new d/.wh.old", "d/ d/.wh.old d/new=new", "d/ d/new=new d/.wh..wh..opq", ".wh.d d/ d/new=new", "d/ d/new=new .wh.d"} {
		for _, toc := range []string{"", "toc "} {
			_, i := picture(t, "d/ d/old=old d/new=low", toc+top)
			f := i.Files(layer.Limits{})
			if got, err := read(t, f, "d/new"); got != "new" || err != nil {
				t.Errorf("%q: %q, %v", toc+top, got, err)
			}
			if _, err := read(t, f, "d/old"); !errors.Is(err, oci.ErrNotFound) {
				t.Errorf("%q: the file that is gone: %v", toc+top, err)
			}
		}
	}
}
