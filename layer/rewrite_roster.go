// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"path"

	"github.com/dray-tools/dray/oci"
)

// ErrRepeats is the error of Rewrite when it comes to a second entry of a name
// and does not know the last one. Docker refuses a layer that has both. Whoever
// can read the tar again asks FindRepeats, and begins anew with its answer.
var ErrRepeats = errors.New("there are several entries of a name")

// Repeats are the last entries of those names that a tar has several of. They
// are of use for the same tar and the same options.
type Repeats struct {
	seeds [2]maphash.Seed
	last  map[nameKey]lastEntry
}

type lastEntry struct {
	n    uint32 // as roster counts
	kind Kind
	h    *tar.Header // of a directory, as it is written
}

// FindRepeats reads a tar for which Rewrite has ended with ErrRepeats.
func FindRepeats(ctx context.Context, tar io.Reader, o RewriteOptions) (*Repeats, error) {
	o.Repeats = nil
	r, err := newRewriter(bufio.NewWriterSize(io.Discard, copySize), tar, o)
	if err != nil {
		return nil, err
	}
	found := &Repeats{seeds: r.names.seeds, last: map[nameKey]lastEntry{}}
	r.names.find = found
	return found, r.run(ctx)
}

// A roster has the names that have been written, as hashes with secret seeds, so that
// a layer has each once: the last entry of a name counts, as for tar. It also
// refuses what engines cannot extract.
type roster struct {
	seeds [2]maphash.Seed
	at    map[nameKey]named
	count uint32 // of entries that were to be written
	room  int    // bytes that names without entries, and what is found, may still take
	up    string // the last parent, which needs no further look

	find  *Repeats // what is looked for; nil: nothing
	known *Repeats // what was found before; nil: nothing
}

type nameKey [2]uint64

// A named is what is at a name now.
type named struct {
	sum    uint64 // of a directory's header
	kind   Kind   // of a hard link that of its target
	parent bool   // there is something in it
	given  bool   // it has had an entry
	made   bool   // a directory has been written for it
}

func newRoster(known *Repeats) *roster {
	s := &roster{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, at: map[nameKey]named{}, room: maxWay, known: known}
	if known != nil {
		s.seeds = known.seeds
	}
	return s
}

func (s *roster) key(name string) nameKey {
	return nameKey{maphash.String(s.seeds[0], name), maphash.String(s.seeds[1], name)}
}

func (s *roster) spend(n int) error {
	if s.room -= n; s.room < 0 {
		return oci.Errorf(oci.ErrInvalid, "more names than can be remembered")
	}
	return nil
}

// inside notes that there is something in a directory.
func (s *roster) inside(dir string) error {
	if dir == s.up {
		return nil
	}
	for p := dir; p != "."; p = path.Dir(p) {
		k := s.key(p)
		was, ok := s.at[k]
		switch {
		case ok && was.kind == Symlink: // of a tar whose paths stay as they are
			continue
		case ok && was.kind != Dir:
			return oci.Errorf(oci.ErrInvalid, "%s is a file in the tar, in which there can be nothing", oci.Quote(p))
		case was.parent:
			s.up = dir
			return nil
		case !ok:
			if err := s.spend(64); err != nil {
				return err
			}
		}
		was.kind, was.parent = Dir, true
		s.at[k] = was
	}
	s.up = dir
	return nil
}

// isParent reports whether there is something in a directory.
func (s *roster) isParent(dir string) bool { return s.at[s.key(dir)].parent }

// isFile reports whether there is a file of a name.
func (s *roster) isFile(name string) bool {
	at, ok := s.at[s.key(name)]
	return ok && at.kind == File
}

// A verdict says what becomes of an entry of a name.
type verdict struct {
	drop bool
	h    *tar.Header // to write instead of its own; nil: none
}

// take says what becomes of the next entry. h is what would be written.
func (s *roster) take(name string, k Kind, link string, h *tar.Header) (v verdict, err error) {
	n := s.count
	s.count++
	is := named{kind: k, given: true}
	if k == Link {
		if is.kind, err = s.target(name, link); err != nil {
			return v, err
		}
	}
	if err := s.inside(path.Dir(name)); err != nil {
		return v, err
	}
	key := s.key(name)
	was := s.at[key]
	switch {
	case k == Dir && was.given && was.kind != Dir && was.kind != Symlink:
		return v, oci.Errorf(oci.ErrInvalid, "%s is a file in the tar, and a directory later", oci.Quote(name))
	case k == Dir:
		is.sum, is.parent, is.made = s.sum(h), was.parent, true
	case was.parent:
		return v, oci.Errorf(oci.ErrInvalid, "it is a directory with something in it, and something else later in the tar")
	default:
		is.made = was.made
	}
	s.at[key] = is
	if was.given {
		s.up = "."
	}
	switch {
	case s.known != nil:
		if v = s.known.judge(key, n, k, was.made); v.drop || k != Link {
			return v, nil
		}
		return v, s.stays(link, n)
	case !was.given:
		return v, nil
	case s.find != nil:
		return v, s.note(key, lastEntry{n: n, kind: k}, h)
	case k == Dir && was.kind == Dir && was.sum == is.sum:
		return verdict{drop: true}, nil
	}
	return v, ErrRepeats
}

// judge keeps the last entry of a name, but a directory where its name comes
// first, before what is in it.
func (r *Repeats) judge(key nameKey, n uint32, k Kind, made bool) verdict {
	last, ok := r.last[key]
	switch {
	case !ok:
		return verdict{}
	case last.kind == Dir:
		return verdict{drop: k != Dir || made, h: last.h}
	}
	return verdict{drop: n != last.n}
}

// target is the kind of what a hard link leads to. Engines can only link to what
// the same layer has brought before.
func (s *roster) target(name, link string) (Kind, error) {
	to, ok := s.at[s.key(link)]
	switch {
	case name == link:
		return 0, oci.Errorf(oci.ErrInvalid, "it is a hard link to itself")
	case ok && to.kind == Dir:
		return 0, oci.Errorf(oci.ErrInvalid, "it is a hard link to %s, which is a directory", oci.Quote(link))
	case !ok:
		return 0, oci.Errorf(oci.ErrInvalid, "link to %s, which this tar does not have before it: Docker engines (overlay2) cannot extract a hard link into another layer; --exact takes it as it is", oci.Quote(link))
	}
	return to.kind, nil
}

// stays refuses a hard link to what will not be written.
func (s *roster) stays(link string, n uint32) error {
	if last, ok := s.known.last[s.key(link)]; ok && (last.kind == Dir || last.n > n) {
		return oci.Errorf(oci.ErrInvalid, "link to %s, which the tar replaces later", oci.Quote(link))
	}
	return nil
}

// note notes the last entry of a name so far.
func (s *roster) note(key nameKey, last lastEntry, h *tar.Header) error {
	size := 128
	if last.kind == Dir {
		c := *h
		c.PAXRecords = maps.Clone(h.PAXRecords)
		last.h = &c
		size += 512 + len(h.Name)
		for k, v := range h.PAXRecords {
			size += len(k) + len(v) + 64
		}
	}
	s.find.last[key] = last
	return s.spend(size)
}

// sum is of all that a header says of a directory but its name.
func (s *roster) sum(h *tar.Header) uint64 {
	var m maphash.Hash
	m.SetSeed(s.seeds[0])
	fmt.Fprintf(&m, "%o %d %d %q %q %d %d %d", h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.UnixNano(), h.AccessTime.UnixNano(), h.ChangeTime.UnixNano())
	if len(h.PAXRecords) > 0 {
		records := maps.Clone(h.PAXRecords)
		delete(records, "path")
		fmt.Fprintf(&m, "%q", records)
	}
	return m.Sum64()
}
