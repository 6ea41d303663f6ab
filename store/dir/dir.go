// SPDX-License-Identifier: Apache-2.0

// Package dir keeps one image in a directory as skopeo's dir: transport does.
//
// The directory holds the file version, the root of the image as
// manifest.json, every further manifest of an index as HEX.manifest.json, and
// configs and layers as HEX. What is written is what skopeo writes for the same
// image, byte for byte. The format has no names, and holds one root.
//
// An image is written beside the directory and takes its place as a whole with
// Commit; until then the directory is as it was. The place beside it is a
// hidden directory .NAME.part, under a kernel lock; a run that was killed
// leaves it behind, and the next one goes on with what it holds. So the parent
// of the directory has to be writable.
//
// Signatures (signature-N, HEX.signature-N) are kept as long as the manifest
// stays that they belong to. They are not part of what is copied elsewhere.
package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// Options say how a directory is opened. The zero value reads.
type Options struct {
	// Write allows to change the image, and the directory to be absent.
	Write bool
}

// A Dir is one directory. It is an oci.Store that changes with Commit, and can
// publish and read ranges. It is safe for concurrent use, but for Commit and
// Abort, which end what was begun. Only after a Put something needs to be ended.
type Dir struct {
	path  string // absolute
	write bool

	mu       sync.Mutex
	stage    *stage                       // nil until something is put
	manifest map[oci.Digest]*oci.Manifest // what was put of them
	roots    map[oci.Digest]bool          // which of them were published
	admitted map[oci.Digest]*oci.Manifest // what will be put
	busy     map[string]chan struct{}     // files that a Put is at
	checked  map[string]fs.FileInfo       // files of the directory whose bytes were hashed
	top      cachedRoot
}

// Open opens the directory at path. ErrNotFound if it is not there and
// Options.Write is not set, ErrInvalid if it holds something else than one
// image, ErrUnsupported if its version is not 1.x.
func Open(path string, o Options) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	d := &Dir{path: abs, write: o.Write}
	d.reset()
	root, err := d.open(context.Background())
	switch {
	case errors.Is(err, oci.ErrNotFound) && o.Write:
		return d, nil
	case err != nil:
		return nil, err
	}
	defer root.Close()
	if o.Write {
		err = replaceable(root)
	} else {
		err = readable(root)
	}
	if err != nil {
		return nil, oci.Wrap("", d.path, err)
	}
	return d, nil
}

func (d *Dir) reset() {
	d.stage = nil
	d.manifest = map[oci.Digest]*oci.Manifest{}
	d.roots = map[oci.Digest]bool{}
	d.admitted = map[oci.Digest]*oci.Manifest{}
	d.busy = map[string]chan struct{}{}
	d.checked = map[string]fs.FileInfo{}
}

// open opens the directory as it is now. The caller closes it.
func (d *Dir) open(ctx context.Context) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, oci.Errorf(oci.ErrNotFound, "%s: no such directory", d.path)
	}
	if err != nil {
		if fi, serr := os.Stat(d.path); serr == nil && !fi.IsDir() {
			return nil, oci.Errorf(oci.ErrInvalid, "%s is not a directory", d.path)
		}
		return nil, oci.Wrap("open", d.path, err)
	}
	return root, nil
}

// Locate implements oci.Locator.
func (d *Dir) Locate() (host, repository string) { return "dir:" + d.path, "" }

// stagedNow is the place of writing, nil before anything is put.
func (d *Dir) stagedNow() *stage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stage
}
