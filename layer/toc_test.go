// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// TestTOCIsTheLayer compares what the table says with what the layer says:
// entries, in order, and content.
func TestTOCIsTheLayer(t *testing.T) {
	t.Parallel()
	for name, b := range tocForms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			toc, err := layer.OpenTOC(t.Context(), b, layer.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got []*layer.Entry
			for e, err := range toc.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			rc, err := layer.Open(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			r := layer.NewReader(rc, layer.Limits{})
			n := 0
			for want, err := range r.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				if n >= len(got) {
					t.Fatalf("the table lacks %s", want.Name)
				}
				compareEntry(t, got[n], want)
				if want.Kind == layer.File {
					body, err := io.ReadAll(r)
					if err != nil {
						t.Fatal(err)
					}
					compareContent(t, toc, n, want.Name, body)
				}
				n++
			}
			if n != len(got) {
				t.Errorf("the table has %s, too", got[n].Name)
			}
		})
	}
}

func compareEntry(t *testing.T, got, want *layer.Entry) {
	t.Helper()
	g, w := got.Header, want.Header
	if got.Name != want.Name || got.Kind != want.Kind || got.Link != want.Link || got.Size != want.Size ||
		g.Mode != w.Mode || g.Uid != w.Uid || g.Gid != w.Gid || g.Devmajor != w.Devmajor || g.Devminor != w.Devminor ||
		g.PAXRecords["SCHILY.xattr.user.x"] != w.PAXRecords["SCHILY.xattr.user.x"] ||
		g.Uname != "" && (g.Uname != w.Uname || g.Gname != w.Gname) || // zstd:chunked does not keep them
		want.Name != "stargz.index.json" && !g.ModTime.Equal(w.ModTime) {
		t.Errorf("got %+v %+v, want %+v %+v", *got, g, *want, w)
	}
}

func compareContent(t *testing.T, toc *layer.TOC, i int, name string, want []byte) {
	t.Helper()
	rc, err := toc.Open(t.Context(), i)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
	}
	if d := toc.Digest(i); d != "" && d != oci.FromBytes(want) {
		t.Errorf("%s: digest %s", name, d)
	}
}

// TestTOCReadsLittle: the table and one small file of a large layer.
func TestTOCReadsLittle(t *testing.T) {
	t.Parallel()
	files := tocFiles()
	for i := range 2 {
		files = append(files, tocFile{&tar.Header{Name: fmt.Sprintf("fat%d", i), Typeflag: tar.TypeReg, Mode: 0o600}, ocitest.Random(uint64(i), 400_000)})
	}
	for name, b := range map[string]memLayer{"estargz": stargz(t, plainTar(t, files), 0, 0), "zstd": chunked(t, files, 100_000)} {
		toc, err := layer.OpenTOC(t.Context(), b, layer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		compareContent(t, toc, 1, "dir/file", []byte("hello\n"))
		if n := len(*b.reads); n != 2 {
			t.Errorf("%s: %d requests, want 2: table, file", name, n)
		}
		if n := b.bytes(); n > 70_000 {
			t.Errorf("%s: %d bytes read of %d", name, n, b.d.Size)
		}
		*b.reads = nil
		compareContent(t, toc, 2, "dir/big", files[2].body)
		if n := len(*b.reads); n != 1 {
			t.Errorf("%s: %d requests for the chunks of a file, want 1", name, n)
		}
	}
}

// TestTOCOldFooter: the footer of stargz before eStargz.
func TestTOCOldFooter(t *testing.T) {
	t.Parallel()
	b := stargz(t, plainTar(t, tocFiles()), 0, 0)
	var at int64
	if _, err := fmt.Sscanf(string(b.raw[len(b.raw)-51+16:][:16]), "%016x", &at); err != nil {
		t.Fatal(err)
	}
	var footer bytes.Buffer
	z, _ := gzip.NewWriterLevel(&footer, gzip.NoCompression) // a level that there is
	z.Extra = fmt.Appendf(nil, "%016xSTARGZ", at)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if footer.Len() != 47 {
		t.Fatalf("footer of %d bytes", footer.Len())
	}
	old := newMemLayer(append(b.raw[:len(b.raw)-51:len(b.raw)-51], footer.Bytes()...), b.d.Annotations)
	toc, err := layer.OpenTOC(t.Context(), old, layer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	compareContent(t, toc, 1, "dir/file", []byte("hello\n"))
}

// TestTOCOfSkopeo reads what the installed skopeo packs.
func TestTOCOfSkopeo(t *testing.T) {
	t.Parallel()
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	dir := t.TempDir()
	files := tocFiles()[:4]
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	plain := plainTar(t, files)
	if err := errors.Join(discardN(z.Write(plain)), z.Close()); err != nil {
		t.Fatal(err)
	}
	layerBlob := oci.Bytes(oci.MediaLayerGzip, packed.Bytes())
	config, _ := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": []oci.Digest{oci.FromBytes(plain)}}})
	configBlob := oci.Bytes(oci.MediaConfig, config)
	manifest, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaManifest, "config": configBlob.Descriptor(), "layers": []oci.Descriptor{layerBlob.Descriptor()}})
	for name, raw := range map[string][]byte{"version": []byte("Directory Transport Version: 1.1\n"), "manifest.json": manifest,
		layerBlob.Descriptor().Digest.Encoded(): packed.Bytes(), configBlob.Descriptor().Digest.Encoded(): config} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, "out")
	cmd := exec.Command(skopeo, "copy", "--insecure-policy", "--dest-compress-format", "zstd:chunked", "dir:"+dir, "oci:"+to+":x")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this skopeo does not write zstd:chunked: %s", text)
	}
	blobOf := func(d oci.Digest) []byte {
		raw, err := os.ReadFile(filepath.Join(to, "blobs", "sha256", d.Encoded()))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	raw, err := os.ReadFile(filepath.Join(to, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := oci.ParseManifest("", raw)
	if err != nil {
		t.Fatal(err)
	}
	raw = blobOf(index.Manifests[0].Digest)
	m, err := oci.ParseManifest("", raw)
	if err != nil {
		t.Fatal(err)
	}
	b := newMemLayer(blobOf(m.Layers[0].Digest), m.Layers[0].Annotations)
	toc, err := layer.OpenTOC(t.Context(), b, layer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files[1:] {
		compareContent(t, toc, i+1, f.h.Name, f.body)
	}
}
