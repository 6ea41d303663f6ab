// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Collision is what the layers of an application do to their base that may
// not fit when the base becomes another one. Names are those of the layers.
type Collision struct {
	Changed   Paths // lie over what the two bases have differently
	Packages  Paths // in the database of a package manager
	Hives     Paths // parts of the Windows registry
	Whiteouts Paths // that a base has; a directory that is emptied ends in a slash
}

// Paths are some paths, each once.
type Paths struct {
	Count int
	First []string // at most a hundred, those of the highest layer first
}

const mostPaths = 100

func (p *Paths) add(name string) {
	if p.Count++; len(p.First) < mostPaths {
		p.First = append(p.First, name)
	}
}

// Collide compares an old and a new base below the layers of an application,
// each with the lowest layer first. Two files are the same if their kind, link,
// mode, owner, attributes and content are; times count where a content is not
// known. Of directories only that they are some counts. What the application
// has just as the new base has it is not Changed.
func Collide(before, after, app []*Outline, l Limits) (Collision, error) {
	c := collider{seen: map[string]bool{}}
	var err error
	if c.before, err = newSurvey(before, l); err != nil {
		return Collision{}, oci.Wrap("old base", "", err)
	}
	if c.after, err = newSurvey(after, l); err != nil {
		return Collision{}, oci.Wrap("new base", "", err)
	}
	for _, o := range slices.Backward(app) { // of several files of a name the highest is the one that is there
		for e, err := range o.sums() {
			if err == nil {
				err = c.see(e)
			}
			if err != nil {
				return Collision{}, oci.Wrap("layer", string(o.Layer), err)
			}
		}
	}
	return c.Collision, nil
}

// A survey is a base as a Tree, and the digests of its files.
type survey struct {
	tree *Tree
	sums [][]*checksum // by layer and entry

	dir   string // that was asked for last
	place Place
}

func newSurvey(layers []*Outline, l Limits) (*survey, error) {
	s := &survey{tree: NewTree(l), place: Place{Path: ".", There: Present}, dir: "."}
	for _, o := range layers {
		var sums []*checksum
		entries := iter.Seq2[*Entry, error](func(yield func(*Entry, error) bool) {
			for e, err := range o.sums() {
				if sums = append(sums, e.sum); !yield(e.Entry, err) {
					return
				}
			}
		})
		if err := s.tree.Add(entries); err != nil {
			return nil, oci.Wrap("layer", string(o.Layer), err)
		}
		s.sums = append(s.sums, sums)
	}
	return s, nil
}

// find is where a layer's entry comes to lie, and what is there; nil: nothing.
func (s *survey) find(name string) (string, *node, error) {
	dir, base := path.Split(name)
	if dir = path.Clean(dir); dir != s.dir {
		p, err := s.tree.place(dir)
		if err != nil {
			return "", nil, err
		}
		s.dir, s.place = dir, p
	}
	at := join(s.place.Path, base)
	if s.place.There != Present {
		return at, nil, nil
	}
	w, err := s.tree.reader().walk(s.place.Path, 0, false)
	if err != nil {
		return "", nil, err
	}
	return at, w.end().child(base), nil
}

// holds reports whether a directory has anything in it.
func (s *survey) holds(dir string) (bool, error) {
	p, err := s.tree.place(dir)
	if err != nil || p.There != Present {
		return false, err
	}
	w, err := s.tree.reader().walk(p.Path, 0, false)
	if err != nil {
		return false, err
	}
	for range w.end().each() {
		return true, nil
	}
	return false, nil
}

// sum is the digest of a file of the survey's tree; nil if it is not known.
func (s *survey) sum(n *node) *checksum {
	if n == nil || n.file().kind != File {
		return nil
	}
	return s.sums[n.file().layer][n.file().index]
}

type collider struct {
	Collision
	before, after *survey
	seen          map[string]bool // names that the bases have, or that were found
}

func (c *collider) see(e outlined) error {
	if e.Kind == Opaque {
		return c.emptied(e.Name)
	}
	if e.Name == "." {
		return nil
	}
	was, old, err := c.before.find(e.Name)
	if err != nil {
		return err
	}
	_, now, err := c.after.find(e.Name)
	if err != nil {
		return err
	}
	database := e.Kind != Dir && (ofPackages(e.Name) || ofPackages(was))
	hive := e.Kind != Dir && strings.HasPrefix(e.Name, "Hives/")
	if old == nil && now == nil && !database && !hive || c.seen[e.Name] {
		return nil
	}
	c.seen[e.Name] = true
	switch {
	case hive:
		c.Hives.add(e.Name)
	case database:
		c.Packages.add(e.Name)
	case e.Kind == Whiteout:
		c.Whiteouts.add(e.Name)
	case !c.fits(e, old, now):
		c.Changed.add(e.Name)
	}
	return nil
}

// emptied takes an opaque marker.
func (c *collider) emptied(dir string) error {
	name := dir + "/"
	for _, s := range []*survey{c.before, c.after} {
		holds, err := s.holds(dir)
		if err != nil {
			return err
		}
		if holds && !c.seen[name] {
			c.seen[name] = true
			c.Whiteouts.add(name)
		}
	}
	return nil
}

// fits reports whether the application's entry does to the new base what it
// did to the old one.
func (c *collider) fits(e outlined, old, now *node) bool {
	if e.Kind == Dir { // nothing and a directory are the same to it
		plain := func(n *node) bool { return n == nil || n.kind == Dir }
		if plain(old) || plain(now) {
			return plain(old) == plain(now)
		}
	}
	if alike(old, now, c.before.sum(old), c.after.sum(now)) {
		return true
	}
	if e.Kind == Link {
		return false
	}
	own, _ := c.after.tree.compact(e.Entry)
	return alike(own, now, e.sum, c.after.sum(now))
}

// alike reports whether two files are the same, or both are not there.
func alike(a, b *node, sumA, sumB *checksum) bool {
	if a == nil || b == nil {
		return a == b
	}
	a, b = a.file(), b.file()
	if a.kind == Dir || b.kind == Dir {
		return a.kind == b.kind
	}
	x, y := expand("x", a, 0).Header, expand("x", b, 0).Header
	if x.Typeflag != y.Typeflag || x.Linkname != y.Linkname || x.Size != y.Size || x.Mode != y.Mode || x.Uid != y.Uid || x.Gid != y.Gid ||
		x.Devmajor != y.Devmajor || x.Devminor != y.Devminor || !maps.Equal(x.PAXRecords, y.PAXRecords) {
		return false
	}
	if a.kind == File && (sumA == nil || sumB == nil) {
		return x.Size == 0 || x.ModTime.Equal(y.ModTime)
	}
	return a.kind != File || *sumA == *sumB
}

// databases are the directories in which package managers keep what is
// installed.
var databases = []string{"var/lib/dpkg/", "lib/apk/db/", "usr/lib/apk/db/", "var/lib/rpm/", "usr/lib/sysimage/rpm/"}

func ofPackages(name string) bool {
	return slices.ContainsFunc(databases, func(dir string) bool { return strings.HasPrefix(name, dir) })
}
