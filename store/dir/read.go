// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// settled is the age from which on a file's time tells apart any two versions
// of it; file systems count in ticks of up to some ten milliseconds.
const settled = 100 * time.Millisecond

// A cachedRoot is manifest.json, until the file changes.
type cachedRoot struct {
	mu sync.Mutex
	fi fs.FileInfo
	m  *oci.Manifest
}

// rootOf reads manifest.json. fs.ErrNotExist if there is none.
func (d *Dir) rootOf(root *os.Root) (*oci.Manifest, error) {
	d.top.mu.Lock()
	defer d.top.mu.Unlock()
	fi, err := disk.StatRegular(root, manifestFile)
	if err != nil {
		return nil, err
	}
	if sameFile(d.top.fi, fi) {
		return d.top.m, nil
	}
	raw, err := disk.ReadFile(root, manifestFile, oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := oci.ParseManifest("", raw)
	if err != nil {
		return nil, oci.Wrap("", manifestFile, err)
	}
	if d.top.fi = nil; time.Since(fi.ModTime()) > settled { // else it may change again without showing it
		d.top.fi, d.top.m = fi, m
	}
	return m, nil
}

// Resolve implements oci.Source. The empty name is the image, a digest is that
// of any manifest of it. Until Commit the empty name is the image that was there.
func (d *Dir) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return oci.Descriptor{}, err
	}
	if name == "" {
		root, err := d.open(ctx)
		if err != nil {
			return oci.Descriptor{}, err
		}
		defer root.Close()
		m, err := d.rootOf(root)
		if errors.Is(err, fs.ErrNotExist) {
			return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s holds no image: the file %s is missing", d.path, manifestFile)
		}
		if err != nil {
			return oci.Descriptor{}, oci.Wrap("", d.path, err)
		}
		return m.Descriptor, nil
	}
	digest, err := oci.ParseDigest(name)
	if err != nil {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s has no %s: images in a directory have no names", d.path, oci.Quote(name))
	}
	m, err := d.load(ctx, oci.Descriptor{MediaType: oci.MediaManifest, Digest: digest})
	if err != nil {
		return oci.Descriptor{}, err
	}
	return m.Descriptor, nil
}

// load reads a manifest by its digest alone: type and size are what it says.
func (d *Dir) load(ctx context.Context, desc oci.Descriptor) (*oci.Manifest, error) {
	f, fi, err := d.find(ctx, desc)
	if err != nil {
		return nil, err
	}
	desc.Size = fi.Size()
	defer f.Close()
	if desc.Size > oci.MaxManifest {
		return nil, oci.Wrap("", d.path, oci.Errorf(oci.ErrInvalid, "manifest %s has more than %d bytes", desc.Digest, oci.MaxManifest))
	}
	raw, err := io.ReadAll(oci.Verify(f, desc))
	if err != nil {
		return nil, oci.Wrap("", d.path, err)
	}
	m, err := oci.ParseManifest("", raw)
	if err != nil {
		return nil, oci.Wrap("", d.path, oci.Wrap("", string(desc.Digest), err))
	}
	m.Descriptor.Digest = desc.Digest
	return m, nil
}

// find opens the file of a blob or manifest, whatever its size.
func (d *Dir) find(ctx context.Context, desc oci.Descriptor) (*os.File, fs.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if _, err := oci.ParseDigest(string(desc.Digest)); err != nil {
		return nil, nil, err
	}
	if s := d.stagedNow(); s != nil && s.has(names(desc)[0]) {
		return disk.OpenRegular(s.root, s.in(names(desc)[0]))
	}
	root, err := d.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, fi, err := d.findIn(root, desc)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, oci.Errorf(oci.ErrNotFound, "%s has no %s", d.path, desc.Digest)
	}
	return f, fi, oci.Wrap("", d.path, err)
}

// findIn opens the file in the directory as it is. fs.ErrNotExist if it has
// none.
func (d *Dir) findIn(root *os.Root, desc oci.Descriptor) (f *os.File, fi fs.FileInfo, err error) {
	for _, name := range names(desc) {
		f, fi, err = disk.OpenRegular(root, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, fi, err
		}
	}
	if !oci.IsManifest(desc.MediaType) {
		return nil, nil, err
	}
	m, merr := d.rootOf(root)
	if merr != nil || m.Descriptor.Digest != desc.Digest && desc.Digest.Algorithm().FromBytes(m.Raw) != desc.Digest {
		return nil, nil, err
	}
	return disk.OpenRegular(root, manifestFile)
}

// sized reports whether the descriptor tells a size: zero is one only for the
// blob without bytes.
func sized(d oci.Descriptor) bool {
	return d.Size > 0 || d.Digest == d.Digest.Algorithm().FromBytes(nil)
}

// Stat implements oci.Source. A file that is not as long as desc says is not
// the blob: ErrNotFound, so that it gets replaced.
//
// With Options.Write what the directory holds is read and hashed once, because
// the next image is made of it without being fetched again; wrong bytes are
// ErrNotFound then, and so is an image or index that is not whole with all that
// is below it. ErrUnsupported for all, if what was admitted is not one image.
func (d *Dir) Stat(ctx context.Context, desc oci.Descriptor) (oci.Descriptor, error) {
	if err := d.admissible(ctx); err != nil {
		return oci.Descriptor{}, err
	}
	f, fi, err := d.find(ctx, desc)
	if err != nil {
		return oci.Descriptor{}, err
	}
	f.Close()
	if sized(desc) && fi.Size() != desc.Size {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s has no whole %s: the file has %d of %d bytes", d.path, desc.Digest, fi.Size(), desc.Size)
	}
	desc.Size = fi.Size()
	if !d.write {
		return desc, nil
	}
	if ok, err := d.usable(ctx, desc, map[string]bool{}, 0); err != nil || !ok {
		if err == nil {
			err = oci.Errorf(oci.ErrNotFound, "%s has no whole %s", d.path, desc.Digest)
		}
		return oci.Descriptor{}, err
	}
	return desc, nil
}

// Open implements oci.Source. ErrCorrupt at once if the file is not as long as
// desc says or is no regular file.
func (d *Dir) Open(ctx context.Context, desc oci.Descriptor) (io.ReadCloser, error) {
	f, err := d.openSized(ctx, &desc)
	if err != nil {
		return nil, err
	}
	return oci.Verify(f, desc), nil
}

// OpenRange implements oci.Ranger.
func (d *Dir) OpenRange(ctx context.Context, desc oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	f, err := d.openSized(ctx, &desc)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{oci.Section(f, desc.Size, offset, length), f}, nil
}

func (d *Dir) openSized(ctx context.Context, desc *oci.Descriptor) (*os.File, error) {
	f, fi, err := d.find(ctx, *desc)
	if err != nil {
		return nil, err
	}
	if sized(*desc) && fi.Size() != desc.Size {
		f.Close()
		return nil, oci.Errorf(oci.ErrCorrupt, "%s: the file of %s has %d bytes, want %d", d.path, desc.Digest, fi.Size(), desc.Size)
	}
	desc.Size = fi.Size()
	return f, nil
}

// Rooted implements oci.Rooter: the one root is manifest.json.
func (d *Dir) Rooted(ctx context.Context, desc oci.Descriptor) (bool, error) {
	root, err := d.Resolve(ctx, "")
	if errors.Is(err, oci.ErrNotFound) {
		return false, nil
	}
	return err == nil && root.Digest == desc.Digest, err
}
