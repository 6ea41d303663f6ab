// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// A part is a half blob below ingest, and the lock that makes it ours. The
// lock is a file of its own because Windows refuses writes to a locked one.
type part struct {
	root *os.Root
	f    *os.File
	name string
	lock *flock.Flock
}

func partName(d oci.Digest) string {
	return ingestDir + "/" + d.Algorithm().String() + "-" + d.Encoded() + ".part"
}

// Left implements oci.Resumer.
func (l *Dir) Left(ctx context.Context, d oci.Descriptor) int64 {
	if oci.CheckDescriptor(d) != nil {
		return 0
	}
	root, err := l.reading(ctx)
	if err != nil {
		return 0
	}
	defer root.Close()
	fi, err := root.Lstat(partName(d.Digest))
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > d.Size {
		return 0
	}
	return fi.Size()
}

// openPart opens the half blob of d, new or as it was left. nil if somebody
// else is at it.
func openPart(root *os.Root, dir string, d oci.Descriptor) (*part, error) {
	name := partName(d.Digest)
	lock, err := lockPart(root, dir, name+".lock")
	if lock == nil || err != nil {
		return nil, err
	}
	p := &part{root: root, name: name, lock: lock}
	if fi, err := root.Lstat(name); err == nil && !fi.Mode().IsRegular() {
		p.close()
		return nil, oci.Errorf(oci.ErrCorrupt, "%s is not a regular file", name)
	}
	p.f, err = openIngest(root, name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// lockPart takes the lock without waiting; nil if somebody else has it.
func lockPart(root *os.Root, dir, name string) (*flock.Flock, error) {
	for range 100 {
		f, err := openIngest(root, name, os.O_RDONLY|os.O_CREATE)
		if err != nil {
			return nil, err
		}
		f.Close()
		lock := flock.New(filepath.Join(dir, filepath.FromSlash(name)), flock.SetFlag(os.O_RDONLY))
		ok, err := lock.TryLock()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !ok || err != nil {
			lock.Close()
			return nil, err
		}
		// The one who had it may have removed the file in between; then
		// this is the lock of a file that nobody else finds.
		mine, err := lock.Stat()
		if err == nil {
			now, err := root.Lstat(name)
			if err == nil && os.SameFile(mine, now) {
				return lock, nil
			}
		}
		lock.Close()
	}
	return nil, nil
}

// close lets go of the part. The half blob stays where it is, unless remove or
// commit has taken it away.
func (p *part) close() {
	if p.f != nil {
		p.f.Close() // again after commit, which does nothing
	}
	name := p.name + ".lock"
	if runtime.GOOS == "windows" { // where an open file cannot be removed
		p.lock.Close()
		p.root.Remove(name)
		return
	}
	p.root.Remove(name)
	p.lock.Close()
}

// fill brings the file to the whole verified content of b.
func (p *part) fill(ctx context.Context, b oci.Blob) error {
	resumed, err := p.resume(ctx, b)
	if resumed && errors.Is(err, oci.ErrCorrupt) { // the old half or the joint was bad: once more from the start
		resumed, err = false, nil
		if err = p.f.Truncate(0); err != nil {
			return err
		}
	}
	if !resumed && err == nil {
		if _, err = p.f.Seek(0, io.SeekStart); err == nil {
			err = receive(ctx, p.f, b)
		}
	}
	var w *disk.WriteError
	if errors.Is(err, oci.ErrCorrupt) || errors.As(err, &w) {
		p.root.Remove(p.name)
	}
	return err
}

// resume completes what an earlier Put has left. It reports false, and leaves
// an empty file, if there is nothing or the source cannot go on from there.
func (p *part) resume(ctx context.Context, b oci.Blob) (bool, error) {
	d := b.Descriptor()
	fi, err := p.f.Stat()
	if err != nil {
		return false, err
	}
	have := fi.Size()
	rb, ranged := b.(oci.RangeBlob)
	if have == 0 || have > d.Size || have < d.Size && !ranged {
		return false, p.f.Truncate(0)
	}
	h := d.Digest.Algorithm().Hash()
	if _, err := disk.Copy(ctx, h, p.f); err != nil {
		return false, err
	}
	if have < d.Size {
		rc, err := rb.OpenRange(ctx, have, -1)
		if errors.Is(err, oci.ErrUnsupported) {
			return false, p.f.Truncate(0)
		}
		if err != nil {
			return true, err
		}
		defer rc.Close()
		n, err := disk.Copy(ctx, io.MultiWriter(p.f, h), io.LimitReader(rc, d.Size-have+1))
		if err != nil {
			return true, err
		}
		have += n
	}
	return true, checkSum(h, d, have)
}

func checkSum(h hash.Hash, d oci.Descriptor, size int64) error {
	if got := hex.EncodeToString(h.Sum(nil)); size != d.Size || got != d.Digest.Encoded() {
		return oci.Errorf(oci.ErrCorrupt, "content of %d bytes has digest %s:%s, want %s with %d bytes", size, d.Digest.Algorithm(), got, d.Digest, d.Size)
	}
	return nil
}
