// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"io"
	"os"
	"path"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

const maxPlain = 64 << 30 // bytes that are decompressed to find out

// KindOf looks into a file, compressed or not, for what kind of archive it is:
// Docker if Docker could load it, else OCI. ErrInvalid if it is neither, or no
// regular file: a pipe cannot be read twice.
func KindOf(name string) (Kind, error) {
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		return OCI, oci.Errorf(oci.ErrInvalid, "%s is not a regular file: say oci-archive: or docker-archive:", oci.Quote(name))
	}
	f, err := os.Open(name)
	if err != nil {
		return OCI, err
	}
	defer f.Close()
	plain, c, err := layer.Decompress(f)
	if err != nil {
		return OCI, oci.Wrap("", name, err)
	}
	defer plain.Close()
	r := io.LimitReader(plain, maxPlain)
	if c == layer.None { // so that the reader can seek over what it does not need
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return OCI, err
		}
		r = f
	}
	found := false
	members := tar.NewReader(r)
	for range maxMembers {
		h, err := members.Next()
		if err == io.EOF && found {
			return OCI, nil
		}
		if err != nil {
			break
		}
		switch path.Clean(h.Name) {
		case manifestName, repositoriesName:
			return Docker, nil
		case indexName:
			found = true
		}
	}
	return OCI, oci.Errorf(oci.ErrInvalid, "%s: neither an OCI archive nor one of Docker's", oci.Quote(name))
}
