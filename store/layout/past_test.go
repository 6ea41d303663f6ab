// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/layout"
)

// Files that are large enough to be written past the page cache have the same
// bytes, whatever their length, and whatever pieces they come in.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	const least = 16 << 20
	for name, wrap := range map[string]func(io.Reader) io.Reader{"as it comes": func(r io.Reader) io.Reader { return r }, "in halves": iotest.HalfReader} {
		for _, size := range []int{least - 1, least, least + 1, least + 1<<20, 3*least + 4097} {
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "image")
				l := open(t, dir, layout.Options{Create: true})
				b := layerBlob(uint64(size), size)
				c := count(b)
				c.wrap = func(r io.ReadCloser) io.ReadCloser {
					return struct {
						io.Reader
						io.Closer
					}{wrap(r), r}
				}
				put(t, l, struct{ oci.Blob }{c}, oci.Sent)
				got, err := os.ReadFile(blobFile(dir, b.Descriptor().Digest))
				if err != nil {
					t.Fatal(err)
				}
				r, err := b.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, want %d, or they differ (%v)", len(got), len(want), err)
				}
			})
		}
	}
}
