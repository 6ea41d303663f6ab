// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// resumable is the size from which on a blob that is not whole yet is kept for
// the next run.
const resumable = 1 << 20

// begin makes the place to write when it is first needed.
func (d *Dir) begin(ctx context.Context) (*stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !d.write {
		return nil, oci.Errorf(oci.ErrDenied, "%s is open for reading only", d.path)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stage == nil {
		s, err := openStage(d.path)
		if err != nil {
			return nil, oci.Wrap("write", d.path, err)
		}
		d.stage = s
	}
	return d.stage, nil
}

// Put implements oci.Sink. What the directory has already is not read from b,
// but made part of the next image after it has been hashed. A blob of 1 MiB or
// more goes on where a killed run ended, if b is an oci.RangeBlob.
func (d *Dir) Put(ctx context.Context, b oci.Blob, _ ...string) (oci.How, error) {
	desc := b.Descriptor()
	if err := oci.CheckDescriptor(desc); err != nil {
		return 0, err
	}
	var m *oci.Manifest
	if oci.IsManifest(desc.MediaType) {
		var err error
		if m, err = readManifest(ctx, b); err != nil {
			return 0, err
		}
		b = m.Blob()
	}
	s, err := d.begin(ctx)
	if err != nil {
		return 0, err
	}
	how := oci.Existed
	err = d.alone(ctx, names(desc)[0], func() error {
		ok, err := d.have(ctx, s, desc)
		if ok || err != nil {
			return err
		}
		how = oci.Sent
		return s.fetch(ctx, b, names(desc)[0])
	})
	if err != nil {
		return 0, oci.Wrap("write", d.path, err)
	}
	if m != nil {
		d.mu.Lock()
		d.manifest[desc.Digest] = m
		d.mu.Unlock()
	}
	return how, nil
}

func readManifest(ctx context.Context, b oci.Blob) (*oci.Manifest, error) {
	desc := b.Descriptor()
	if desc.Size > oci.MaxManifest {
		return nil, oci.Errorf(oci.ErrInvalid, "manifest %s has %d bytes, more than %d", desc.Digest, desc.Size, oci.MaxManifest)
	}
	r, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(oci.Verify(r, desc))
	if err != nil {
		return nil, err
	}
	m, err := oci.ParseManifest(desc.MediaType, raw)
	if err != nil {
		return nil, oci.Wrap("", string(desc.Digest), err)
	}
	m.Descriptor.Digest = desc.Digest
	return m, nil
}

// Tag implements oci.Sink: ErrUnsupported, because the format has no names.
func (d *Dir) Tag(ctx context.Context, name string, _ oci.Descriptor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return oci.Errorf(oci.ErrUnsupported, "%s cannot be called %s: an image in a directory has no name", d.path, oci.Quote(name))
}

// Publish implements oci.Publisher: the manifest becomes the image. The format
// has no names.
func (d *Dir) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	if len(names) > 0 {
		return d.Tag(ctx, names[0], manifest.Descriptor())
	}
	if _, err := d.Put(ctx, manifest); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roots[manifest.Descriptor().Digest] = true
	return nil
}

// alone runs f while no other Put is at the file.
func (d *Dir) alone(ctx context.Context, name string, f func() error) error {
	done := make(chan struct{})
	for {
		d.mu.Lock()
		other := d.busy[name]
		if other == nil {
			d.busy[name] = done
		}
		d.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		d.mu.Lock()
		delete(d.busy, name)
		d.mu.Unlock()
		close(done)
	}()
	return f()
}

// have makes what is there already part of the next image: what this run has
// written, what a killed run has left, what the directory holds. All of it is
// hashed before it counts.
func (d *Dir) have(ctx context.Context, s *stage, desc oci.Descriptor) (bool, error) {
	name := names(desc)[0]
	if s.has(name) {
		return true, nil
	}
	ok, err := s.leftover(ctx, name, desc)
	if !ok && err == nil {
		ok, err = d.adopt(ctx, s, name, desc)
	}
	if ok {
		s.add(name)
	}
	return ok, err
}

// leftover reports whether a killed run has left the whole file. Anything else
// of that name is removed.
func (s *stage) leftover(ctx context.Context, name string, desc oci.Descriptor) (bool, error) {
	f, fi, err := disk.OpenRegular(s.root, s.in(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		defer f.Close()
		if fi.Size() == desc.Size {
			_, err = disk.Copy(ctx, io.Discard, oci.Verify(f, desc))
			if err == nil {
				return true, f.Sync()
			}
		}
	}
	if err != nil && !errors.Is(err, oci.ErrCorrupt) {
		return false, err
	}
	return false, s.root.RemoveAll(s.in(name))
}

// adopt takes the file of the present image for the next one: as a second name
// of the same file where that is possible.
func (d *Dir) adopt(ctx context.Context, s *stage, name string, desc oci.Descriptor) (bool, error) {
	old, fi, err := d.verified(ctx, desc)
	if old == "" || err != nil {
		return false, err
	}
	if err := s.root.Link(s.base+"/"+old, s.in(name)); err == nil {
		if now, err := s.root.Lstat(s.in(name)); err == nil && sameFile(fi, now) {
			return true, nil
		}
		return false, s.root.Remove(s.in(name)) // it was changed in between
	}
	err = s.fetch(ctx, fileBlob{desc, filepath.Join(d.path, old)}, name)
	if errors.Is(err, oci.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// verified finds the file of the present image that holds desc, and hashes it
// unless that was done. The name is empty if there is none, or a wrong one.
func (d *Dir) verified(ctx context.Context, desc oci.Descriptor) (name string, fi fs.FileInfo, err error) {
	root, err := d.open(ctx)
	if errors.Is(err, oci.ErrNotFound) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	defer root.Close()
	f, fi, err := d.findIn(root, desc)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, oci.ErrCorrupt) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	name = filepath.Base(f.Name())
	d.mu.Lock()
	known := sameFile(d.checked[name+string(desc.Digest)], fi)
	d.mu.Unlock()
	if fi.Size() != desc.Size {
		return "", nil, nil
	}
	if known {
		return name, fi, nil
	}
	if _, err := disk.Copy(ctx, io.Discard, oci.Verify(f, desc)); err != nil {
		if errors.Is(err, oci.ErrCorrupt) {
			err = nil
		}
		return "", nil, err
	}
	d.mu.Lock()
	d.checked[name+string(desc.Digest)] = fi
	d.mu.Unlock()
	return name, fi, nil
}

// usable reports whether the next image can be made of desc without fetching
// it: its bytes are right, and those of all that is below it. seen is what was
// found so.
func (d *Dir) usable(ctx context.Context, desc oci.Descriptor, seen map[string]bool, depth int) (bool, error) {
	key := names(desc)[0]
	if seen[key] {
		return true, nil
	}
	if depth > oci.MaxDepth || len(seen) > oci.MaxNodes {
		return false, nil
	}
	if s := d.stagedNow(); s != nil && s.has(key) {
		return true, nil
	}
	name, _, err := d.verified(ctx, desc)
	if name == "" || err != nil {
		return false, err
	}
	seen[key] = true
	if !oci.IsManifest(desc.MediaType) {
		return true, nil
	}
	m, err := d.load(ctx, desc)
	if err != nil {
		return false, err
	}
	for _, c := range m.Children() {
		if oci.IsForeign(c) {
			continue
		}
		if ok, err := d.usable(ctx, c, seen, depth+1); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// A fileBlob is a blob in a file.
type fileBlob struct {
	d    oci.Descriptor
	path string
}

func (b fileBlob) Descriptor() oci.Descriptor { return b.d }

func (b fileBlob) Open(context.Context) (io.ReadCloser, error) { return os.Open(b.path) }

// fetch writes a blob beside the next image and moves it there.
func (s *stage) fetch(ctx context.Context, b oci.Blob, name string) error {
	part := s.part + "/" + name + ".part"
	if fi, err := s.root.Lstat(part); err == nil && !fi.Mode().IsRegular() {
		if err := s.root.RemoveAll(part); err != nil {
			return err
		}
	}
	f, err := s.root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	err = fill(ctx, f, b)
	var w *disk.WriteError
	keep := err != nil && b.Descriptor().Size >= resumable && !errors.Is(err, oci.ErrCorrupt) && !errors.As(err, &w)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.root.Rename(part, s.in(name))
	}
	if err != nil && !keep {
		s.root.Remove(part)
	}
	if err == nil {
		s.add(name)
	}
	return err
}

// fill brings the file to the whole verified content of b.
func fill(ctx context.Context, f *os.File, b oci.Blob) error {
	resumed, err := resume(ctx, f, b)
	if resumed && !errors.Is(err, oci.ErrCorrupt) {
		return err
	}
	if err = f.Truncate(0); err != nil { // there is nothing to go on with, or it was bad
		return &disk.WriteError{Err: err}
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = disk.Copy(ctx, f, oci.Verify(r, b.Descriptor()))
	return err
}

// resume completes what a killed run has left. It reports false if there is
// nothing, or if the source cannot go on from there.
func resume(ctx context.Context, f *os.File, b oci.Blob) (bool, error) {
	d := b.Descriptor()
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	have := fi.Size()
	rb, ranged := b.(oci.RangeBlob)
	if have == 0 || have >= d.Size || !ranged {
		return false, nil
	}
	h := d.Digest.Algorithm().Hash()
	if _, err := disk.Copy(ctx, h, f); err != nil {
		return true, err
	}
	r, err := rb.OpenRange(ctx, have, -1)
	if errors.Is(err, oci.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	defer r.Close()
	n, err := disk.Copy(ctx, io.MultiWriter(f, h), io.LimitReader(r, d.Size-have+1))
	if err != nil {
		return true, err
	}
	return true, checkSum(h, d, have+n)
}

func checkSum(h hash.Hash, d oci.Descriptor, size int64) error {
	if got := hex.EncodeToString(h.Sum(nil)); size != d.Size || got != d.Digest.Encoded() {
		return oci.Errorf(oci.ErrCorrupt, "content of %d bytes has digest %s:%s, want %s with %d bytes", size, d.Digest.Algorithm(), got, d.Digest, d.Size)
	}
	return nil
}
