// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A layer that wrote through a link of a lower one and then says that the name
// is gone takes away the link, and not what is behind it.
func TestBad_063_LinkThatWasWrittenThrough(t *testing.T) {
	t.Parallel()
	base := []rec{dir("usr"), symlink("lib", "usr")}
	for name, marker := range map[string]string{"whiteout": ".wh.lib", "opaque": ".wh..wh..opq"} {
		tree := mustTree(t, base, []rec{file("lib/x", "x"), file(marker, "")})
		if _, n, err := tree.Lookup("usr/x"); err != nil || n.Layer != 1 {
			t.Errorf("%s: usr/x: %v", name, err)
		}
		if _, _, err := tree.Lookup("lib"); err == nil {
			t.Errorf("%s: lib is still there", name)
		}
	}
}

// What an entry keeps of its header is not the whole of it, and counts.
func TestBad_069_SmallRecordsOfLargeHeaders(t *testing.T) {
	large := strings.Repeat("c", 1<<20-2048)
	tree := layer.NewTree(layer.Limits{})
	before := heap()
	for i := range 40 {
		b := cat(pax('x', record("SCHILY.xattr.user.a", "1"), record("comment", large)), raw(strconv.Itoa(i), tar.TypeReg, octal(0)), end)
		if err := tree.Apply(reader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("40 entries keep %d MiB", grown>>20)
	}
	runtime.KeepAlive(tree)

	tree = layer.NewTree(layer.Limits{})
	records := map[string]string{}
	for i := range 10_000 {
		records["SCHILY.xattr."+strconv.Itoa(i)] = ""
	}
	before = heap()
	err := tree.Add(func(yield func(*layer.Entry, error) bool) {
		for i := 0; i < 10 && yield(&layer.Entry{Name: strconv.Itoa(i), Header: &tar.Header{PAXRecords: records}}, nil); i++ {
		}
	})
	if grown := heap() - before; err != nil || grown > tree.Kept()+1<<20 {
		t.Errorf("many small attributes: %d bytes, of which %d count, %v", grown, tree.Kept(), err)
	}
	runtime.KeepAlive(tree)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Long paths of many directories are not written out before they are needed.
func TestBad_064_DeepDirectories(t *testing.T) {
	deep := strings.Repeat("d/", 1900)
	var recs []rec
	for i := range 5000 {
		recs = append(recs, dir(deep+strconv.Itoa(i)))
	}
	layers := blobs(t, recs)
	recs = nil
	before, most := heap(), int64(0)
	w := writerFunc(func(p []byte) (int, error) {
		if most == 0 {
			most = heap() - before
		}
		return len(p), nil
	})
	if err := layer.Flatten(ctx(t), w, layers, layer.FlattenOptions{}); err != nil {
		t.Fatal(err)
	}
	if most > 8<<20 {
		t.Errorf("%d MiB for 5000 directories", most>>20)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A number that no tar holds is the layer's fault, and told as that.
func TestBad_066_DeviceThatNoTarHolds(t *testing.T) {
	t.Parallel()
	h := raw("x", tar.TypeChar, octal(0), func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[329:], "\x80\x00\x00\x00\x7f\xff\xff\xff")
	})
	err := layer.Flatten(ctx(t), io.Discard, []oci.Blob{oci.Bytes(oci.MediaLayer, cat(h, end))}, layer.FlattenOptions{})
	wantKind(t, "device", err, oci.ErrInvalid)
}

// A table that says nothing of a time means what the tar says then, and one
// whose files are called like directories is not used.
func TestTOCTimesAndDirectories(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `,"modtime":""`, `,"modtime":"0001-01-01T00:00:00Z"`, `,"modtime":"1970-01-01T00:00:00Z"`} {
		toc, err := openTable(t, fmt.Sprintf(`{"version":1,"entries":[{"name":"d/","type":"dir"%s}]}`, text))
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range toc.Entries() {
			if err != nil || !e.Header.ModTime.Equal(time.Unix(0, 0)) {
				t.Errorf("%s: %v, %v", text, e, err)
			}
		}
	}
	_, err := openTable(t, `{"version":1,"entries":[{"name":"d/","type":"reg"}]}`)
	wantKind(t, "a file called like a directory", err, oci.ErrUnsupported)
}

func openTable(t *testing.T, table string) (*layer.TOC, error) {
	t.Helper()
	return layer.OpenTOC(t.Context(), withTable(nil, []byte(table)), layer.Limits{})
}
