// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

// BenchmarkPut puts 40 blobs of 1.5 MB and names an image, and then puts them
// again with a new Dir, which has to hash them, and with the same, which knows
// them.
func BenchmarkPut(b *testing.B) {
	var blobs []oci.Blob
	for i := range uint64(40) {
		blobs = append(blobs, layerBlob(i, 1_500_000))
	}
	all := func(b *testing.B, l *layout.Dir, jobs int) {
		b.Helper()
		var wg sync.WaitGroup
		slots := make(chan struct{}, jobs)
		for _, blob := range blobs {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if _, err := l.Put(background, blob); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	f := ocitest.Image(1, 1, 10)
	for _, jobs := range []int{1, 8} {
		b.Run(fmt.Sprintf("new/jobs=%d", jobs), func(b *testing.B) {
			b.SetBytes(40 * 1_500_000)
			for b.Loop() {
				l := create(b)
				all(b, l, jobs)
				push(b, l, f, "v1")
			}
		})
		b.Run(fmt.Sprintf("hashed/jobs=%d", jobs), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "image")
			all(b, open(b, dir, layout.Options{Create: true}), jobs)
			b.SetBytes(40 * 1_500_000)
			for b.Loop() {
				all(b, open(b, dir, layout.Options{}), jobs)
			}
		})
		b.Run(fmt.Sprintf("known/jobs=%d", jobs), func(b *testing.B) {
			l := create(b)
			all(b, l, jobs)
			b.SetBytes(40 * 1_500_000)
			for b.Loop() {
				all(b, l, jobs)
			}
		})
	}
}

// BenchmarkPlainFiles is what 40 files cost at least: written, with and without
// a sync each.
func BenchmarkPlainFiles(b *testing.B) {
	raw := ocitest.Random(1, 1_500_000)
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%v", sync), func(b *testing.B) {
			b.SetBytes(40 * 1_500_000)
			for b.Loop() {
				dir := b.TempDir()
				for i := range 40 {
					f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
					if err != nil {
						b.Fatal(err)
					}
					_, err = f.Write(raw)
					if err == nil && sync {
						err = f.Sync()
					}
					if err != nil {
						b.Fatal(err)
					}
					f.Close()
				}
			}
		})
	}
}

// BenchmarkManyTags opens a layout with 20,000 tags, and adds one.
func BenchmarkManyTags(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "image")
	l := open(b, dir, layout.Options{Create: true})
	f := ocitest.Image(1, 1, 10)
	push(b, l, f)
	var doc strings.Builder
	doc.WriteString(`{"schemaVersion":2,"manifests":[`)
	for i := range 20_000 {
		if i > 0 {
			doc.WriteByte(',')
		}
		fmt.Fprintf(&doc, `{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":"v%d"}}`, f.Root.MediaType, f.Root.Digest, f.Root.Size, i)
	}
	write(b, filepath.Join(dir, "index.json"), []byte(doc.String()+"]}"))
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			open(b, dir, layout.Options{})
		}
	})
	b.Run("resolve", func(b *testing.B) {
		l := open(b, dir, layout.Options{})
		for b.Loop() {
			if _, err := l.Resolve(background, "v19999"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tag", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			if err := l.Tag(background, fmt.Sprintf("new%d", n), f.Root); err != nil {
				b.Fatal(err)
			}
		}
	})
}
