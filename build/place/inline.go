// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"bytes"
	"errors"
	"time"

	"github.com/dray-tools/dray/oci"
)

// An inline part is a file that stands in the Dockerfile.
type inline struct {
	File
	to string
}

func (f *inline) key() string { return "inline " + string(oci.FromBytes(f.Data)) }

func (f *inline) write(w *writer) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.to, Mode: 0o644, Size: int64(len(f.Data)), ModTime: time.Unix(0, 0)}
	return w.put(h, bytes.NewReader(f.Data))
}

// absent lets pass that something is not there.
func absent(err error) error {
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	return err
}
