// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// algorithms are those whose blobs are looked after.
var algorithms = []string{"sha256", "sha512"}

// blobPath is the file of a blob. The digest must be valid.
func blobPath(d oci.Digest) string {
	return path.Join(blobsDir, d.Algorithm().String(), d.Encoded())
}

// sized reports whether the descriptor tells a size: zero is one only for the
// blob without bytes.
func sized(d oci.Descriptor) bool {
	return d.Size > 0 || d.Digest == d.Digest.Algorithm().FromBytes(nil)
}

// Stat implements oci.Source. A file that is not as long as d says is not the
// blob: ErrNotFound, so that it gets replaced. Its content is not looked at;
// Open and Put do that. What is no regular file is ErrCorrupt.
func (l *Dir) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return oci.Descriptor{}, err
	}
	root, err := l.reading(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer root.Close()
	return l.stat(root, d)
}

func (l *Dir) stat(root *os.Root, d oci.Descriptor) (oci.Descriptor, error) {
	fi, err := disk.StatRegular(root, blobPath(d.Digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s has no blob %s", l.place, d.Digest)
	case err != nil:
		return oci.Descriptor{}, oci.Wrap("", l.place.String(), err)
	case sized(d) && fi.Size() != d.Size:
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s has no whole blob %s: the file has %d of %d bytes", l.place, d.Digest, fi.Size(), d.Size)
	}
	d.Size = fi.Size()
	return d, nil
}

// Open implements oci.Source. ErrCorrupt at once if the file is not as long as
// d says or is no regular file.
func (l *Dir) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	f, size, err := l.open(ctx, d)
	if err != nil {
		return nil, err
	}
	d.Size = size
	return oci.Verify(f, d), nil
}

// OpenRange implements oci.Ranger.
func (l *Dir) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	f, size, err := l.open(ctx, d)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{oci.Section(f, size, offset, length), f}, nil
}

func (l *Dir) open(ctx context.Context, d oci.Descriptor) (*os.File, int64, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return nil, 0, err
	}
	root, err := l.reading(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	f, fi, err := disk.OpenRegular(root, blobPath(d.Digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, oci.Errorf(oci.ErrNotFound, "%s has no blob %s", l.place, d.Digest)
	case err != nil:
		return nil, 0, oci.Wrap("", l.place.String(), err)
	case sized(d) && fi.Size() != d.Size:
		f.Close()
		return nil, 0, oci.Errorf(oci.ErrCorrupt, "%s: %s has %d bytes, want %d", l.place, blobPath(d.Digest), fi.Size(), d.Size)
	}
	return f, fi.Size(), nil
}

// known remembers the blob files that this Dir has written or hashed, as they
// were then.
type known struct {
	mu sync.Mutex
	m  map[oci.Digest]fs.FileInfo
}

// maxKnown bounds the memory of known; what is forgotten is hashed again.
const maxKnown = 1 << 16

// touch gives a blob file a new time, so that GC leaves it alone, and reports
// how it is now and whether it is one that was known. fs.ErrNotExist if it has
// just gone.
func (k *known) touch(root *os.Root, d oci.Digest) (fi fs.FileInfo, was bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, err := root.Lstat(blobPath(d))
	if err != nil {
		return nil, false, err
	}
	old := k.m[d]
	was = old != nil && os.SameFile(old, before) && old.Size() == before.Size() && old.ModTime().Equal(before.ModTime())
	now := time.Now()
	err = root.Chtimes(blobPath(d), now, now)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) { // another user's: that user's GC has to know
		return before, was, nil
	}
	if err == nil {
		fi, err = root.Lstat(blobPath(d))
	}
	if err == nil && was {
		k.m[d] = fi
	}
	return fi, was, err
}

// add notes that the blob file is good as it is in fi.
func (k *known) add(d oci.Digest, fi fs.FileInfo) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil || len(k.m) >= maxKnown {
		k.m = map[oci.Digest]fs.FileInfo{}
	}
	k.m[d] = fi
}

func (k *known) drop(d oci.Digest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, d)
}
