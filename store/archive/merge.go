// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"io"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// merge applies the names of the session to the entries of an archive: the
// same name is replaced, an image without a name replaces the one without that
// was there before the session, and nothing is there twice.
func (a *Archive) merge(ctx context.Context, c *contents) ([]*entry, error) {
	list := slices.Clone(c.entries)
	before := map[*entry]bool{} // what may be replaced by what has no name
	for _, e := range list {
		before[e] = e.name == ""
	}
	for _, n := range a.pending.namings() {
		if n.name != "" {
			list = replaceName(list, a.newEntry(n))
			continue
		}
		if i := slices.IndexFunc(list, func(e *entry) bool { return e.err == nil && e.d.Digest == n.d.Digest }); i >= 0 {
			delete(before, list[i]) // it is one of the session as well
			continue
		}
		list = a.replaceUnnamed(ctx, c, list, a.newEntry(n), before)
	}
	return list, ctx.Err()
}

func (a *Archive) newEntry(n naming) *entry {
	e := &entry{d: n.d, name: n.name}
	if n.name != "" {
		e.d.Annotations = map[string]string{v1.AnnotationRefName: n.name}
	}
	return e
}

// replaceName puts n in the place of what has its name, or of an entry of the
// same manifest without a name, or at the end.
func replaceName(list []*entry, n *entry) []*entry {
	right := func(e *entry) bool {
		return e.err == nil && e.d.Digest == n.d.Digest && e.d.Size == n.d.Size && e.d.MediaType == n.d.MediaType
	}
	named := func(e *entry) bool { return e.name == n.name }
	free := func(e *entry) bool { return e.name == "" && right(e) }
	keep := slices.IndexFunc(list, func(e *entry) bool { return named(e) && right(e) })
	if keep < 0 {
		if keep = slices.IndexFunc(list, named); keep < 0 {
			keep = slices.IndexFunc(list, free)
		}
		list, keep = setEntry(list, keep, n)
	}
	stays := list[keep]
	return slices.DeleteFunc(list, func(e *entry) bool { return e != stays && (named(e) || free(e)) })
}

func setEntry(list []*entry, i int, n *entry) ([]*entry, int) {
	if i < 0 {
		for _, e := range list {
			n.at = max(n.at, e.at+1)
		}
		return append(list, n), len(list)
	}
	n.at = list[i].at
	list[i] = n
	return list, i
}

// replaceUnnamed puts n in the place of the only image without a name that was
// there before, or at the end. Referrers have no names either, and replace
// nothing.
func (a *Archive) replaceUnnamed(ctx context.Context, c *contents, list []*entry, n *entry, before map[*entry]bool) []*entry {
	at, unnamed := -1, 0
	for i, e := range list {
		if before[e] && !a.isReferrer(ctx, c, e) {
			at, unnamed = i, unnamed+1
		}
	}
	if unnamed != 1 || a.isReferrer(ctx, c, n) {
		at = -1
	}
	list, _ = setEntry(list, at, n)
	return list
}

// put returns a manifest of the session, or nil.
func (a *Archive) put(d oci.Digest) *oci.Manifest { return a.pending.manifest(d) }

// A reach finds all that entries lead to.
type reach struct {
	a         *Archive
	from      []*contents // what is there now, and what was there before
	seen      map[oci.Digest]bool
	parsed    map[oci.Digest]bool // manifests that were looked into
	manifests map[oci.Digest]*oci.Manifest
	copies    []found // what is not in the session, children first
	unclear   bool    // a manifest that was there cannot be read: what is below it is not known
}

type found struct {
	d    oci.Descriptor
	r    *io.SectionReader
	late bool // of an archive that has been replaced since
}

// walk notes d and what is below it. Unless must, d may be missing; unless
// whole, so may be what is below it: an archive that was not whole before does
// not get worse.
func (r *reach) walk(ctx context.Context, d oci.Descriptor, must, whole bool, depth int) error {
	manifest := oci.IsManifest(d.MediaType) || d.MediaType == ""
	r.unclear = r.unclear || depth == 0 && !manifest // an entry may lead on, whatever it calls itself
	seen := r.seen[d.Digest]
	if seen && (!manifest || r.parsed[d.Digest]) { // a layer of one image can be the manifest of another
		return nil
	}
	if depth > oci.MaxDepth+1 || len(r.seen) > oci.MaxNodes {
		return oci.Errorf(oci.ErrInvalid, "the images lead to more than %d blobs, or more than %d levels deep", oci.MaxNodes, oci.MaxDepth)
	}
	at, in, err := r.find(ctx, d)
	if errors.Is(err, oci.ErrNotFound) && (!must || oci.IsForeign(d) || len(d.URLs) > 0 || r.a.omitted(d)) {
		return nil
	}
	if err != nil {
		return err
	}
	if manifest {
		r.parsed[d.Digest] = true
		m, err := r.manifest(d, at)
		if err != nil && whole {
			return busy(err, in > 0)
		}
		r.unclear = r.unclear || err != nil && d.MediaType != ""
		if err == nil {
			r.seen[d.Digest], r.manifests[d.Digest] = true, m
			for _, child := range m.Children() {
				if err := r.walk(ctx, child, whole && !m.IsIndex(), whole, depth+1); err != nil {
					return oci.Wrap("", string(d.Digest), err)
				}
			}
		}
	}
	r.seen[d.Digest] = true
	if at != nil && !seen {
		d.Size = at.Size()
		r.copies = append(r.copies, found{d, at, in > 0})
	}
	return nil
}

// busy is the error of reading what another program has just overwritten.
func busy(err error, late bool) error {
	if late && errors.Is(err, oci.ErrCorrupt) {
		return oci.Errorf(oci.ErrBusy, "another program has changed the archive meanwhile, try again: %w", err)
	}
	return err
}

func (r *reach) manifest(d oci.Descriptor, at *io.SectionReader) (*oci.Manifest, error) {
	if m := r.a.put(d.Digest); m != nil {
		return m, nil
	}
	return parseManifest(d, at)
}

// find looks for a blob, and tells in which of r.from it is. In the session it
// is nowhere else.
func (r *reach) find(ctx context.Context, d oci.Descriptor) (at *io.SectionReader, in int, err error) {
	if size, ok := r.a.pending.size(d.Digest); ok {
		if sized(d) && size != d.Size {
			return nil, 0, wrongSize(d, size)
		}
		return nil, 0, nil
	}
	for n, c := range r.from {
		if at, err = c.find(ctx, d.Digest); !errors.Is(err, oci.ErrNotFound) {
			in = n
			break
		}
	}
	if err == nil && sized(d) && at.Size() != d.Size {
		err = wrongSize(d, at.Size())
	}
	return at, in, err
}

// all walks the entries: those that are new must be whole. It returns those
// that stay: all but referrers whose subject is no longer there.
func (r *reach) all(ctx context.Context, c *contents, list []*entry) ([]*entry, error) {
	var referrers []*entry
	before := map[*entry]bool{}
	for _, e := range c.entries {
		before[e] = true
	}
	for _, old := range []bool{false, true} {
		for _, e := range list {
			switch {
			case before[e] != old || e.err != nil:
			case old && r.a.isReferrer(ctx, c, e):
				referrers = append(referrers, e)
			default:
				if err := r.walk(ctx, e.d, !old, !old, 0); err != nil {
					return nil, err
				}
			}
		}
	}
	list, err := r.referrers(ctx, c, list, referrers)
	if err != nil || !r.unclear {
		return list, err
	}
	blobs, err := c.blobs()
	if err != nil {
		return nil, err
	}
	for _, d := range blobs { // any of them could be below it
		if err := r.walk(ctx, oci.Descriptor{MediaType: "application/octet-stream", Digest: d}, false, false, 0); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// referrers walks those that stay and drops the others from the list.
func (r *reach) referrers(ctx context.Context, c *contents, list, referrers []*entry) ([]*entry, error) {
	for again := true; again; {
		again = false
		for i, e := range referrers {
			m, err := r.a.manifest(ctx, c, e.d)
			if err != nil {
				return nil, err
			}
			_, gone := c.find(ctx, m.Subject.Digest)
			if !r.seen[m.Subject.Digest] && !errors.Is(gone, oci.ErrNotFound) {
				continue
			}
			if err := r.walk(ctx, e.d, false, false, 0); err != nil {
				return nil, err
			}
			referrers = slices.Delete(slices.Clone(referrers), i, i+1)
			again = true
			break
		}
	}
	return slices.DeleteFunc(list, func(e *entry) bool { return slices.Contains(referrers, e) }), nil
}
