// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/dray-tools/dray/oci"
)

// Adopt makes the file at path the blob d. The caller has verified it against
// d; it need not be synced. It is moved if it lies on the same file system, else
// copied and removed, if it can be. ErrCorrupt if it is not as long as d says.
// On errors the file stays where it is.
func (l *Dir) Adopt(ctx context.Context, path string, d oci.Descriptor) (oci.How, error) {
	if err := oci.CheckDescriptor(d); err != nil {
		return 0, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	if !fi.Mode().IsRegular() || fi.Size() != d.Size {
		return 0, oci.Errorf(oci.ErrCorrupt, "%s is no file of %d bytes", path, d.Size)
	}
	root, err := l.writing(ctx)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	ok, err := l.have(ctx, root, d)
	if err != nil {
		return 0, oci.Wrap("", l.place.String(), err)
	}
	if ok {
		os.Remove(path)
		return oci.Existed, nil
	}
	if l.takeOver(root, path, d) == nil {
		return oci.Sent, nil
	}
	if err := l.fetch(ctx, root, fileBlob{d, path}); err != nil {
		return 0, oci.Wrap("write", l.place.String(), err)
	}
	os.Remove(path)
	return oci.Sent, nil
}

// takeOver moves the file into place if that can be done by a rename.
func (l *Dir) takeOver(root *os.Root, path string, d oci.Descriptor) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := finish(f, f.Chmod(0o644)); err != nil { // temporary files are often private
		return err
	}
	temp, name, err := newTemp(root)
	if err != nil {
		return err
	}
	defer root.Remove(ingestDir)
	temp.Close()
	if err := os.Rename(path, filepath.Join(l.place.String(), filepath.FromSlash(name))); err != nil {
		root.Remove(name)
		return err
	}
	fi, err := root.Lstat(name)
	if err == nil {
		err = settle(root, name, d.Digest)
	}
	if err != nil {
		back := os.Rename(filepath.Join(l.place.String(), filepath.FromSlash(name)), path)
		return errors.Join(err, back)
	}
	l.known.add(d.Digest, fi)
	return nil
}

// A fileBlob is a blob in a file.
type fileBlob struct {
	d    oci.Descriptor
	path string
}

func (b fileBlob) Descriptor() oci.Descriptor { return b.d }

func (b fileBlob) Open(context.Context) (io.ReadCloser, error) { return os.Open(b.path) }
