// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

// A zeros blob costs nothing to make.
type zeros struct{ d oci.Descriptor }

func (z zeros) Descriptor() oci.Descriptor { return z.d }

func (z zeros) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zero{}, z.d.Size)), nil
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func zeroBlob(b *testing.B, size int64) zeros {
	b.Helper()
	h := oci.FromBytes(nil).Algorithm().Digester()
	if _, err := io.Copy(h.Hash(), io.LimitReader(zero{}, size)); err != nil {
		b.Fatal(err)
	}
	return zeros{oci.Descriptor{MediaType: oci.MediaLayer, Digest: h.Digest(), Size: size}}
}

// BenchmarkIndex finds out what is in an archive of 1 GiB, and in one of
// 100,000 members.
func BenchmarkIndex(b *testing.B) {
	big := filepath.Join(b.TempDir(), "big.tar")
	a := open(b, big, archive.Options{Write: true})
	if _, err := a.Put(b.Context(), zeroBlob(b, 1<<30)); err != nil {
		b.Fatal(err)
	}
	f := ocitest.Image(1, 2, 1000)
	layer := zeroBlob(b, 1<<30)
	m := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaManifest, oci.MediaConfig, f.Blobs[0].Descriptor().Digest, f.Blobs[0].Descriptor().Size, oci.MediaLayer, layer.d.Digest, layer.d.Size))
	root := oci.Bytes(oci.MediaManifest, m)
	for _, blob := range []oci.Blob{f.Blobs[0], root} {
		if _, err := a.Put(b.Context(), blob); err != nil {
			b.Fatal(err)
		}
	}
	if err := a.Tag(b.Context(), "1", root.Descriptor()); err != nil {
		b.Fatal(err)
	}
	commit(b, a)
	files := unpack(b, read(b, made(b, archive.OCI, f, "1")))
	for i := range 100_000 {
		files = append(files, file{name: fmt.Sprint("other/", i), body: "x"})
	}
	many := filepath.Join(b.TempDir(), "many.tar")
	if err := os.WriteFile(many, pack(b, files...), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{"1GiB": big, "100000members": many} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, err := archive.Open(path, archive.Options{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := a.Resolve(b.Context(), "1"); err != nil {
					b.Fatal(err)
				}
				_ = a.Close()
			}
		})
	}
}

// BenchmarkPut writes one layer and commits; the memory it takes does not
// depend on the size.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int64{100 << 20, 1 << 30} {
		layer := zeroBlob(b, size)
		for _, path := range []string{"stream", "file"} {
			b.Run(fmt.Sprintf("%s/%dMiB", path, size>>20), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(size)
				for b.Loop() {
					o, at := archive.Options{Write: true}, filepath.Join(b.TempDir(), "x.tar")
					if path == "stream" {
						at, o.Out = "-", io.Discard
					}
					a, err := archive.Open(at, o)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := a.Put(b.Context(), layer); err != nil {
						b.Fatal(err)
					}
					if err := ocitest.Image(1, 1, 10).Push(b.Context(), a, "1"); err != nil {
						b.Fatal(err)
					}
					commit(b, a)
					_ = a.Close()
					_ = os.Remove(at)
				}
			})
		}
	}
}
