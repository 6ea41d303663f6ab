// SPDX-License-Identifier: Apache-2.0

package oci

import "context"

// A Graph is a root and where all that it leads to can be read.
type Graph struct {
	Root   Descriptor
	Source Source
}

// A Tree is what Load found: every manifest once, children before their
// parents and the root last, and every other blob once in the order of first
// mention.
type Tree struct {
	Manifests []*Manifest
	Blobs     []Descriptor
}

// Root is the manifest that the walk began with.
func (t *Tree) Root() *Manifest { return t.Manifests[len(t.Manifests)-1] }

// Load reads all manifests of a graph, those of one level at the same time,
// and none of its blobs. If keep is given, children of an index for which it
// returns false are left out. What is reached is bounded by MaxDepth, MaxNodes
// and MaxGraph; ErrInvalid beyond that, or if one digest is mentioned with
// different sizes, or as a manifest and as something else.
func (g Graph) Load(ctx context.Context, keep func(Descriptor) bool) (*Tree, error) {
	w := &walk{g: g, keep: keep, seen: map[Digest]Descriptor{}, loaded: map[Digest]*Manifest{}, height: map[Digest]int{}}
	level := []Descriptor{g.Root}
	w.seen[g.Root.Digest] = g.Root
	for depth := 0; len(level) > 0; depth++ {
		if depth > MaxDepth {
			return nil, tooDeep()
		}
		found, err := w.fetch(ctx, level)
		if err != nil {
			return nil, err
		}
		if level, err = w.next(found); err != nil {
			return nil, err
		}
	}
	t := &Tree{}
	if w.order(t, w.loaded[g.Root.Digest], 0) > MaxDepth {
		return nil, tooDeep()
	}
	return t, nil
}

func tooDeep() error { return Errorf(ErrInvalid, "index is nested more than %d deep", MaxDepth) }

type walk struct {
	g      Graph
	keep   func(Descriptor) bool
	seen   map[Digest]Descriptor
	loaded map[Digest]*Manifest
	bytes  int64          // of manifests
	height map[Digest]int // of what is in the tree already: 0 for blobs and images
}

// fetch reads the manifests of one level in parallel.
func (w *walk) fetch(ctx context.Context, level []Descriptor) ([]*Manifest, error) {
	out := make([]*Manifest, len(level))
	err := Parallel(ctx, len(level), func(ctx context.Context, i int) (err error) {
		out[i], err = Fetch(ctx, w.g.Source, level[i])
		return err
	})
	return out, err
}

// next notes what a level leads to and returns the manifests among it that
// have not been read.
func (w *walk) next(found []*Manifest) (level []Descriptor, err error) {
	for _, m := range found {
		w.loaded[m.Descriptor.Digest] = m
		for _, d := range w.children(m) {
			old, again := w.seen[d.Digest]
			if again && (old.Size != d.Size || old.MediaType != d.MediaType && (IsManifest(d.MediaType) || IsManifest(old.MediaType))) {
				return nil, Errorf(ErrInvalid, "%s is mentioned as %s with %d bytes and as %s with %d", d.Digest, Quote(old.MediaType), old.Size, Quote(d.MediaType), d.Size)
			}
			if again {
				continue
			}
			if w.seen[d.Digest] = d; len(w.seen) > MaxNodes {
				return nil, Errorf(ErrInvalid, "%s leads to more than %d manifests and blobs", w.g.Root.Digest, MaxNodes)
			}
			if !IsManifest(d.MediaType) {
				continue
			}
			level = append(level, d)
			if w.bytes += min(d.Size, MaxGraph); w.bytes > MaxGraph {
				return nil, Errorf(ErrInvalid, "%s leads to more than %d bytes of manifests", w.g.Root.Digest, MaxGraph)
			}
		}
	}
	return level, nil
}

func (w *walk) children(m *Manifest) []Descriptor {
	all := m.Children()
	if !m.IsIndex() || w.keep == nil {
		return all
	}
	var out []Descriptor
	for _, d := range all {
		if w.keep(d) {
			out = append(out, d)
		}
	}
	return out
}

// order fills t children first, and returns how many levels are below m. One
// digest can be mentioned at several levels, so the graph can be deeper than
// the walk was; it goes down no further than the depth that is refused.
func (w *walk) order(t *Tree, m *Manifest, depth int) int {
	if h, done := w.height[m.Descriptor.Digest]; done || depth > MaxDepth {
		return h
	}
	height := 0
	for _, d := range w.children(m) {
		if IsManifest(d.MediaType) {
			height = max(height, 1+w.order(t, w.loaded[d.Digest], depth+1))
		} else if _, done := w.height[d.Digest]; !done {
			w.height[d.Digest] = 0
			t.Blobs = append(t.Blobs, d)
		}
	}
	w.height[m.Descriptor.Digest] = height
	t.Manifests = append(t.Manifests, m)
	return height
}
