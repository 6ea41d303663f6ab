// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

const (
	fuzzStargz  = "containerd.io/snapshot/stargz/toc.digest"
	fuzzChunked = "io.github.containers.zstd-chunked.manifest-"
)

// FuzzTOC reads any bytes as a layer with a table: nothing panics, and content
// that is read to its end has the digest and size that the table says.
func FuzzTOC(f *testing.F) {
	files := append(tocFiles()[:2], tocFile{tocFiles()[2].h, ocitest.Random(1, 900)}) // small, so that fuzzing is fast
	for _, b := range []memLayer{stargz(f, plainTar(f, files), 0, 0), stargz(f, plainTar(f, files), 400, 1<<10), chunked(f, files, 400)} {
		a := b.d.Annotations
		f.Add(b.raw, a[fuzzStargz], a[fuzzChunked+"checksum"], a[fuzzChunked+"position"])
	}
	f.Fuzz(func(t *testing.T, raw []byte, stargz, checksum, position string) {
		b := newMemLayer(raw, map[string]string{fuzzStargz: stargz, fuzzChunked + "checksum": checksum, fuzzChunked + "position": position})
		readTOC(t, b)
	})
}

// FuzzTOCTable reads any bytes as a table that is vouched for, in both formats.
func FuzzTOCTable(f *testing.F) {
	dig := oci.FromBytes([]byte("hello\n"))
	for _, entry := range []string{`{"type":"dir","name":"a/"}`, `{"type":"hardlink","name":"a","linkName":"b"}`,
		`{"type":"char","name":"a","devMajor":1,"devMinor":3,"xattrs":{"user.x":"AAA="}}`,
		fmt.Sprintf(`{"type":"reg","name":"a","size":6,"digest":%q,"offset":0,"modtime":"2026-01-01T00:00:00Z","mode":420,"userName":"u"}`, dig),
		fmt.Sprintf(`{"type":"reg","name":"a","size":6,"digest":%q,"offset":0,"chunkSize":3},{"type":"chunk","offset":9,"chunkOffset":3,"innerOffset":1,"chunkDigest":%q}`, dig, dig)} {
		f.Add([]byte(`{"version":1,"entries":[` + entry + `]}`))
	}
	var hello bytes.Buffer
	z := gzip.NewWriter(&hello)
	_, err := z.Write([]byte("hello\n"))
	if err := errors.Join(err, z.Close()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		readTOC(t, withTable(hello.Bytes(), table))
		var blob bytes.Buffer
		blob.Write(hello.Bytes())
		z := gzip.NewWriter(&blob)
		w := tar.NewWriter(z)
		err := w.WriteHeader(&tar.Header{Name: "stargz.index.json", Typeflag: tar.TypeReg, Size: int64(len(table))})
		if err := errors.Join(err, discardN(w.Write(table)), w.Close(), z.Close()); err != nil {
			t.Fatal(err)
		}
		z, _ = gzip.NewWriterLevel(&blob, gzip.NoCompression) // a level that there is
		z.Extra = fmt.Appendf([]byte("SG\x16\x00"), "%016xSTARGZ", hello.Len())
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		readTOC(t, newMemLayer(blob.Bytes(), map[string]string{fuzzStargz: string(oci.FromBytes(table))}))
	})
}

func readTOC(t *testing.T, b memLayer) {
	t.Helper()
	toc, err := layer.OpenTOC(t.Context(), b, layer.Limits{Entries: 1000, Bytes: 1 << 20})
	if err != nil {
		if !layer.TOCFallback(err) {
			t.Errorf("%v", err)
		}
		return
	}
	n := -1
	for e, err := range toc.Entries() {
		if err != nil {
			t.Fatalf("accepted, and then: %v", err)
		}
		if n++; e.Kind != layer.File {
			continue
		}
		rc, err := toc.Open(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(rc)
		if cerr := rc.Close(); cerr != nil {
			t.Error(cerr)
		}
		if err != nil {
			continue
		}
		if d := toc.Digest(n); int64(len(body)) != e.Size || d != "" && d != d.Algorithm().FromBytes(body) {
			t.Errorf("%s: %d bytes with digest %s, the table says %d, %s", e.Name, len(body), d.Algorithm().FromBytes(body), e.Size, d)
		}
	}
	if err := layer.NewTree(layer.Limits{}).Add(toc.Entries()); err != nil && !errors.Is(err, oci.ErrInvalid) {
		t.Error(err)
	}
}
