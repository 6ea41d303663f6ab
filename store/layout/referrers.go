// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// subjects remembers which manifests have a subject: a manifest is read for
// that once, since it cannot change.
type subjects struct {
	mu sync.Mutex
	m  map[oci.Digest]*subject
}

// A subject is what a manifest refers to, and how the manifest is listed as a
// referrer. It is empty for a manifest that refers to nothing.
type subject struct {
	of   oci.Digest
	self oci.Descriptor
}

// subject reads what the manifest refers to.
func (l *Dir) subject(root *os.Root, d oci.Descriptor) (*subject, error) {
	l.subjects.mu.Lock()
	s := l.subjects.m[d.Digest]
	l.subjects.mu.Unlock()
	if _, err := l.stat(root, d); err != nil || s != nil {
		return s, err
	}
	m, err := l.manifest(root, d)
	if err != nil {
		return nil, err
	}
	s = &subject{}
	if m.Subject != nil {
		s = &subject{of: m.Subject.Digest, self: referrer(m)}
		s.self.Annotations = m.Annotations
	}
	l.subjects.mu.Lock()
	defer l.subjects.mu.Unlock()
	if l.subjects.m == nil || len(l.subjects.m) >= maxKnown {
		l.subjects.m = map[oci.Digest]*subject{}
	}
	l.subjects.m[d.Digest] = s
	return s, nil
}

// Referrers implements oci.Referrer, in the order of digests. It looks at the
// manifests in index.json, where Put lists those with a subject, and at the
// index with the fallback tag of d; not at manifests that are only children of
// an index. Each manifest is read once by a Dir.
func (l *Dir) Referrers(ctx context.Context, d oci.Descriptor, artifactType string) iter.Seq2[oci.Descriptor, error] {
	return func(yield func(oci.Descriptor, error) bool) {
		list, err := l.referrers(ctx, d, artifactType)
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(oci.Descriptor{}, err)
		}
	}
}

func (l *Dir) referrers(ctx context.Context, d oci.Descriptor, artifactType string) ([]oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return nil, err
	}
	root, err := l.reading(ctx)
	if err != nil {
		return nil, ignore(err, oci.ErrNotFound)
	}
	defer root.Close()
	x, err := l.index(root)
	if err != nil {
		return nil, err
	}
	maybe, err := l.mayRefer(root, x, d.Digest)
	if err != nil {
		return nil, err
	}
	found := map[oci.Digest]oci.Descriptor{}
	for _, c := range maybe {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := l.subject(root, c)
		if errors.Is(err, oci.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.of == d.Digest && (artifactType == "" || artifactType == s.self.ArtifactType) {
			found[c.Digest] = s.self
			found[c.Digest] = cloneNotes(found[c.Digest])
		}
	}
	list := slices.Collect(maps.Values(found))
	slices.SortFunc(list, func(a, b oci.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return list, nil
}

func cloneNotes(d oci.Descriptor) oci.Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	return d
}

// mayRefer lists the manifests among which the referrers of a digest are.
func (l *Dir) mayRefer(root *os.Root, x *index, d oci.Digest) ([]oci.Descriptor, error) {
	var out []oci.Descriptor
	fallback := d.Algorithm().String() + "-" + d.Encoded()
	for i := range x.entries {
		e := &x.entries[i]
		if e.err != nil || !oci.IsManifest(e.d.MediaType) {
			continue
		}
		out = append(out, e.d)
		if !oci.IsIndex(e.d.MediaType) || !e.matches(fallback) {
			continue
		}
		m, err := l.manifest(root, e.d)
		if err != nil {
			return nil, err
		}
		out = append(out, m.Manifests...)
	}
	return out, nil
}

// derived are the tags that stand for something about another manifest: the
// fallback of the referrers API, and cosign's.
var derived = regexp.MustCompile(`^sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})(\.[a-z0-9]+)?$`)

// only finds the one manifest that can be meant without a name: referrers and
// what cosign or hauler put beside an image do not count.
func (l *Dir) only(root *os.Root, x *index) (oci.Descriptor, error) {
	var main []*entry
	seen := map[oci.Digest]bool{}
	for i := range x.entries {
		e := &x.entries[i]
		names := e.names()
		if seen[e.d.Digest] || e.secondary() || len(names) > 0 && derived.MatchString(tagOf(names[0])) {
			continue
		}
		seen[e.d.Digest] = true
		main = append(main, e)
	}
	if len(main) > 1 {
		all := main
		main = nil
		for _, e := range all {
			if e.err == nil && len(e.names()) == 0 {
				if s, err := l.subject(root, e.d); err == nil && s.of != "" {
					continue
				}
			}
			main = append(main, e)
		}
	}
	switch len(main) {
	case 0:
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "the layout holds no image")
	case 1:
		return main[0].d, main[0].err
	}
	return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "the layout holds %d images; name one of %s", len(main), candidates(main))
}

func tagOf(name string) string {
	_, tag := splitName(name)
	return tag
}
