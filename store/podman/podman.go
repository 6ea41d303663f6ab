// SPDX-License-Identifier: Apache-2.0

// Package podman keeps images in the storage of Podman and its relatives
// (containers-storage:), through an installed skopeo or podman.
//
// That storage has no stable format of its own, so the tool that knows it is
// asked: an image is moved between the storage and a temporary directory, in
// the form of package dir. The storage keeps layers unpacked: what is read from
// it has plain layers, and so another manifest than what was written.
package podman

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/dir"
)

// Options say how the storage is reached. The zero value reads.
type Options struct {
	// LookPath finds programs; nil means exec.LookPath.
	LookPath func(string) (string, error)
	// TempDir is where an image is on its way in or out; empty means
	// os.TempDir.
	TempDir string
	// Write allows to put an image into the storage, which is not read then.
	Write bool
}

// An Image is one image of the storage. It is an oci.Store, which either reads
// or writes; what is written is there with Commit. It is safe for concurrent
// use.
type Image struct {
	name string // [driver@root+run]name or an ID, as skopeo understands it
	o    Options
	tool tool

	mu   sync.Mutex
	temp string   // directory; empty until it is needed
	d    *dir.Dir // in temp
}

// Open opens the image that name means; what it means is the tool's to decide.
// ErrUnsupported, with what to install, if there is no tool. The caller closes
// the image.
func Open(name string, o Options) (*Image, error) {
	if name == "" || name[0] == '-' || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, oci.Errorf(oci.ErrInvalid, "image %s: want the name of an image", oci.Quote(name))
	}
	look := o.LookPath
	if look == nil {
		look = exec.LookPath
	}
	t, err := findTool(look, o.Write)
	if err != nil {
		return nil, err
	}
	return &Image{name: name, o: o, tool: t}, nil
}

// place is the image in skopeo's words, and in errors.
func (i *Image) place() string { return "containers-storage:" + i.name }

// Locate implements oci.Locator.
func (i *Image) Locate() (host, repository string) { return "containers-storage:", i.name }

// Close removes what was put and not committed, and the temporary directory.
func (i *Image) Close() error { return i.Abort() }

// Resolve implements oci.Source. The empty name and that of the image mean it;
// a digest is that of its manifest, as it is read. With Options.Write it is the
// manifest that the storage keeps.
func (i *Image) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	d, err := i.resolve(ctx, name)
	return d, oci.Wrap("", i.place(), err)
}

func (i *Image) resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return oci.Descriptor{}, err
	}
	_, isDigest := oci.ParseDigest(name)
	if name != "" && name != i.name && isDigest != nil {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s is another image", oci.Quote(name))
	}
	if i.o.Write {
		raw, err := i.tool.manifest(ctx, i.place())
		if err != nil {
			return oci.Descriptor{}, err
		}
		m, err := oci.ParseManifest("", raw)
		if err != nil {
			return oci.Descriptor{}, err
		}
		return m.Descriptor, nil
	}
	d, err := i.fetch(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if isDigest == nil && name != i.name {
		return d.Resolve(ctx, name)
	}
	return d.Resolve(ctx, "")
}

// fetch has the tool write the image into a temporary directory, once.
func (i *Image) fetch(ctx context.Context) (*dir.Dir, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i.o.Write {
		return nil, oci.Errorf(oci.ErrUnsupported, "it is open for writing only")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.d != nil {
		return i.d, nil
	}
	temp, err := os.MkdirTemp(i.o.TempDir, "dray-storage-*")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(temp, "image")
	if err = i.tool.read(ctx, i.place(), path); err == nil {
		err = tellPlain(ctx, path)
	}
	var d *dir.Dir
	if err == nil {
		d, err = dir.Open(path, dir.Options{})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	i.temp, i.d = temp, d
	return d, nil
}

// Stat implements oci.Source. With Options.Write it tells what was put.
func (i *Image) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	var from *dir.Dir
	var err error
	if i.o.Write {
		from, err = i.staged(ctx)
	} else {
		from, err = i.fetch(ctx)
	}
	if err == nil {
		d, err = from.Stat(ctx, d)
	}
	return d, oci.Wrap("", i.place(), err)
}

// Open implements oci.Source.
func (i *Image) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	from, err := i.fetch(ctx)
	if err != nil {
		return nil, oci.Wrap("", i.place(), err)
	}
	r, err := from.Open(ctx, d)
	return r, oci.Wrap("", i.place(), err)
}

// OpenRange implements oci.Ranger.
func (i *Image) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	from, err := i.fetch(ctx)
	if err != nil {
		return nil, oci.Wrap("", i.place(), err)
	}
	r, err := from.OpenRange(ctx, d, offset, length)
	return r, oci.Wrap("", i.place(), err)
}

// staged is the directory that is written to.
func (i *Image) staged(ctx context.Context) (*dir.Dir, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !i.o.Write {
		return nil, oci.Errorf(oci.ErrDenied, "it is open for reading only")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.d != nil {
		return i.d, nil
	}
	temp, err := os.MkdirTemp(i.o.TempDir, "dray-storage-*")
	if err != nil {
		return nil, err
	}
	d, err := dir.Open(filepath.Join(temp, "image"), dir.Options{Write: true})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	i.temp, i.d = temp, d
	return d, nil
}

// Admit implements oci.Admitter: the storage holds images, and of an index its
// tools would choose one by themselves.
func (i *Image) Admit(ctx context.Context, m *oci.Manifest, _ oci.Source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.IsIndex() {
		return oci.Errorf(oci.ErrUnsupported, "%s takes one image, not an index: choose one platform with --platform", i.place())
	}
	return nil
}

// Put implements oci.Sink.
func (i *Image) Put(ctx context.Context, b oci.Blob, _ ...string) (oci.How, error) {
	d, err := i.staged(ctx)
	if err != nil {
		return 0, oci.Wrap("write", i.place(), err)
	}
	how, err := d.Put(ctx, b)
	return how, oci.Wrap("write", i.place(), err)
}

// Tag implements oci.Sink: the image has the name that it was opened by, and no
// other.
func (i *Image) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if name != i.name {
		return oci.Wrap("", i.place(), oci.Errorf(oci.ErrUnsupported, "it cannot be called %s at the same time", oci.Quote(name)))
	}
	if _, err := i.Stat(ctx, d); err != nil {
		return err
	}
	staged, err := i.staged(ctx)
	if err != nil {
		return oci.Wrap("write", i.place(), err)
	}
	m, err := oci.Fetch(ctx, staged, d)
	if err == nil {
		err = staged.Publish(ctx, m.Blob())
	}
	return oci.Wrap("write", i.place(), err)
}

// Publish implements oci.Publisher.
func (i *Image) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	staged, err := i.staged(ctx)
	if err == nil {
		err = staged.Publish(ctx, manifest)
	}
	if err != nil {
		return oci.Wrap("write", i.place(), err)
	}
	for _, name := range names {
		if err := i.Tag(ctx, name, manifest.Descriptor()); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements oci.Committer: the tool moves the image into the storage.
func (i *Image) Commit(ctx context.Context) error {
	i.mu.Lock()
	d, temp := i.d, i.temp
	i.mu.Unlock()
	if !i.o.Write || d == nil {
		return nil
	}
	err := d.Commit(ctx)
	if _, serr := os.Stat(filepath.Join(temp, "image")); err == nil && os.IsNotExist(serr) {
		return i.Abort() // nothing was put
	}
	if err == nil {
		err = i.tool.write(ctx, filepath.Join(temp, "image"), i.place())
	}
	if err != nil {
		return oci.Wrap("write", i.place(), err)
	}
	return i.Abort() // removes the copy
}

// Abort implements oci.Committer.
func (i *Image) Abort() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.d == nil {
		return nil
	}
	err := errors.Join(i.d.Abort(), os.RemoveAll(i.temp))
	i.d, i.temp = nil, ""
	return err
}
