// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// line is an entry of a layer as a line.
func line(c layer.Change) string {
	h := c.Header
	kind := map[layer.Kind]string{layer.File: "", layer.Dir: "/", layer.Symlink: " -> " + c.Link}[c.Kind]
	return fmt.Sprintf("%o %d:%d %d %s%s", h.Mode&0o7777, h.Uid, h.Gid, h.ModTime.Unix(), c.Name, kind)
}

// tarOf is a layer of files, and links as PATH -> TARGET.
func tarOf(t testing.TB, list []string) (oci.Blob, oci.Digest) {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, name := range list {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}
		if at, target, ok := strings.Cut(name, " -> "); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, at, target
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return oci.Bytes(oci.MediaLayerGzip, packed.Bytes()), oci.FromBytes(plain.Bytes())
}
