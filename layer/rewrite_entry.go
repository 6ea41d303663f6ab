// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"path"
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
		return r.metadata(e.Header), nil
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
	if e.Kind == Link {
		h.Linkname = link
	}
	return act
}

// move finds out where an entry goes, and makes the way to it; "": nowhere,
// since it is a directory that is there.
func (r *rewriter) move(ctx context.Context, e *Entry, name string) (string, error) {
	if e.Kind == Dir {
		at, err := r.where.find(ctx, name)
		if err != nil {
			return "", err
		}
		skip := at.There == Present && !r.where.wrote(at.Path)
		if r.form != nil { // Windows cannot make one twice
			skip = r.where.wrote(at.Path)
		}
		if skip || at.Path == "." {
			return "", nil
		}
		name = at.Path
	} else {
		up, err := r.where.find(ctx, path.Dir(name))
		if err != nil {
			return "", err
		}
		name = path.Join(up.Path, path.Base(name))
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
			dir = "Files/" + dir
		}
		if err := r.writeDir(dir); err != nil {
			return "", err
		}
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
