// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"strings"

	"github.com/dray-tools/dray/oci"
)

// place tells where a directory is, or would be: from what is not there, or is
// no directory, the rest of the path goes on as if it had been made.
func (t *Tree) place(dir string) (Place, error) {
	t = t.reader()
	w := way{step{n: t.root}} // n is nil of what is not there
	hops, there := 0, Absent
	for rest := dir; rest != ""; {
		var c string
		c, rest, _ = strings.Cut(rest, "/")
		switch c {
		case "", ".":
			continue
		case "..":
			w = w[:max(len(w)-1, 1)]
			continue
		}
		at := w.end()
		next := step{name: c, length: at.length + len(c) + 1}
		if at.n != nil {
			next.n, next.hidden = at.child(c), at.hides()
		}
		if next.n == nil || next.n.file().kind != Symlink {
			if next.length > maxPath {
				return Place{}, oci.Errorf(oci.ErrInvalid, "%s: links make a path of more than %d bytes", oci.Quote(dir), maxPath)
			}
			if next.n != nil && next.n.kind != Dir {
				next.n, there = nil, Blocked
			}
			w = append(w, next)
			continue
		}
		to := next.n.file().extra.link
		var err error
		if rest, err = t.follow(to, rest, &hops); err != nil {
			return Place{}, oci.Wrap("", oci.Quote(dir), err)
		}
		if strings.HasPrefix(to, "/") {
			w = w[:1]
		}
	}
	p := Place{Path: w.path(), There: there}
	if n := w.end().n; n != nil {
		p.There = Present
		h := expand(p.Path, n, 0).Header
		if p.Mode, p.UID, p.GID = h.Mode&0o7777, h.Uid, h.Gid; p.Mode != 0o755 || p.UID != 0 || p.GID != 0 || w.inherits() {
			p.Odd = true
		} else {
			p.Mode = 0
		}
	}
	return p, nil
}

// inherits reports whether a directory is in one with setgid, which it would get
// too if an engine made it anew.
func (w way) inherits() bool {
	if len(w) < 2 || w[len(w)-2].n == nil {
		return false
	}
	return expand("", w[len(w)-2].n, 0).Header.Mode&0o2000 != 0
}

// usual are the names that distributions have at their top, where links are to
// be expected.
var usual = setOf("bin", "boot", "cdrom", "dev", "efi", "etc", "export", "gnu", "home", "init", "initrd", "lost+found", "media", "mnt",
	"net", "nix", "opt", "ostree", "proc", "root", "run", "sbin", "selinux", "snap", "srv", "sys", "system", "sysroot", "tmp", "usr", "var")

func setOf(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}

// fresh reports whether the base has nothing at a path, as far as names tell: the
// first is none of the usual ones, in any case of letters, and is not Taken.
// "lib" is there in many forms, and Debian has "bin.usr-is-merged".
func (b *Base) fresh(dir string) bool {
	top, _, _ := strings.Cut(strings.ToLower(dir), "/")
	if usual[top] || strings.HasPrefix(top, "lib") || strings.HasSuffix(top, ".usr-is-merged") {
		return false
	}
	return b.o.Taken == nil || !b.o.Taken(top)
}
