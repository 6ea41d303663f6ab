// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/mem"
)

// An item is an entry of a table of contents.
type item map[string]any

// tableOf is the true table of a tar.
func tableOf(t testing.TB, plain []byte) []item {
	t.Helper()
	types := map[byte]string{tar.TypeReg: "reg", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink"}
	var out []item
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		i := item{"type": types[h.Typeflag], "name": h.Name, "linkName": h.Linkname, "mode": h.Mode, "size": h.Size, "uid": h.Uid, "gid": h.Gid}
		if h.Typeflag == tar.TypeReg {
			i["digest"] = oci.FromBytes(body)
		}
		out = append(out, i)
	}
}

// chunked packs a tar as zstd:chunked with any table.
func chunked(t testing.TB, p *place, plain []byte, table any) oci.Descriptor {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	raw, jerr := json.Marshal(map[string]any{"version": 1, "entries": table})
	if err := errors.Join(err, jerr); err != nil {
		t.Fatal(err)
	}
	packed := e.EncodeAll(raw, nil)
	blob := e.EncodeAll(plain, nil)
	at := len(blob) + 8
	blob = append(blob, 0x50, 0x2a, 0x4d, 0x18, byte(len(packed)), byte(len(packed)>>8), byte(len(packed)>>16), 0)
	d := p.put(oci.MediaLayerZstd, append(blob, packed...))
	d.Annotations = map[string]string{
		"io.github.containers.zstd-chunked.manifest-checksum": string(oci.FromBytes(packed)),
		"io.github.containers.zstd-chunked.manifest-position": fmt.Sprintf("%d:%d:%d:1", at, len(packed), len(raw)),
	}
	return d
}

const tocFiles = "etc/ etc/app.conf=good etc/empty= lib->usr/lib hard=>etc/app.conf .wh.gone= etc/.wh..wh..opq= last=end"

// What a table of contents says is compared with the tar: readers that use the
// table see that, the others the tar.
func TestTables(t *testing.T) {
	t.Parallel()
	at := func(list []item, name string) item {
		for _, i := range list {
			if i["name"] == name {
				return i
			}
		}
		panic(name)
	}
	set := func(name, key string, v any) func([]item) any {
		return func(l []item) any { at(l, name)[key] = v; return l }
	}
	for name, c := range map[string]struct {
		change func([]item) any
		want   []string
		text   string
	}{
		"true":          {func(l []item) any { return l }, nil, ""},
		"content":       {set("etc/app.conf", "digest", oci.FromBytes([]byte("evil"))), []string{"error toc 1 /etc/app.conf"}, "contents: content"},
		"empty":         {set("etc/empty", "digest", oci.FromBytes([]byte("evil"))), []string{"error toc 1 /etc/empty"}, "content"},
		"size":          {set("last", "size", 2), []string{"error toc 1 /last"}, "contents: size"},
		"mode":          {set("last", "mode", 0o4755), []string{"error toc 1 /last"}, "contents: mode"},
		"owner":         {set("last", "uid", 7), []string{"error toc 1 /last"}, "contents: owner"},
		"xattrs":        {set("last", "xattrs", map[string]string{"user.x": "eA=="}), []string{"error toc 1 /last"}, "xattrs"},
		"link":          {set("lib", "linkName", "/tmp"), []string{"error toc 1 /lib"}, "contents: link target"},
		"hard link":     {set("hard", "linkName", "last"), []string{"error toc 1 /hard"}, "contents: link target"},
		"kind":          {set("etc/empty", "type", "fifo"), []string{"error toc 1 /etc/empty"}, "contents: kind"},
		"whiteout":      {set(".wh.gone", "name", ".wh.last"), []string{"error toc 1 /last"}, "entry 6"},
		"no sha256":     {func(l []item) any { x := at(l, "last"); x["chunkDigest"] = x["digest"]; delete(x, "digest"); return l }, []string{"error toc 1 /last"}, "no sha256"},
		"two":           {func(l []item) any { set("lib", "linkName", "x")(l); set("last", "mode", 0)(l); return l }, []string{"error toc 1 /last", "error toc 1 /lib"}, ""},
		"other order":   {func(l []item) any { l[1], l[2] = l[2], l[1]; return l }, []string{"error toc 1 /etc/empty"}, "entry 2"},
		"one less":      {func(l []item) any { return l[:len(l)-1] }, []string{"error toc 1"}, "7 of 8"},
		"one more":      {func(l []item) any { return append(l, item{"type": "dir", "name": "x"}) }, []string{"error toc 1 /x"}, "after 8"},
		"none":          {func([]item) any { return []item{} }, []string{"error toc 1"}, "0 of 8"},
		"unsafe":        {set("last", "name", "../last"), []string{"error toc 1"}, "unsafe"},
		"no table":      {func([]item) any { return "x" }, []string{"error toc 1"}, ""},
		"unknown to us": {set("last", "type", "door"), []string{"warning toc 1"}, "not compared"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, plain := newPlace(), tarOf(t, tocFiles)
			i := newImage(t, p).layer(oci.MediaLayer, plain)
			i.manifest.Layers[0] = chunked(t, p, plain, c.change(tableOf(t, plain)))
			got := inMem(t, p, i.put())
			if fmt.Sprint(lines(got)) != fmt.Sprint(c.want) || len(got) > 0 && !strings.Contains(got[0].Text, c.text) {
				t.Errorf("%+v, want %q", got, c.want)
			}
			if fast, _, err := check.Graph(t.Context(), p, i.put(), check.Options{Fast: true}); err != nil || len(fast) > 0 {
				t.Errorf("fast: %v, %v", fast, err)
			}
			found, _, err := check.Graph(t.Context(), p, i.put(), check.Options{}) // without ranges
			if err != nil || fmt.Sprint(lines(found)) != fmt.Sprint(c.want) {
				t.Errorf("without ranges: %+v, %v", found, err)
			}
		})
	}
}

// inMem checks a graph in a store that has ranges.
func inMem(t *testing.T, p *place, root oci.Descriptor) []check.Finding {
	t.Helper()
	st, err := mem.New().Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for d, b := range p.blobs {
		if d == root.Digest {
			continue
		}
		if _, err := st.Put(t.Context(), oci.Bytes("application/octet-stream", b)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.Put(t.Context(), oci.From(p, root)); err != nil {
		t.Fatal(err)
	}
	got, _, err := check.Graph(t.Context(), st, root, check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A table that was checked says nothing of another manifest's for the same layer.
func TestTablesOfOneLayer(t *testing.T) {
	t.Parallel()
	p, plain := newPlace(), tarOf(t, tocFiles)
	child := func(arch string, change func(d *oci.Descriptor)) oci.Descriptor {
		i := newImage(t, p).layer(oci.MediaLayer, plain)
		i.config.Architecture = arch
		i.manifest.Layers[0] = chunked(t, p, plain, tableOf(t, plain))
		change(&i.manifest.Layers[0])
		return on(i.put(), "linux/"+arch)
	}
	root := p.index(t, child("amd64", func(*oci.Descriptor) {}), child("arm64", func(d *oci.Descriptor) { d.Annotations = nil }),
		child("s390x", func(d *oci.Descriptor) {
			d.Annotations["io.github.containers.zstd-chunked.manifest-checksum"] = string(oci.FromBytes(nil))
		}),
		child("ppc64le", func(d *oci.Descriptor) { d.Annotations[layer.AnnotationTOC] = "sha256:x" }))
	got, _, err := check.Graph(t.Context(), p, root, check.Options{})
	if err != nil || fmt.Sprint(lines(got)) != "[error toc linux/amd64 1 error toc linux/amd64 1]" {
		t.Errorf("%+v, %v", got, err)
	}
}

// What the library of eStargz writes is right, and a wrong digest in the
// annotation is seen.
func TestTableStargz(t *testing.T) {
	t.Parallel()
	var b, plain bytes.Buffer
	w := estargz.NewWriter(&b)
	err := w.AppendTar(bytes.NewReader(tarOf(t, tocFiles+" big="+string(bytes.Repeat([]byte("x"), 100_000)))))
	toc, cerr := w.Close()
	r, _, derr := layer.Decompress(bytes.NewReader(b.Bytes()))
	if err := errors.Join(err, cerr, derr); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ toc, want string }{{string(toc), "[]"}, {string(oci.FromBytes(nil)), "[error toc 1]"}, {"x", "[error toc 1]"}} {
		p := newPlace()
		i := newImage(t, p).layer(oci.MediaLayer, plain.Bytes())
		i.manifest.Layers[0] = p.put(oci.MediaLayerGzip, b.Bytes())
		i.manifest.Layers[0].Annotations = map[string]string{layer.AnnotationTOC: c.toc}
		if got := inMem(t, p, i.put()); fmt.Sprint(lines(got)) != c.want {
			t.Errorf("%+v, want %s", got, c.want)
		}
	}
}

// Who waits is told how far it is.
func TestRead(t *testing.T) {
	t.Parallel()
	p := newPlace()
	root := newImage(t, p).layer(oci.MediaLayer, tarOf(t, "a="+strings.Repeat("x", 1_000_000))).put()
	var calls int
	var last int64
	_, stats, err := check.Graph(t.Context(), p, root, check.Options{Jobs: 1, Read: func(n int64) { calls++; last = n }})
	if err != nil || last != stats.Bytes || calls < 4 {
		t.Errorf("%d calls, the last one with %d of %d bytes, %v", calls, last, stats.Bytes, err)
	}
}
