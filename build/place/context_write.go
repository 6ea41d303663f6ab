// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// part implements view.
func (v *folderView) part(picks []pick, exclude []string) (part, error) {
	return &folderPart{v.f, picks, exclude}, nil
}

// A folderPart is what is picked of a folder. Files are read while they are
// written.
type folderPart struct {
	f       *folder
	picks   []pick
	exclude []string
}

func (*folderPart) key() string { return "" }

func (p *folderPart) write(w *writer) error {
	ignore, err := newRules(p.f.ignore)
	if err != nil {
		return err
	}
	exclude, err := newRules(p.exclude)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(p.f.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	x := &packer{w: w, git: p.f.git, apart: w.apart, ignore: ignore, exclude: exclude}
	if len(p.picks) > 1 { // two of them may bring the same name
		x.count = map[string]int{}
		if err := x.all(root, p.picks); err != nil {
			return err
		}
		x.again, x.count = x.count, nil
	}
	return x.all(root, p.picks)
}

// A packer writes what is picked of a folder.
type packer struct {
	w               *writer
	git, apart      bool
	ignore, exclude *rules
	links           map[disk.Inode]string // where files with several names were first
	waiting         []waiting             // directories that are left out unless something in them is not
	done            map[string]bool       // directories that were picked for what is below them
	count           map[string]int        // how often a name is brought; nothing is written if it is not nil
	again           map[string]int        // that count, when it is known
}

// A waiting directory is written when something in it is.
type waiting struct {
	name string // for errors
	to   string
	info fs.FileInfo
}

// at is a place in the folder, with what the rules know of it.
type at struct {
	real, rel, to string
	ig, ex        state
}

// all writes picks, in order.
func (x *packer) all(root *os.Root, picks []pick) error {
	x.done = map[string]bool{}
	for _, k := range picks {
		x.links = map[disk.Inode]string{} // as each source is copied by itself
		if err := x.pick(root, k); err != nil {
			return err
		}
	}
	return nil
}

func (x *packer) pick(root *os.Root, k pick) error {
	info, err := root.Lstat(k.from)
	if err != nil {
		return gone(k.from, err)
	}
	p := at{real: k.from, rel: k.rel, to: k.to}
	if _, p.ig, err = x.ignore.deep(k.from); err != nil {
		return err
	}
	if _, p.ex, err = x.exclude.deep(k.rel); err != nil {
		return err
	}
	if !info.IsDir() {
		dir, err := root.OpenRoot(path.Dir(k.from))
		if err != nil {
			return gone(k.from, err)
		}
		defer dir.Close()
		return x.file(dir, path.Base(k.from), p, info)
	}
	if k.only && x.done[k.to] {
		return nil
	}
	x.done[k.to] = true
	if k.self {
		err = x.dir(waiting{k.from, k.to, info})
	}
	if err != nil || k.only {
		return err
	}
	dir, err := root.OpenRoot(k.from)
	if err != nil {
		return gone(k.from, err)
	}
	defer dir.Close()
	return x.inside(dir, p, 0)
}

// gone is the error for what was there a moment ago.
func gone(name string, err error) error {
	if os.IsNotExist(err) {
		return changed(name)
	}
	return fileError(name, err)
}

// inside writes what is in a directory, in byte order, with what is below a
// directory right after it.
func (x *packer) inside(root *os.Root, up at, depth int) error {
	if depth > maxDeep {
		return tooDeep(up.real)
	}
	list, err := readDir(root, ".")
	if err != nil {
		return fileError(up.real, err)
	}
	for _, e := range list {
		if err := x.child(root, e.Name(), up, depth); err != nil {
			return err
		}
	}
	return nil
}

func (x *packer) child(root *os.Root, name string, up at, depth int) error {
	p := at{real: path.Join(up.real, name), rel: path.Join(up.rel, name), to: path.Join(up.to, name)}
	var ignored, excluded bool
	var err error
	if ignored, p.ig, err = x.ignore.out(p.real, up.ig); err != nil {
		return err
	}
	if excluded, p.ex, err = x.exclude.out(p.rel, up.ex); err != nil {
		return err
	}
	if ignored && !x.ignore.back() || excluded && !x.exclude.back() {
		return nil
	}
	info, err := root.Lstat(name)
	if err != nil {
		return gone(p.real, err)
	}
	out := ignored || excluded
	if !info.IsDir() {
		if out {
			return nil
		}
		return x.file(root, name, p, info)
	}
	was := len(x.waiting)
	x.waiting = append(x.waiting, waiting{p.real, p.to, info})
	if !out {
		if err := x.flush(); err != nil {
			return err
		}
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return gone(p.real, err)
	}
	defer sub.Close()
	if now, err := sub.Stat("."); err != nil || !os.SameFile(now, info) {
		return changed(p.real)
	}
	err = x.inside(sub, p, depth+1)
	x.waiting = x.waiting[:min(was, len(x.waiting))]
	return err
}

// flush writes the directories that waited.
func (x *packer) flush() error {
	for _, d := range x.waiting {
		if err := x.dir(d); err != nil {
			return err
		}
	}
	x.waiting = x.waiting[:0]
	return nil
}

func (x *packer) dir(d waiting) error {
	if x.count != nil {
		return nil
	}
	h := x.header(d.to, d.info)
	h.Typeflag = tar.TypeDir
	return x.w.put(h, nil)
}

func (x *packer) header(to string, info fs.FileInfo) *tar.Header {
	h := &tar.Header{Name: to, Mode: modeOf(info), ModTime: x.w.time(info.ModTime())}
	if x.git { // which knows no others
		if h.Mode &= 0o111; h.Mode != 0 || info.IsDir() {
			h.Mode = 0o111
		}
		h.Mode |= 0o644
	}
	return h
}

// file writes what is no directory.
func (x *packer) file(root *os.Root, name string, p at, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSocket != 0 { // means nothing in an image
		return nil
	}
	if err := x.flush(); err != nil {
		return err
	}
	if x.count != nil {
		x.count[p.to]++
		return nil
	}
	h := x.header(p.to, info)
	s := disk.StatOf(info)
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return gone(p.real, err)
		}
		h.Typeflag, h.Mode, h.Linkname = tar.TypeSymlink, 0o777, filepath.ToSlash(target)
	case mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case mode&fs.ModeCharDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, s.Major, s.Minor
	case mode&fs.ModeDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, s.Major, s.Minor
	case mode.IsRegular():
		return x.regular(root, name, p, info, h, s)
	default:
		return oci.Errorf(oci.ErrInvalid, "%s: a layer cannot hold a file of the kind %s", oci.Quote(p.real), mode.Type())
	}
	return x.w.put(h, nil)
}

func (x *packer) regular(root *os.Root, name string, p at, info fs.FileInfo, h *tar.Header, s disk.Stat) error {
	h.Typeflag = tar.TypeReg
	if s.Links > 1 && !x.apart {
		if first, again := x.links[s.Inode]; again && first != p.to {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return x.w.put(h, nil)
		}
		if x.again[p.to] < 2 { // a link cannot lead to what is replaced later
			x.links[s.Inode] = p.to
		}
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe may have taken its place
	if err != nil {
		return gone(p.real, err)
	}
	defer f.Close()
	was, err := f.Stat()
	if err != nil || !os.SameFile(was, info) || !was.Mode().IsRegular() {
		return changed(p.real)
	}
	if x.w.hook != nil {
		x.w.hook(p.real)
	}
	h.Size = was.Size()
	if caps := disk.Capabilities(f); caps != "" {
		h.PAXRecords = map[string]string{xattrRecord + "security.capability": caps}
	}
	if err := x.w.put(h, f); errors.Is(err, oci.ErrBusy) {
		return changed(p.real)
	} else if err != nil {
		return err
	}
	if now, err := f.Stat(); err != nil || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) {
		return changed(p.real)
	}
	return nil
}

// xattrRecord begins the PAX records of extended attributes.
const xattrRecord = "SCHILY.xattr."

// modeOf is what a tar says of permissions. Where the system knows no owners
// (Windows) everybody may execute everything.
func modeOf(info fs.FileInfo) int64 {
	if !disk.StatOf(info).Known {
		return 0o755
	}
	mode := int64(info.Mode().Perm())
	for bit, m := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if info.Mode()&bit != 0 {
			mode |= m
		}
	}
	return mode
}
