// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func outline(t testing.TB, b oci.Blob) *layer.Outline {
	t.Helper()
	o, err := layer.ReadOutline(ctx(t), b, layer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func outlines(t testing.TB, layers ...[]rec) (out []*layer.Outline) {
	t.Helper()
	for _, b := range blobs(t, layers...) {
		out = append(out, outline(t, b))
	}
	return out
}

// changes is all that an outline says, a line each.
func changes(t testing.TB, o *layer.Outline) (out []string) {
	t.Helper()
	for c, err := range o.Changes() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Name+" "+string(c.Content)+" "+said(c.Entry))
	}
	if len(out) != o.Len {
		t.Errorf("%d entries, said to be %d", len(out), o.Len)
	}
	return out
}

// said is what Tree keeps of an entry.
func said(e *layer.Entry) string {
	h := e.Header
	records := maps.Clone(h.PAXRecords)
	maps.DeleteFunc(records, func(k, _ string) bool {
		return !strings.HasPrefix(k, "SCHILY.xattr.") && !strings.HasPrefix(k, "MSWINDOWS.")
	})
	return fmt.Sprintf("%d %q %d %q %c %o %d:%d %q:%q %d %d,%d %v", e.Kind, e.Link, e.Size, h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname,
		h.ModTime.UnixNano(), h.Devmajor, h.Devminor, records)
}

// strange has everything that a header can say.
func strange() []rec {
	x := file("caf\xe9/"+strings.Repeat("n", 300), "x")
	x.Uid, x.Gid, x.Uname, x.Gname = 3_000_000_000, 7, "me", "us"
	x.Mode, x.ModTime = 0o6755, time.Unix(-5, 123456789)
	x.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "a\x00b", "SCHILY.xattr.security.capability": strings.Repeat("\x01", 40_000), "MSWINDOWS.rawsd": "q", "comment": "no"}
	x.Format = tar.FormatPAX
	return []rec{dir("."), x, file("empty", ""), file("./a//b", "b"), symlink("l", "/a/../b"), hardlink("h", "/a/b"), file(".wh.gone", "some"), file("d/.wh..wh..opq", ""),
		{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev", Devmajor: 8, Devminor: 1, Mode: 0o600, ModTime: epoch}},
		{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600, ModTime: epoch}}}
}

func TestOutline(t *testing.T) {
	t.Parallel()
	raw := tarOf(t, strange()...)
	b := oci.Bytes(oci.MediaLayer, raw)
	o := outline(t, b)
	if o.Layer != b.Descriptor().Digest || o.DiffID != o.Layer || o.PlainSize != int64(len(raw)) || o.Table != "" {
		t.Errorf("got %+v", o)
	}
	var want []string
	entries, err := readAll(reader(raw))
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{"caf\xe9/" + strings.Repeat("n", 300): "x", "empty": "", "a/b": "b"}
	for _, e := range entries {
		d := oci.Digest("")
		if e.Kind == layer.File {
			d = oci.FromBytes([]byte(content[e.Name]))
		}
		want = append(want, e.Name+" "+string(d)+" "+said(e))
	}
	if got := changes(t, o); !slices.Equal(got, want) {
		t.Errorf("got\n%.2000s\nwant\n%.2000s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The diff ID is that of the tar, whatever the packing.
func TestOutlineOfPacked(t *testing.T) {
	t.Parallel()
	raw := tarOf(t, strange()...)
	for _, c := range []layer.Compression{layer.Gzip, layer.Zstd} {
		b := packedBlob(t, raw, c)
		o := outline(t, b)
		if o.Layer != b.Descriptor().Digest || o.DiffID != oci.FromBytes(raw) || o.PlainSize != int64(len(raw)) || o.Len != len(strange()) {
			t.Errorf("%s: got %+v", c, o)
		}
	}
}

func packedBlob(t testing.TB, raw []byte, c layer.Compression) oci.Blob {
	t.Helper()
	out, _ := pack(t, raw, layer.Packing{Compression: c})
	return oci.Bytes(oci.MediaLayerGzip, out)
}

// A table of contents spares reading the layer, if it is of use.
func TestOutlineOfTable(t *testing.T) {
	t.Parallel()
	for name, b := range tocForms(t) {
		opened := 0
		o := outline(t, rangeCounting{b, &opened})
		if opened != 0 || o.Table == "" || o.DiffID != "" || o.PlainSize != 0 || o.Layer != b.d.Digest {
			t.Errorf("%s: opened %d times, %+v", name, opened, o)
		}
		whole := outline(t, oci.Bytes(oci.MediaLayer, b.raw))
		got, want := changes(t, o), changes(t, whole)
		for i := range want { // a table has times in seconds, and owners' names in one of its forms
			if i >= len(got) || strings.Join(strings.Fields(got[i])[:4], " ") != strings.Join(strings.Fields(want[i])[:4], " ") {
				if !strings.Contains(want[i], "empty") && !strings.Contains(want[i], ".wh.") {
					t.Errorf("%s: got %s\nwant %s", name, got[i], want[i])
				}
			}
		}
		broken := b
		broken.d.Annotations = maps.Clone(b.d.Annotations)
		for k := range broken.d.Annotations {
			if strings.HasSuffix(k, "digest") || strings.HasSuffix(k, "checksum") {
				broken.d.Annotations[k] = string(oci.FromBytes([]byte("another")))
			}
		}
		if o := outline(t, rangeCounting{broken, &opened}); opened != 1 || o.Table != "" || o.DiffID == "" {
			t.Errorf("%s, broken: opened %d times, %+v", name, opened, o)
		}
	}
}

func randomLayers(rnd *rand.Rand) [][]rec {
	b := make([]byte, rnd.IntN(150))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	_, layers := valid((&coder{b}).layers(4))
	return layers
}

// An outline comes back from its file as it was, and makes the tree that its
// layer makes.
func TestOutlineIsLayer(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		layers := randomLayers(rnd)
		all := outlines(t, layers...)
		for i, o := range all {
			raw := o.OutlineFile()
			again, err := layer.ParseOutline(raw, layer.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(changes(t, o), changes(t, again)) || !bytes.Equal(raw, again.OutlineFile()) || again.DiffID != o.DiffID || again.PlainSize != o.PlainSize {
				t.Fatalf("another outline came back\n%s", show(layers))
			}
			all[i] = again
		}
		tree, err := layer.MergeOutlines(all, layer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := listTree(tree), listTree(mustTree(t, layers...)); !slices.Equal(got, want) {
			t.Fatalf("%s\ngot\n %s\nwant\n %s", show(layers), strings.Join(got, "\n "), strings.Join(want, "\n "))
		}
	}
}

// A file that was changed anywhere is no outline, and neither is a part of one.
func TestOutlineFileBroken(t *testing.T) {
	t.Parallel()
	raw := outlines(t, strange())[0].OutlineFile()
	for i := range raw {
		broken := bytes.Clone(raw)
		broken[i] ^= 0x41
		if _, err := layer.ParseOutline(broken, layer.Limits{}); !errors.Is(err, oci.ErrInvalid) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := layer.ParseOutline(raw[:i:i], layer.Limits{}); !errors.Is(err, oci.ErrInvalid) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
}

// Whoever can write the file can give it a digest that fits: what it says is
// checked all the same.
func TestOutlineFileHostile(t *testing.T) {
	t.Parallel()
	d := string(oci.FromBytes(nil))
	head := func(n int) string {
		return fmt.Sprintf(`{"layer":%q,"diffID":%q,"plainSize":0,"entries":%d}`+"\n", d, d, n)
	}
	// one is an entry: type, name, what follows it.
	one := func(flag byte, name, rest string) string {
		return string(flag) + string(rune(len(name))) + name + rest
	}
	const meta = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for name, test := range map[string]struct {
		head, entries string
		ok            bool
	}{
		"none":               {head(0), "", true},
		"a directory":        {head(1), one('5', "a", meta), true},
		"a file":             {head(1), one('0', "a", "\x02\x00"+meta), true},
		"too few":            {head(2), one('5', "a", meta), false},
		"too many":           {head(1), strings.Repeat(one('5', "a", meta), 2), false},
		"leaves the root":    {head(1), one('5', "../a", meta), false},
		"NUL":                {head(1), one('5', "a\x00b", meta), false},
		"no name":            {head(1), one('5', "", meta), false},
		"private":            {head(1), one('5', ".wh..wh.aufs", meta), false},
		"unknown type":       {head(1), one('Z', "a", meta), false},
		"another file type":  {head(1), one('7', "a", meta), false},
		"negative size":      {head(1), one('0', "a", "\x01\x00"+meta), false},
		"no digest":          {head(1), one('0', "a", "\x02\x02"+meta), false},
		"half a digest":      {head(1), one('0', "a", "\x02\x01abc"), false},
		"link to nothing":    {head(1), one('2', "a", "\x00"+meta), false},
		"hard link outside":  {head(1), one('1', "a", "\x04../x"+meta), false},
		"nanoseconds":        {head(1), one('5', "a", "\x00\x00\x00\x00\x01\x00\x00\x00"), false},
		"long text":          {head(1), "5\xff\xff\xff\xff\xff\xff\xff\xff\x7f", false},
		"text that ends":     {head(1), "5\xff\xff\x20", false},
		"many records":       {head(1), one('5', "a", "\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x7f"), false},
		"another record":     {head(1), one('5', "a", "\x00\x00\x00\x00\x00\x00\x00\x01\x04path\x01b"), false},
		"record twice":       {head(1), one('5', "a", "\x00\x00\x00\x00\x00\x00\x00\x02"+strings.Repeat("\x0bMSWINDOWS.a\x01b", 2)), false},
		"ends early":         {head(1), one('5', "a", meta[:5]), false},
		"spaces in the line": {strings.Replace(head(0), ":", ": ", 1), "", false},
		"unknown member":     {strings.Replace(head(0), "}", `,"x":1}`, 1), "", false},
		"other letters":      {strings.Replace(head(0), "layer", "Layer", 1), "", false},
		"no digest in line":  {strings.ReplaceAll(head(0), d, "sha256:x"), "", false},
		"table and diff ID":  {strings.Replace(head(0), `,"diffID`, `,"table":"`+d+`","diffID`, 1), "", false},
		"negative":           {strings.Replace(head(0), `Size":0`, `Size":-1`, 1), "", false},
		"a long line":        {strings.Repeat(" ", 2000) + head(0), "", false},
		"no line":            {"", "", false},
	} {
		o, err := layer.ParseOutline(layer.SignOutline(test.head, encoder().EncodeAll([]byte(test.entries), nil)), layer.Limits{})
		if test.ok != (err == nil) || err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
		if err == nil {
			changes(t, o)
		}
	}
	for name, packed := range map[string][]byte{"not zstd": []byte("hello"), "half": encoder().EncodeAll([]byte("5\x01a"+meta), nil)[:12]} {
		if _, err := layer.ParseOutline(layer.SignOutline(head(1), packed), layer.Limits{}); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The limits of layers are those of outlines.
func TestOutlineLimits(t *testing.T) {
	t.Parallel()
	b := oci.Bytes(oci.MediaLayer, tarOf(t, strange()...))
	raw := outline(t, b).OutlineFile()
	for name, l := range map[string]layer.Limits{"entries": {Entries: 3}, "bytes": {Bytes: 1}, "header": {Header: 10_000}} {
		if _, err := layer.ParseOutline(raw, l); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s, file: %v", name, err)
		}
		if _, err := layer.ReadOutline(ctx(t), b, l); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%s, layer: %v", name, err)
		}
	}
}
