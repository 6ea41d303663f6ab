// SPDX-License-Identifier: Apache-2.0

package place

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// A kept file is in the cache. Reading and writing never fail: what is not kept
// is read again.
type kept struct{ path string } // "": there is no cache

func newKept(e *build.Engine, folder, key string) kept {
	dir := e.Options().CacheDir
	if dir == "" {
		return kept{}
	}
	return kept{filepath.Join(dir, "place", folder, oci.FromBytes([]byte(key)).Encoded())}
}

// read reads it: its first line is the digest of the rest.
func (k kept) read(most int64) (string, bool) {
	if k.path == "" {
		return "", false
	}
	f, err := os.Open(k.path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+200))
	sum, text, ok := strings.Cut(string(raw), "\n")
	if err != nil || !ok || sum != string(oci.FromBytes([]byte(text))) {
		return "", false
	}
	return text, true
}

func (k kept) write(text string) {
	if k.path == "" {
		return
	}
	_ = disk.Keep(k.path, func(w io.Writer) error {
		_, err := io.WriteString(w, string(oci.FromBytes([]byte(text)))+"\n"+text)
		return err
	})
}
