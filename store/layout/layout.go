// SPDX-License-Identifier: Apache-2.0

// Package layout keeps images in OCI image layout directories (image-spec,
// image-layout.md), one repository or many names each, and in trees of them.
//
// [Open] gives one directory as a store; [Tree] gives a directory of layouts,
// or one layout that holds full names, as a catalog; [GC] removes what nothing
// names any more. Several processes may write one layout at the same time:
// blobs are renamed into place whole, and index.json changes under a kernel
// lock on the file .lock beside it. Reading needs no lock and no permission to
// write.
package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

// Options say how a layout is opened. The zero value opens an existing one
// for reading and writing.
type Options struct {
	// Create allows the directory to be absent: it is made by the first
	// write, so that a run that fails before that leaves nothing behind.
	Create bool
	// ReadOnly refuses everything that would change a file: ErrDenied.
	ReadOnly bool
	// TrustExisting takes a blob file of the right size for the blob. Without
	// it, Put of a blob that is there, or of a manifest above it, reads and
	// hashes the file once (about 1.5 GB/s with SHA extensions), unless this
	// Dir wrote it.
	TrustExisting bool
}

// A Dir is one layout directory as one repository. It is an oci.Store, and
// can list, delete, untag, publish, read ranges and find referrers. It is safe
// for concurrent use. Nothing needs to be closed.
type Dir struct {
	place    place
	o        Options
	host     string // of Locate
	name     string // of Locate
	tree     *tree  // where the repositories to mount from are; may be nil
	checked  atomic.Bool
	known    known
	cache    indexCache
	queue    changeQueue
	subjects subjects
}

// Open opens the layout in dir. ErrNotFound if there is none and Options.Create
// is not set, ErrInvalid if dir is something else, ErrCorrupt if its index.json
// is broken, ErrUnsupported if its version is not 1.x.
func Open(dir string, o Options) (*Dir, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	l := newDir(place{base: abs}, o)
	l.host = "oci:" + abs
	root, err := l.reading(context.Background())
	if errors.Is(err, oci.ErrNotFound) && o.Create && !o.ReadOnly {
		return l, l.place.creatable()
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	_, err = l.index(root)
	return l, err
}

func newDir(p place, o Options) *Dir {
	l := &Dir{place: p, o: o}
	l.queue.init()
	return l
}

// Locate implements oci.Locator: the host is "oci:" and the absolute directory
// of the layout, or of the tree that it is part of.
func (l *Dir) Locate() (host, repository string) { return l.host, l.name }

// reading opens the directory of an existing layout. The caller closes it.
func (l *Dir) reading(ctx context.Context) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := l.place.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, oci.Errorf(oci.ErrNotFound, "%s: no such directory", l.place)
	}
	if err != nil {
		return nil, l.place.explain(err)
	}
	if l.checked.Load() {
		return root, nil
	}
	if err := checkLayoutFile(root); err != nil {
		root.Close()
		return nil, oci.Wrap("", l.place.String(), err)
	}
	l.checked.Store(true)
	return root, nil
}

// writing opens the directory for a change, and makes the layout if there is
// none. The caller closes it.
func (l *Dir) writing(ctx context.Context) (*os.Root, error) {
	if l.o.ReadOnly {
		return nil, oci.Errorf(oci.ErrDenied, "%s is open for reading only", l.place)
	}
	root, err := l.reading(ctx)
	if err == nil || !l.o.Create || !errors.Is(err, oci.ErrNotFound) {
		return root, err
	}
	if err := l.create(ctx); err != nil {
		return nil, oci.Wrap("create", l.place.String(), err)
	}
	return l.reading(ctx)
}

// create makes an empty layout. Whoever holds the lock first does it.
func (l *Dir) create(ctx context.Context) error {
	if err := l.place.creatable(); err != nil {
		return err
	}
	if err := l.place.make(); err != nil {
		return err
	}
	root, err := l.place.open()
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := l.lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := root.Lstat(layoutFile); !errors.Is(err, fs.ErrNotExist) {
		return err // another process has made it, or it cannot be seen
	}
	if err := writeFile(root, indexFile, []byte(emptyIndex)); err != nil {
		return err
	}
	return writeFile(root, layoutFile, []byte(layoutContent)) // last: it makes the directory a layout
}
