// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A squasher applies layers to a file system of which it knows nothing: unlike
// a Tree it keeps what they take away from it.
type squasher struct {
	root  *squashed
	layer int
	kept  int64 // bytes
}

// A squashed is a path that one of the layers has touched. One that is neither
// gone nor an entry is a directory that is there because of what is in it.
type squashed struct {
	kids   map[string]*squashed
	gone   bool // nothing is here, whatever is below
	opaque bool // nothing that is below is in this directory
	fresh  bool // it is another directory than the one below, if there is one
	maybe  bool // it is a directory only if one is below
	kind   Kind
	link   string
	head   *tar.Header // of a directory, and of a hard link to a file of a lower layer
	from   spot        // of others
	layer  int         // that touched it last
	pruned int         // layer that emptied it last
}

// A spot is an entry of one of the layers; entry -1 is none.
type spot struct{ layer, entry int }

var noSpot = spot{-1, -1}

func (s *squasher) directory() *squashed {
	s.kept += 200
	return &squashed{kind: Dir, from: noSpot, layer: -1, pruned: -1}
}

// add applies an entry.
func (s *squasher) add(e *Entry, index int) error {
	if s.kept > maxKept {
		return oci.Errorf(oci.ErrInvalid, "layers of too many names")
	}
	if e.Kind == Opaque {
		at, err := s.walk(e.Name, assume)
		if at != nil {
			at.prune(s.layer)
			at.opaque = true
		}
		return err
	}
	if e.Name == "." {
		s.root.head = e.Header
		return nil
	}
	dir, base := path.Split(e.Name)
	if e.Kind == Whiteout {
		at, err := s.walk(dir, assume)
		if at != nil {
			s.hide(at, base)
		}
		return err
	}
	parent, err := s.walk(dir, mkdir)
	if err != nil {
		return oci.Wrap("", oci.Quote(e.Name), err)
	}
	old := parent.kids[base]
	if e.Kind == Dir {
		if old == nil || old.gone || old.kind != Dir {
			now := s.directory()
			now.opaque = old != nil // what is below is not seen through what was here
			now.fresh = now.opaque
			s.put(parent, base, now)
			old = now
		}
		old.head, old.from, old.layer, old.maybe = e.Header, spot{s.layer, index}, s.layer, false
		s.kept += int64(weight(e)) + 500
		return nil
	}
	now := &squashed{kind: e.Kind, link: e.Link, from: spot{s.layer, index}, layer: s.layer}
	if e.Kind == Link {
		if self, err := s.linked(e, now, parent); self || err != nil {
			return err
		}
	}
	s.put(parent, base, now)
	return nil
}

func (s *squasher) put(parent *squashed, base string, n *squashed) {
	if parent.kids == nil {
		parent.kids = map[string]*squashed{}
	}
	parent.kids[base] = n
	s.kept += int64(len(base)+len(n.link)) + 200
}

// linked makes a hard link another name of what it leads to; what the layers do
// not have is below them. self: it is that already.
func (s *squasher) linked(e *Entry, now, parent *squashed) (self bool, err error) {
	dir, base := path.Split(e.Link)
	at, err := s.walk(dir, find)
	if err != nil {
		return false, err
	}
	var to *squashed
	if at != nil {
		to = at.kids[base]
	}
	switch {
	case at == parent && base == path.Base(e.Name) && (to == nil || !to.gone && to.kind != Dir):
		return true, nil
	case to == nil || to.maybe:
		now.head = e.Header
		s.kept += int64(weight(e)) + 500
	case to.gone || to.kind == Dir:
		return false, oci.Errorf(oci.ErrInvalid, "hard link %s leads to %s, which is no file", oci.Quote(e.Name), oci.Quote(e.Link))
	default:
		now.kind, now.link, now.from, now.head = to.kind, to.link, to.from, to.head
	}
	return false, nil
}

// hide takes away what lower layers have at a name.
func (s *squasher) hide(parent *squashed, base string) {
	old := parent.kids[base]
	switch {
	case old == nil || old.layer < s.layer:
		s.put(parent, base, &squashed{gone: true, from: noSpot, layer: s.layer})
	case old.kind == Dir && !old.gone: // this layer has made it anew
		old.anew(s.layer)
	}
}

// prune takes out what layers below have put there.
func (n *squashed) prune(layer int) {
	if n.pruned == layer {
		return
	}
	n.pruned = layer
	maps.DeleteFunc(n.kids, func(_ string, k *squashed) bool { return k.layer < layer })
	for _, k := range n.kids {
		if k.kind == Dir && !k.gone {
			k.anew(layer)
		}
	}
}

// anew leaves of a directory what a layer itself has put there.
func (n *squashed) anew(layer int) {
	n.prune(layer)
	n.opaque, n.fresh = true, true
	if n.from.layer < layer {
		n.head, n.from = nil, noSpot
	}
}

// What walk does about directories that the layers do not have.
type missing uint8

const (
	find   missing = iota // it ends
	assume                // a layer below may have them
	mkdir                 // they are made, also in the place of files
)

// walk goes to a directory and follows links that the layers have. nil if it
// is not there.
func (s *squasher) walk(name string, how missing) (*squashed, error) {
	way := []*squashed{s.root}
	hops := 0
	for rest := name; rest != ""; {
		var c string
		c, rest, _ = strings.Cut(rest, "/")
		switch c {
		case "", ".":
			continue
		case "..":
			if how == assume && way[len(way)-1].maybe {
				return nil, oci.Errorf(oci.ErrUnsupported, "%s: where this is taken away depends on what a layer below has", oci.Quote(name))
			}
			way = way[:max(1, len(way)-1)]
			continue
		}
		at := way[len(way)-1]
		n := at.kids[c]
		if n != nil && !n.gone && n.kind == Symlink {
			if hops++; hops > maxHops || len(n.link)+len(rest) > maxPath {
				return nil, oci.Errorf(oci.ErrInvalid, "too many links lead to %s", oci.Quote(name))
			}
			if strings.HasPrefix(n.link, "/") {
				way = way[:1]
			}
			rest = n.link + "/" + rest
			continue
		}
		if n = s.enter(at, c, how); n == nil {
			return nil, nil
		}
		way = append(way, n)
	}
	return way[len(way)-1], nil
}

// enter is the directory of a name.
func (s *squasher) enter(at *squashed, name string, how missing) *squashed {
	n := at.kids[name]
	if n == nil || n.gone || n.kind != Dir {
		if how == find || how == assume && (n != nil || at.opaque) {
			return nil
		}
		now := s.directory()
		now.opaque, now.fresh, now.maybe = n != nil, n != nil, how == assume
		s.put(at, name, now)
		n = now
	}
	if how == mkdir {
		n.layer, n.maybe = s.layer, false
	}
	return n
}

// each calls f for all paths, parents first, in byte order.
func (n *squashed) each(at string, f func(path string, n *squashed) error) error {
	if err := f(at, n); err != nil {
		return err
	}
	for _, base := range slices.Sorted(maps.Keys(n.kids)) {
		if err := n.kids[base].each(join(at, base), f); err != nil {
			return err
		}
	}
	return nil
}
