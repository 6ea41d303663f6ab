// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"path"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// maxWay is how many bytes of paths are remembered: a million directories.
const maxWay = 256 << 20

// whereabouts finds directories on a Ground that the tar is changing: what the
// tar has brought so far counts first.
type whereabouts struct {
	ground  Ground
	note    func(Answer)
	answers map[string]Place
	made    map[string]string // what the tar brought: links and their targets, directories and ""
	changed bool              // there are links in made, or the Ground has lost something
	room    int               // bytes that the maps may still take
	found   map[string]Place  // before, which counts until a link changes
	ready   map[string]bool   // directories whose parents are all there, or written
	again   map[string]bool   // odd ones of the Ground that were written
}

func newWhereabouts(g Ground, note func(Answer)) *whereabouts {
	return &whereabouts{ground: g, note: note, answers: map[string]Place{}, made: map[string]string{}, found: map[string]Place{}, ready: map[string]bool{}, again: map[string]bool{}, room: maxWay}
}

// nowhere is the Ground of layers that need all their parents.
type nowhere struct{}

func (nowhere) Dir(_ context.Context, dir string) (Place, error) {
	return Place{Path: dir, There: Absent}, nil
}

// find follows the links to a directory, and at its end.
func (w *whereabouts) find(ctx context.Context, dir string) (Place, error) {
	if dir == "." {
		return Place{Path: ".", There: Present}, nil
	}
	if at, ok := w.found[dir]; ok {
		return at, nil
	}
	up, base := path.Split(dir)
	at, err := w.find(ctx, path.Clean(up))
	if err == nil {
		at, err = w.walk(ctx, at, base)
	}
	if err != nil {
		return Place{}, err
	}
	w.found[dir] = at
	return at, w.spend(len(dir) + len(at.Path))
}

// dir is find of what must not be a file.
func (w *whereabouts) dir(ctx context.Context, dir string) (Place, error) {
	at, err := w.find(ctx, dir)
	if err == nil {
		err = at.check()
	}
	return at, err
}

// check refuses to go on from what is no directory.
func (p Place) check() error {
	if p.There == Blocked {
		return oci.Errorf(oci.ErrInvalid, "%s is a file in the base, and not a directory", oci.Quote(p.Path))
	}
	return nil
}

// walk goes on from a directory.
func (w *whereabouts) walk(ctx context.Context, at Place, rest string) (Place, error) {
	for hops := 0; rest != ""; {
		var c, target string
		err := at.check()
		if err != nil {
			return Place{}, err
		}
		c, rest, _ = strings.Cut(rest, "/")
		switch c {
		case "", ".":
			continue
		case "..":
			at, err = w.ask(ctx, path.Dir(at.Path), Place{Path: ".", There: Present})
		default:
			p := path.Join(at.Path, c)
			if target = w.made[p]; target != "" {
				break
			}
			at, err = w.ask(ctx, p, at)
			if err == nil && at.Path != p && w.changed { // the Ground does not know those
				target = "/" + at.Path
			}
		}
		if err != nil {
			return Place{}, err
		}
		if target == "" {
			continue
		}
		if hops++; hops > maxHops || len(target)+len(rest) > 16*maxPath {
			return Place{}, oci.Errorf(oci.ErrInvalid, "links lead in circles, or too far: %s", oci.Quote(target))
		}
		if target[0] == '/' {
			at = Place{Path: ".", There: Present}
		}
		rest = target + "/" + rest
	}
	return at, nil
}

// ask asks the Ground, once, and not below what it does not know or have.
func (w *whereabouts) ask(ctx context.Context, dir string, up Place) (Place, error) {
	switch {
	case dir == ".":
		return Place{Path: ".", There: Present}, nil
	case up.There != Present:
		return Place{Path: dir, There: up.There}, nil
	}
	if at, ok := w.answers[dir]; ok {
		return at, nil
	}
	at, err := w.ground.Dir(ctx, dir)
	if err != nil {
		return Place{}, err
	}
	if clean, err := cleanName(at.Path); err != nil || clean != at.Path {
		return Place{}, oci.Errorf(oci.ErrInvalid, "%s is said to be at %s", oci.Quote(dir), oci.Quote(at.Path))
	}
	w.note(Answer{dir, at})
	if _, never := w.ground.(nowhere); never {
		return at, nil
	}
	w.answers[dir] = at
	if _, ok := w.answers[at.Path]; !ok && at.There == Present {
		w.answers[at.Path] = at
	}
	return at, w.spend(len(dir) + len(at.Path))
}

func (w *whereabouts) spend(n int) error {
	if w.room -= n + 128; w.room < 0 {
		return oci.Errorf(oci.ErrInvalid, "more directories and links than can be put in place")
	}
	return nil
}

// wrote reports whether the tar brought a directory.
func (w *whereabouts) wrote(dir string) bool {
	target, ok := w.made[dir]
	return ok && target == ""
}

// missing returns the directories on the way that have to be written, from the
// outermost on, which the caller then does: those that neither the Ground nor the
// tar has, and the odd ones of the Ground. dir is a place where find led.
func (w *whereabouts) missing(ctx context.Context, dir string) (dirs []Place, err error) {
	if dir == "." || w.wrote(dir) || !w.changed && w.ready[dir] {
		return nil, nil
	}
	at := Place{Path: ".", There: Present}
	for end := range ends(dir) {
		p := dir[:end]
		if at, err = w.ask(ctx, p, at); err == nil {
			err = at.check()
		}
		switch {
		case err != nil:
			return nil, err
		case w.wrote(p):
		case at.There == Present && at.Odd && at.Path == p && !w.again[p]:
			w.again[p] = true
			dirs = append(dirs, at)
			err = w.spend(len(p))
		case at.There == Absent:
			dirs = append(dirs, Place{Path: p})
			err = w.mark(p, "")
		}
		if err != nil {
			return nil, err
		}
	}
	if w.ready[dir] {
		return dirs, nil
	}
	w.ready[dir] = true
	return dirs, w.spend(len(dir))
}

// ends yields where the components of a path end.
func ends(p string) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := 0; i < len(p); i++ {
			if p[i] == '/' && !yield(i) {
				return
			}
		}
		yield(len(p))
	}
}

// put remembers an entry that is written. leads is what it leads to, if it is a
// symlink under whatever name.
func (w *whereabouts) put(name string, k Kind, leads string) error {
	if k == Dir {
		return w.mark(name, "")
	}
	if leads != "" {
		return w.mark(name, leads)
	}
	return w.forget(name)
}

// forget takes note that what was there is replaced, also in the Ground.
func (w *whereabouts) forget(name string) error {
	_, made := w.made[name]
	_, asked := w.answers[name]
	_, found := w.found[name]
	if made || asked || found {
		w.found = map[string]Place{}
	}
	delete(w.made, name)
	if up := path.Dir(name); up != "." && w.answers[up] != (Place{Path: up, There: Present}) {
		return nil // there was nothing
	}
	w.changed = true
	w.answers[name] = Place{Path: name, There: Absent}
	return w.spend(len(name))
}

func (w *whereabouts) mark(name, target string) error {
	if target != "" || w.made[name] != "" {
		if err := w.forget(name); err != nil {
			return err
		}
	}
	w.changed = w.changed || target != ""
	w.made[name] = target
	return w.spend(len(name) + len(target))
}

// target finds where the target of a hard link was put.
func (w *whereabouts) target(ctx context.Context, name string) (string, error) {
	at, err := w.dir(ctx, path.Dir(name))
	if err != nil {
		return "", err
	}
	return path.Join(at.Path, path.Base(name)), nil
}
