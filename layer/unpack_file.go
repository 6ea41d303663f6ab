// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// A folder is a directory of the new tree, opened without following links.
type folder struct {
	*os.Root
	f    *os.File // the same, for what Root cannot do
	path string
	kept bool // its owner was
}

// enter opens a directory. That it is the last one or within it costs nothing,
// so that a long chain is not walked again for each of its links.
func (u *unpacker) enter(dir string) (*folder, error) {
	if u.last != nil && u.last.path == dir {
		return u.last, nil
	}
	from, rel := u.root, dir
	if u.last != nil && path.Dir(dir) == u.last.path {
		from, rel = u.last.Root, path.Base(dir)
	}
	r, err := from.OpenRoot(rel)
	if err != nil {
		return nil, err
	}
	f, err := r.Open(".")
	if err != nil {
		r.Close()
		return nil, err
	}
	u.leave()
	u.last = &folder{Root: r, f: f, path: dir}
	return u.last, nil
}

func (u *unpacker) leave() {
	if u.last != nil {
		u.last.f.Close()
		u.last.Close()
		u.last = nil
	}
}

// makeFile makes a file with all its names.
func (u *unpacker) makeFile(g group) error {
	first, n := g.names[0], g.names[0].n
	for _, p := range g.names {
		if err := hostName(p.base); err != nil {
			return err
		}
	}
	at, err := u.enter(first.in.path())
	if err != nil {
		return err
	}
	made := true
	switch n.kind {
	case File:
		err = u.makeRegular(at, g)
	case Symlink:
		err = u.makeSymlink(at, first.base, n)
	default:
		made, err = u.makeSpecial(at, first.base, n)
	}
	if err != nil {
		return err
	}
	if !made {
		u.report.SkippedDevices += len(g.names)
		return nil
	}
	for _, p := range g.names[1:] {
		if err := u.root.Link(first.path(), p.path()); err != nil {
			return err
		}
		u.report.HardLinks++
	}
	return nil
}

func (u *unpacker) makeRegular(at *folder, g group) (err error) {
	p, n := g.names[0], g.names[0].n
	f, err := at.OpenFile(p.base, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = setTime(at, p.base, n.modTime())
		}
	}()
	if n.size > 0 {
		got, err := io.CopyBuffer(struct{ io.Writer }{f}, g.content, u.buf)
		if err != nil {
			return err
		}
		if got != n.size {
			return oci.Errorf(oci.ErrCorrupt, "%d of %d bytes", got, n.size)
		}
	}
	u.report.Files++
	u.report.Bytes += n.size
	kept := u.own(n, f.Chown)
	u.xattrs(n, kept, func(name, value string) error { return setXattr(f, name, value) })
	return f.Chmod(u.mode(kept, n))
}

func (u *unpacker) makeSymlink(at *folder, base string, n *node) error {
	if err := at.Symlink(n.extra.link, base); err != nil {
		return err
	}
	u.report.Symlinks++
	u.own(n, func(uid, gid int) error { return at.Lchown(base, uid, gid) })
	u.xattrs(n, false, nil)
	return setTime(at, base, n.modTime())
}

// makeSpecial makes a device or a fifo; false if it may not.
func (u *unpacker) makeSpecial(at *folder, base string, n *node) (bool, error) {
	if u.uid != 0 {
		return false, nil
	}
	made, err := makeNode(at, base, n)
	if !made || err != nil {
		return false, err
	}
	u.report.Devices++
	kept := u.own(n, func(uid, gid int) error { return at.Lchown(base, uid, gid) })
	u.xattrs(n, kept, nil)
	// By its name: opening a device could do something. It is a device that was
	// made just now, in a directory of root's alone.
	if err := at.Chmod(base, u.mode(kept, n)); err != nil {
		return false, err
	}
	return true, setTime(at, base, n.modTime())
}

func (u *unpacker) dirMetadata(at *folder, n *node) error {
	at.kept = u.own(n, at.f.Chown)
	u.xattrs(n, at.kept, func(name, value string) error { return setXattr(at.f, name, value) })
	return setTime(at, ".", n.modTime())
}

// own gives a file its owner and reports whether it has it now.
func (u *unpacker) own(n *node, chown func(uid, gid int) error) bool {
	uid, gid := int64(n.uid), int64(n.gid)
	if n.extra != nil && n.extra.odd != nil {
		uid, gid = int64(n.extra.odd.uid), int64(n.extra.odd.gid)
	}
	if u.o.NoOwner {
		return false
	}
	mine := uid == int64(u.uid) && gid == int64(u.gid)
	if mine && !u.inherits {
		return true
	}
	const most = 1<<32 - 2 // the last one means: leave it
	if (u.uid == 0 || mine) && uid >= 0 && uid <= most && gid >= 0 && gid <= most && chown(int(uid), int(gid)) == nil {
		return true
	}
	u.report.SkippedOwners++
	return false
}

// mode is what a file gets. Bits that lend the rights of its owner go if the
// owner is another one now.
func (u *unpacker) mode(kept bool, n *node) fs.FileMode {
	m := fs.FileMode(n.mode & 0o777)
	if n.mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	if n.mode&0o6000 != 0 && !kept {
		u.report.MaskedModes++
		return m
	}
	if n.mode&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if n.mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	return m
}

// xattrs sets the extended attributes that are safe to set: the caller's own,
// and capabilities, which are the set-user-ID bit in another form. The others
// speak to the kernel of the host (trusted.overlay.*, security.selinux).
func (u *unpacker) xattrs(n *node, kept bool, set func(name, value string) error) {
	if n.extra == nil {
		return
	}
	for k, v := range n.extra.records {
		name, ok := strings.CutPrefix(k, "SCHILY.xattr.")
		if !ok {
			continue
		}
		allowed := strings.HasPrefix(name, "user.") || name == "security.capability" && kept && u.uid == 0
		if set == nil || !allowed || set(name, v) != nil {
			u.report.SkippedXattrs++
		}
	}
}

func (n *node) modTime() time.Time {
	if n.extra != nil && n.extra.odd != nil {
		return n.extra.odd.mtime
	}
	return time.Unix(0, n.mtime)
}
