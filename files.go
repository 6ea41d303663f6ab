// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A FileInfo is a file, directory, link or device of an image.
type FileInfo struct {
	Path    string     `json:"path"` // from the root, with a slash at its start
	Type    string     `json:"type"` // file, dir, symlink, char, block, fifo
	Mode    string     `json:"mode"` // as ls -l writes it
	UID     int        `json:"uid"`
	GID     int        `json:"gid"`
	Size    int64      `json:"size"` // bytes of a file
	Device  string     `json:"device,omitempty"`
	ModTime time.Time  `json:"mtime"`
	Link    string     `json:"link"`             // target of a symlink, as it is written
	Layer   int        `json:"layer"`            // that it is from, 1 the lowest
	Digest  oci.Digest `json:"digest,omitempty"` // of a file, if a table of contents tells it
}

// FilesOptions choose what Files lists.
type FilesOptions struct {
	Recursive bool // all below a directory, not only what is right in it
}

// Files lists the files of an image at a path: what is in a directory, in byte
// order, or one file. Links before the end of the path are followed, and one at
// its end if a slash is behind it. Only layers are read, and of those with a
// table of contents only that; Digest is known of their files. An index needs a
// platform, unless it holds just one image. ErrNotFound if there is no such path.
func (c *Client) Files(ctx context.Context, name string, s Side, p *oci.Platform, at string, o FilesOptions) iter.Seq2[FileInfo, error] {
	return func(yield func(FileInfo, error) bool) {
		r, i, err := c.image(ctx, name, s, p)
		if err == nil {
			err = oci.Wrap("", r.String(), list(ctx, i.Files(layer.Limits{}), at, o, func(f FileInfo) bool { return yield(f, nil) }))
		}
		if err != nil {
			yield(FileInfo{}, err)
		}
	}
}

func list(ctx context.Context, files *image.Files, at string, o FilesOptions, yield func(FileInfo) bool) error {
	tree, err := files.Tree(ctx)
	if err != nil {
		return err
	}
	clean := strings.TrimPrefix(path.Clean("/"+at), "/")
	if clean == "" {
		clean = "."
	}
	find := tree.Lookup
	if strings.HasSuffix(at, "/") {
		find = tree.Follow
	}
	at, n, err := find(clean)
	if err != nil {
		return err
	}
	if n.Kind != layer.Dir {
		yield(fileInfo(files, at, n))
		return nil
	}
	for p, n := range tree.All(at) {
		if dir := path.Dir(p); !o.Recursive && dir != at {
			continue
		}
		if err := ctx.Err(); err != nil || !yield(fileInfo(files, p, n)) {
			return err
		}
	}
	return nil
}

var fileTypes = map[layer.Kind]struct {
	name string
	sign byte
}{layer.File: {"file", '-'}, layer.Dir: {"dir", 'd'}, layer.Symlink: {"symlink", 'l'}, layer.Char: {"char", 'c'}, layer.Block: {"block", 'b'}, layer.Fifo: {"fifo", 'p'}}

func fileInfo(files *image.Files, p string, n *layer.Node) FileInfo {
	kind, h := fileTypes[n.Kind], n.Header
	f := FileInfo{Path: "/" + p, Type: kind.name, Mode: modeString(kind.sign, h.Mode), UID: h.Uid, GID: h.Gid, Size: n.Size,
		ModTime: h.ModTime.UTC().Truncate(time.Second), Link: n.Link, Layer: n.Layer + 1, Digest: files.Digest(n)}
	if n.Kind == layer.Char || n.Kind == layer.Block {
		f.Device = fmt.Sprintf("%d,%d", h.Devmajor, h.Devminor)
	}
	return f
}

// modeString is a mode of a tar header as ls -l writes it.
func modeString(kind byte, mode int64) string {
	s := []byte{kind, '-', '-', '-', '-', '-', '-', '-', '-', '-'}
	for i := range 9 {
		if mode&(1<<(8-i)) != 0 {
			s[1+i] = "rwx"[i%3]
		}
	}
	for i, bit := range []struct {
		at       int
		set, not byte
	}{{3, 's', 'S'}, {6, 's', 'S'}, {9, 't', 'T'}} {
		switch {
		case mode&(0o4000>>i) == 0:
		case s[bit.at] == 'x':
			s[bit.at] = bit.set
		default:
			s[bit.at] = bit.not
		}
	}
	return string(s)
}

// Artifact opens what an artifact holds: its one layer, as of a bill of materials or
// an attestation, verified while it is read. With a type it is the one artifact of
// that type that refers to what is named. The caller closes it. ErrInvalid for an
// image or an index, for an artifact of several layers, and for several of the
// type; ErrNotFound for none.
func (c *Client) Artifact(ctx context.Context, name string, s Side, p *oci.Platform, artifactType string) (io.ReadCloser, oci.Descriptor, error) {
	r, st, d, err := c.resolve(ctx, name, s, p)
	if err == nil && artifactType != "" {
		d, err = referrerOf(ctx, st, d, artifactType)
		err = oci.Wrap("", r.String(), err)
	}
	if err != nil {
		return nil, d, err
	}
	m, err := oci.Fetch(ctx, st, d)
	switch {
	case err != nil:
		return nil, d, err
	case m.IsIndex():
		return nil, d, oci.Errorf(oci.ErrInvalid, "%s is an index: what belongs to it are artifacts of their own", r)
	case slices.ContainsFunc(m.Layers, func(l oci.Descriptor) bool { return oci.IsLayer(l.MediaType) }):
		return nil, d, oci.Errorf(oci.ErrInvalid, "%s is an image, not an artifact: want the path of a file in it too", r)
	case len(m.Layers) != 1:
		return nil, d, oci.Errorf(oci.ErrInvalid, "%s is an artifact of %d layers, not one", r, len(m.Layers))
	}
	rc, err := oci.From(st, m.Layers[0]).Open(ctx)
	return rc, m.Layers[0], err
}

// referrerOf finds the only artifact of a type that refers to something.
func referrerOf(ctx context.Context, s oci.Source, d oci.Descriptor, artifactType string) (oci.Descriptor, error) {
	list, err := referrersOf(ctx, s, d)
	if err != nil {
		return d, err
	}
	list = slices.DeleteFunc(list, func(x oci.Descriptor) bool { return x.ArtifactType != artifactType })
	switch len(list) {
	case 0:
		return d, oci.Errorf(oci.ErrNotFound, "no artifact of the type %s belongs to it", oci.Quote(artifactType))
	case 1:
		return list[0], nil
	}
	return d, oci.Errorf(oci.ErrInvalid, "%d artifacts of the type %s belong to it: choose one by its digest, as %s", len(list), oci.Quote(artifactType), list[0].Digest)
}

// Cat writes the content of files of an image, one after the other. Links are
// followed within the image. No more layers are read than it takes to be sure,
// and of those with a table of contents only the ranges of the files. An index
// needs a platform, unless it holds just one image. ErrNotFound if a file is
// not there, ErrInvalid if it is not a regular file.
func (c *Client) Cat(ctx context.Context, name string, s Side, p *oci.Platform, w io.Writer, paths ...string) error {
	r, i, err := c.image(ctx, name, s, p)
	if err != nil {
		return err
	}
	files := i.Files(layer.Limits{})
	for _, at := range paths {
		rc, _, err := files.Open(ctx, at)
		if err == nil {
			_, err = io.Copy(w, rc)
			if cerr := rc.Close(); err == nil {
				err = cerr
			}
		}
		if err != nil {
			return oci.Wrap("", r.String(), err)
		}
	}
	return nil
}
