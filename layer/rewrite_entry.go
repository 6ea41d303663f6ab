// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// An action is what becomes of an entry.
type action uint8

const (
	kept action = iota
	changedHead
	dropped
)

// change makes the header of an entry that of the layer.
func (r *rewriter) change(ctx context.Context, e *Entry) (action, error) {
	if e.Name == "." {
		return dropped, nil
	}
	if r.form != nil && r.form.pass {
		return r.metadata(e.Header), r.form.inside(r.names, e)
	}
	h, name, link := e.Header, path.Join(r.prefix, e.Name), e.Link
	if e.Kind == Link {
		link = path.Join(r.prefix, e.Link)
	}
	if r.where != nil {
		var err error
		if name, err = r.move(ctx, e, name); name == "" || err != nil {
			return dropped, err
		}
		leads := e.Link
		if r.form != nil {
			leads = windowsPath(leads)
		}
		if e.Kind == Link {
			if link, err = r.where.target(ctx, link); err != nil {
				return 0, err
			}
			leads = r.where.made[link] // as the other name of a symlink
		}
		if err := r.where.put(name, e.Kind, leads); err != nil {
			return 0, err
		}
	}
	if r.form != nil {
		return r.form.entry(r, e, name, link)
	}
	return max(r.metadata(h), renamed(e, name, link)), nil
}

// renamed gives an entry another name and hard link, if they are not its own.
func renamed(e *Entry, name, link string) action {
	h := e.Header
	act := kept
	raw := strings.TrimPrefix(h.Name, "./")
	if e.Kind == Dir {
		raw = strings.TrimSuffix(raw, "/")
	}
	if raw != name {
		act = changedHead
	}
	if e.Kind == Link && strings.TrimPrefix(h.Linkname, "./") != link {
		act = changedHead
	}
	h.Name = name
	if e.Kind == Dir {
		h.Name += "/"
	}
	e.Name = name
	if e.Kind == Link {
		h.Linkname, e.Link = link, link
	}
	return act
}

// once decides whether an entry is the one of its name.
func (r *rewriter) once(e *Entry, act action) (action, error) {
	v, err := r.names.take(e.Name, e.Kind, e.Link, e.Header)
	switch {
	case err != nil:
		return 0, err
	case v.drop:
		return dropped, nil
	case v.h != nil:
		e.Header, act = v.h, changedHead
	}
	return act, nil
}

// leave leaves out the entry of a directory of the Ground.
func (r *rewriter) leave(dir string) error {
	if err := r.names.inside(path.Dir(dir)); err != nil || dir == "." || r.names.isParent(dir) {
		return err
	}
	if r.o.Over != "" { // nobody expects that of it
		return nil
	}
	r.left = append(r.left, dir)
	return r.names.spend(len(dir) + 32)
}

// maxKeptDirs is how many of them are told.
const maxKeptDirs = 5

// keptDirs tells of the directories whose entries were all that the tar said of them.
func (r *rewriter) keptDirs() {
	slices.Sort(r.left)
	for _, dir := range slices.Compact(r.left) {
		if r.names.isParent(dir) {
			continue
		}
		if r.done.KeptCount++; r.done.KeptCount <= maxKeptDirs {
			r.done.Kept = append(r.done.Kept, dir)
		}
	}
}

// move finds out where an entry goes, and makes the way to it; "": nowhere,
// since it is a directory that is there.
func (r *rewriter) move(ctx context.Context, e *Entry, name string) (string, error) {
	if e.Kind == Dir {
		at, err := r.where.dir(ctx, name)
		if err != nil {
			return "", err
		}
		if at.Path == "." || at.There == Present && !r.where.wrote(at.Path) && !r.over(name) {
			return "", r.leave(at.Path)
		}
		name = at.Path
	} else {
		up, err := r.where.dir(ctx, path.Dir(name))
		if err != nil {
			return "", err
		}
		if name, err = r.into(ctx, path.Join(up.Path, path.Base(name))); err != nil {
			return "", err
		}
	}
	if len(name) > maxPath {
		return "", oci.Errorf(oci.ErrInvalid, "links lead to a path of more than %d bytes", maxPath)
	}
	if err := checkHidden(name); err != nil {
		return "", err
	}
	missing, err := r.where.missing(ctx, path.Dir(name))
	if err != nil {
		return "", err
	}
	for _, dir := range missing {
		if r.form != nil {
			dir.Path = "Files/" + dir.Path
		}
		if err := r.writeDir(dir); err != nil {
			return "", err
		}
	}
	return name, nil
}

// over reports whether a directory of the tar is to change one of the Ground.
func (r *rewriter) over(name string) bool {
	return r.o.Over == "." || r.o.Over != "" && strings.HasPrefix(name, r.o.Over+"/")
}

// into is where a file goes that has something in its place.
func (r *rewriter) into(ctx context.Context, name string) (string, error) {
	if r.o.Into == "" && !r.o.Follow && !r.o.Meek || r.form != nil {
		return name, nil
	}
	at, err := r.where.find(ctx, name)
	switch {
	case err != nil:
		return "", err
	case at.There == Present && r.o.Into != "":
		return path.Join(at.Path, r.o.Into), nil
	case r.o.Meek && (at.There == Present && at.Path == name || r.where.wrote(name)):
		return "", oci.Errorf(oci.ErrInvalid, "there is a directory already, which a file cannot replace")
	case r.o.Follow && at.There != Present:
		return at.Path, nil
	}
	return name, nil
}

// metadata applies the rules for times and owners.
func (r *rewriter) metadata(h *tar.Header) action {
	act := kept
	if r.o.Owner != nil && (h.Uid != r.o.Owner.UID || h.Gid != r.o.Owner.GID || h.Uname != "" || h.Gname != "") {
		h.Uid, h.Gid, h.Uname, h.Gname = r.o.Owner.UID, r.o.Owner.GID, "", ""
		act = changedHead
	}
	return max(act, r.times(h))
}

// times applies the rule for times.
func (r *rewriter) times(h *tar.Header) action {
	act := kept
	if r.o.Clamp.IsZero() {
		return act
	}
	if h.ModTime.After(r.o.Clamp) {
		h.ModTime, act = r.o.Clamp, changedHead
	}
	if !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() {
		h.AccessTime, h.ChangeTime, act = time.Time{}, time.Time{}, changedHead
	}
	for _, k := range []string{"atime", "ctime", creationTime} {
		if _, ok := h.PAXRecords[k]; ok {
			delete(h.PAXRecords, k)
			act = changedHead
		}
	}
	return act
}

// setFormat lets the header be written in the first format that can hold all of it.
func setFormat(h *tar.Header) { h.Format = tar.FormatPAX | tar.FormatGNU }
