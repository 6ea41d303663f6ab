// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// resumable is the size from which on a blob that is not whole yet is kept
// under a name that the next Put finds again.
const resumable = 1 << 20

// Put implements oci.Sink. A blob file that is there counts only if its size
// is right and its content has been hashed once by this Dir (see
// Options.TrustExisting); else it is replaced.
//
// A blob of 1 MiB or more goes on where an earlier Put ended, also one of a
// process that was killed, if b is an oci.RangeBlob. While another Put has
// that half blob, in whatever process, this one does not wait for it but
// fetches a copy of its own: waiting could deadlock two runs that hold each
// other's blobs.
//
// Manifests must parse, and config and layers of an image must be there and
// good: ErrNotFound. The manifests of an index may be missing (image-spec,
// image-index.md). A manifest with a subject gets an entry in index.json.
func (l *Dir) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	d := b.Descriptor()
	if err := oci.CheckDescriptor(d); err != nil {
		return 0, err
	}
	if oci.IsManifest(d.MediaType) {
		m, err := readManifest(ctx, b)
		if err != nil {
			return 0, err
		}
		return l.putManifest(ctx, m, nil)
	}
	root, err := l.writing(ctx)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	ok, err := l.have(ctx, root, d)
	if ok || err != nil {
		return oci.Existed, oci.Wrap("", l.place.String(), err)
	}
	if l.mount(ctx, root, d, from) {
		return oci.Mounted, nil
	}
	if err := l.fetch(ctx, root, b); err != nil {
		return 0, oci.Wrap("write", l.place.String(), err)
	}
	return oci.Sent, nil
}

// have reports whether the blob is there and good.
func (l *Dir) have(ctx context.Context, root *os.Root, d oci.Descriptor) (bool, error) {
	fi, err := disk.StatRegular(root, blobPath(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || fi.Size() != d.Size {
		return false, err
	}
	fi, was, err := l.known.touch(root, d.Digest)
	if errors.Is(err, fs.ErrNotExist) { // GC was faster
		return false, nil
	}
	if err != nil || was || l.o.TrustExisting {
		return err == nil, err
	}
	f, _, err := disk.OpenRegular(root, blobPath(d.Digest))
	if err != nil {
		return false, ignore(err, fs.ErrNotExist)
	}
	defer f.Close()
	if _, err := disk.Copy(ctx, io.Discard, oci.Verify(f, d)); err != nil {
		return false, ignore(err, oci.ErrCorrupt)
	}
	l.known.add(d.Digest, fi)
	return true, nil
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// fetch writes the blob to a file below ingest and moves it into place.
func (l *Dir) fetch(ctx context.Context, root *os.Root, b oci.Blob) error {
	d := b.Descriptor()
	defer root.Remove(ingestDir) // fails while others use it
	if d.Size >= resumable {
		p, err := openPart(root, l.place.String(), d)
		if err != nil {
			return err
		}
		if p != nil {
			defer p.close()
			if err := p.fill(ctx, b); err != nil {
				return err
			}
			return l.commit(root, p.f, p.name, d)
		}
	}
	f, name, err := newTemp(root)
	if err != nil {
		return err
	}
	if err = receive(ctx, f, b); err != nil {
		f.Close()
		root.Remove(name)
		return err
	}
	return l.commit(root, f, name, d)
}

// receive copies a whole blob.
func receive(ctx context.Context, w io.Writer, b oci.Blob) error {
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = disk.Copy(ctx, w, oci.Verify(rc, b.Descriptor()))
	return err
}

// commit moves a finished file into place, and closes it. The name becomes
// durable when index.json next changes.
func (l *Dir) commit(root *os.Root, f *os.File, name string, d oci.Descriptor) error {
	fi, err := f.Stat()
	if err == nil && fi.Size() != d.Size {
		err = oci.Errorf(oci.ErrCorrupt, "%s: the file has %d bytes, want %d", name, fi.Size(), d.Size)
	}
	if err = finish(f, err); err == nil {
		err = settle(root, name, d.Digest)
	}
	if err != nil {
		root.Remove(name)
		return err
	}
	l.known.add(d.Digest, fi)
	return nil
}

// settle renames a file below ingest to the path of a blob.
func settle(root *os.Root, name string, d oci.Digest) error {
	err := root.Rename(name, blobPath(d))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.MkdirAll(path.Dir(blobPath(d)), 0o755); err != nil {
		return err
	}
	for _, dir := range []string{blobsDir, "."} {
		if err := disk.SyncDir(root, dir); err != nil {
			return err
		}
	}
	return root.Rename(name, blobPath(d))
}
