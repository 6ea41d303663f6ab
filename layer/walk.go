// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"errors"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A step is one directory on a way through a Tree.
type step struct {
	n      *node
	name   string
	length int   // of the path to it, with a slash
	hidden int32 // names that were touched by lower layers only are not there
}

// hides is hidden for what is in the directory.
func (s step) hides() int32 { return max(s.hidden, s.n.extra.opaque) }

func (s step) child(base string) *node {
	if n := s.n.extra.kids[base]; n != nil && n.touched >= s.hides() {
		return n
	}
	return nil
}

// A way leads from the root to a directory, without links.
type way []step

func (w way) end() step { return w[len(w)-1] }

func (w way) path() string {
	var names []string
	for _, s := range w[1:] {
		names = append(names, s.name)
	}
	if names == nil {
		return "."
	}
	return strings.Join(names, "/")
}

// absent lets pass that something is not there.
func absent(err error) error {
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	return err
}

// walk goes to a directory, from the root, and follows links within the root.
// With mkdir it makes what is missing, and marks what it passes as touched by
// the layer. ErrNotFound if it is not there or not a directory, ErrInvalid for
// links in a circle.
func (t *Tree) walk(name string, layer int32, mkdir bool) (way, error) {
	w := append(make(way, 0, 16), step{n: t.root})
	hops := 0
	for rest := name; rest != ""; {
		var c string
		c, rest, _ = strings.Cut(rest, "/")
		switch c {
		case "", ".":
			continue
		case "..":
			w = w[:max(len(w)-1, 1)]
			continue
		}
		n, err := t.enter(w.end(), c, layer, mkdir)
		if err != nil {
			return nil, err
		}
		if n.kind == Dir {
			w = append(w, step{n, c, w.end().length + len(c) + 1, w.end().hides()})
			continue
		}
		to := n.file().extra.link
		if rest, err = t.follow(to, rest, &hops); err != nil {
			return nil, err
		}
		if strings.HasPrefix(to, "/") {
			w = w[:1]
		}
	}
	return w, nil
}

// enter finds the directory, or the link to one, of a name.
func (t *Tree) enter(at step, name string, layer int32, mkdir bool) (*node, error) {
	n := at.child(name)
	passable := n != nil && (n.kind == Dir || n.file().kind == Symlink)
	switch {
	case passable && mkdir:
		if n.kind == Dir { // a link can still be hidden: what is behind it stays
			n.touched = layer
		}
		return n, nil
	case passable:
		return n, nil
	case !mkdir:
		return nil, oci.Errorf(oci.ErrNotFound, "not found")
	case n != nil && n.touched == layer: // a file of a lower layer gives way
		return nil, oci.Errorf(oci.ErrInvalid, "%s is both a file and a directory", oci.Quote(name))
	}
	n = implied(layer)
	if err := t.put(at, name, n); err != nil {
		return nil, err
	}
	return n, t.spend(1, 0)
}

// follow puts the target of a link before the rest of a way.
func (t *Tree) follow(to, rest string, hops *int) (string, error) {
	if *hops++; *hops > maxHops {
		return "", oci.Errorf(oci.ErrInvalid, "more than %d links lead to it", maxHops)
	}
	if len(to) >= maxPath {
		return "", oci.Errorf(oci.ErrInvalid, "a link to a path of more than %d bytes", maxPath)
	}
	if t.walked += int64(len(to) + len(rest)); t.walked > maxWalked+1024*int64(t.entries) {
		return "", oci.Errorf(oci.ErrInvalid, "too many links to follow")
	}
	return to + "/" + rest, nil
}

// reader is the tree for one lookup, which counts for itself.
func (t *Tree) reader() *Tree { return &Tree{root: t.root} }

// lookup finds a path; with follow, also what a link there leads to.
func (t *Tree) lookup(name string, follow bool) (string, *Node, error) {
	wrap := func(err error) (string, *Node, error) { return "", nil, oci.Wrap("", oci.Quote(name), err) }
	r := t.reader()
	hops := 0
	for rest := name; ; {
		trimmed := strings.TrimRight(rest, "/")
		cut := strings.LastIndexByte(trimmed, '/') + 1
		dir, base := trimmed[:cut], trimmed[cut:]
		if base == "" || base == "." || base == ".." {
			dir, base = rest, ""
		}
		w, err := r.walk(dir, 0, false)
		if err != nil {
			return wrap(err)
		}
		at := w.end()
		if base == "" {
			return w.path(), expand(w.path(), at.n, at.hidden), nil
		}
		n := at.child(base)
		if n == nil {
			return wrap(oci.Errorf(oci.ErrNotFound, "not found"))
		}
		p := join(w.path(), base)
		if to := n.file(); !follow || to.kind != Symlink {
			return p, expand(p, n, at.hides()), nil
		}
		to := n.file().extra.link
		if strings.HasPrefix(to, "/") {
			rest, err = r.follow(to, "", &hops)
		} else {
			rest, err = r.follow(w.path()+"/"+to, "", &hops)
		}
		if err != nil {
			return wrap(err)
		}
	}
}
