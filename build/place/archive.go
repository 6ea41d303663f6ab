// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// An archive is a tar that is unpacked, packed in one of the ways that layer
// knows or in none.
type archive struct {
	name    string
	known   string // its key
	content func() (io.ReadCloser, error)

	to      string
	exclude []string
	limits  layer.Limits
}

// unpack adds an archive to the parts.
func (p *plan) unpack(a *archive, e *build.Engine) {
	a.to, a.exclude, a.limits = p.dest, p.s.Exclude, e.Options().Limits
	p.parts, p.unpacks, p.dir, p.only = append(p.parts, a), true, true, false
}

// isTar reports whether something is a tar, as far as its beginning shows.
func isTar(open func() (io.ReadCloser, error)) (bool, error) {
	rc, err := open()
	if err != nil {
		return false, err
	}
	defer rc.Close()
	plain, _, err := layer.Decompress(rc)
	if err != nil {
		return false, nil
	}
	defer plain.Close()
	_, err = tar.NewReader(plain).Next()
	return err == nil, nil
}

// archive is the part of a file that turns out to be a tar; nil if it is none.
func (p *plan) archive(v view, k pick) (*archive, error) {
	f, ok := v.(*folderView)
	if !ok {
		return nil, nil
	}
	a := &archive{name: k.from, content: func() (io.ReadCloser, error) { return openFile(f.f.dir, k.from) }}
	is, err := isTar(a.content)
	if !is {
		a = nil
	}
	return a, err
}

// openFile opens a regular file of a folder, which has to stay as it is.
func openFile(dir, name string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe may have taken its place
	if err != nil {
		return nil, gone(name, err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, changed(name)
	}
	return f, nil
}

func (a *archive) key() string { return a.known }

// write writes what is in the archive, with its modes, owners and times.
func (a *archive) write(w *writer) error {
	err := a.all(w)
	return oci.Wrap("", oci.Quote(a.name), err)
}

func (a *archive) all(w *writer) error {
	exclude, err := newRules(a.exclude)
	if err != nil {
		return err
	}
	rc, err := a.content()
	if err != nil {
		return err
	}
	defer rc.Close()
	plain, _, err := layer.Decompress(rc)
	if err != nil {
		return err
	}
	defer plain.Close()
	r := layer.NewReader(plain, a.limits)
	files := map[string]meta{}
	for e, err := range r.Entries() {
		if err != nil {
			return err
		}
		sameMeta(files, e)
		out, _, err := exclude.deep(e.Name)
		if err == nil && !out && e.Name != "." {
			err = a.entry(w, e, r)
		}
		if err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, rc)
	return err
}

// A meta is what an entry says of its file besides the content.
type meta struct {
	mode     int64
	uid, gid int
	time     time.Time
}

// sameMeta gives an entry that is another name of a file what that says. In some
// tars it says nothing (0000, root), and tar programs do not look at it there;
// engines do, and would give it to the file.
func sameMeta(files map[string]meta, e *layer.Entry) {
	h := e.Header
	if e.Kind == layer.Link {
		if m, ok := files[e.Link]; ok {
			h.Mode, h.Uid, h.Gid, h.ModTime = m.mode, m.uid, m.gid, m.time
		}
	}
	if e.Kind != layer.Dir {
		files[e.Name] = meta{h.Mode, h.Uid, h.Gid, h.ModTime}
	}
}

func (a *archive) entry(w *writer, e *layer.Entry, r io.Reader) error {
	if e.Kind == layer.Whiteout || e.Kind == layer.Opaque {
		return oci.Errorf(oci.ErrInvalid, "%s: names that begin with .wh. mean in a layer that something is gone", oci.Quote(path.Clean(e.Header.Name)))
	}
	from := e.Header
	h := &tar.Header{Typeflag: from.Typeflag, Name: path.Join(a.to, e.Name), Mode: from.Mode & 0o7777, Uid: from.Uid, Gid: from.Gid,
		ModTime: from.ModTime, Devmajor: from.Devmajor, Devminor: from.Devminor, Size: e.Size}
	switch e.Kind {
	case layer.File:
		h.Typeflag = tar.TypeReg
	case layer.Symlink:
		h.Linkname = e.Link
	case layer.Link:
		h.Linkname = path.Join(a.to, e.Link)
	}
	if h.ModTime.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	for k, v := range from.PAXRecords {
		if strings.HasPrefix(k, xattrRecord) {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[k] = v
		}
	}
	return w.put(h, r)
}
