// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/packages"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// both is the file systems of two images.
type both struct {
	shared int // layers, the lowest, that both have
	a, b   *side
	hash   bool
	keep   map[string]bool // databases of packages; directories end in a slash
	limits layer.Limits
}

// A side is the file system of one image.
type side struct {
	tree *layer.Tree
	sums []*sums // by layer
	kept map[spot]database
	last map[string]spot // of kept, by name: only the uppermost one is
	left int64           // bytes that may still be kept
}

// A spot is an entry: its layer, and its number there.
type spot struct{ layer, index int }

// A database is a file that tells which packages are installed.
type database struct {
	data     []byte
	tooLarge bool
}

// maxKept bounds the databases of one image; each costs keepCost beside its
// bytes.
const (
	maxKept  = 128 << 20
	keepCost = 512
)

// readBoth reads every layer of two images, those that both share at the
// bottom once for both. Those are needed, although they are the same: they say
// what a whiteout above takes away, whether a path above is new or replaces
// something, and where the links in it lead. A layer that both have further up
// is read for each, as it lies on something else there.
func readBoth(ctx context.Context, a, b *image.Image, o Options) (*both, error) {
	s := &both{shared: sharedLayers(a, b), hash: o.wants(Files), limits: o.Limits}
	s.a, s.b = newSide(o), newSide(o)
	if o.wants(Packages) {
		s.keep = map[string]bool{}
		for _, name := range packages.Files() {
			s.keep[name] = true
		}
	}
	low := a.Layers()[:s.shared]
	for n, l := range low {
		if err := s.read(ctx, n, l, s.a, s.b); err != nil {
			return nil, err
		}
	}
	return s, oci.Parallel(ctx, 2, func(ctx context.Context, i int) error {
		to, from := s.a, a.Layers()
		if i == 1 {
			to, from = s.b, b.Layers()
		}
		for n, l := range from[s.shared:] {
			if err := s.read(ctx, s.shared+n, l, to); err != nil {
				return err
			}
		}
		return nil
	})
}

func newSide(o Options) *side {
	return &side{tree: layer.NewTree(o.Limits), kept: map[spot]database{}, last: map[string]spot{}, left: maxKept}
}

// read reads a layer once and puts it onto one side or both.
func (s *both) read(ctx context.Context, n int, l oci.Blob, to ...*side) error {
	limits := s.limits
	if limits.Bytes <= 0 {
		limits.Bytes = max(64<<30, min(l.Descriptor().Size, 1<<60)*4)
	}
	rc, err := layer.Open(ctx, l)
	if err != nil {
		return err
	}
	defer rc.Close()
	x := &reading{s: s, n: n, r: layer.NewReader(rc, limits), sums: &sums{}, to: to}
	for _, t := range to {
		t.sums = append(t.sums, x.sums)
	}
	all := x.entries(ctx)
	if len(to) == 1 {
		err = to[0].tree.Add(all)
	} else {
		err = addBoth(ctx, all, to)
	}
	return oci.Wrap("layer", string(l.Descriptor().Digest), err)
}

// addBoth gives each entry to two trees. The second one asks for its entries
// in a goroutine of its own.
func addBoth(ctx context.Context, all iter.Seq2[*layer.Entry, error], to []*side) error {
	const batch = 256
	batches := make(chan []*layer.Entry, 4)
	broken := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return oci.Parallel(ctx, 2, func(ctx context.Context, i int) error {
		if i == 1 {
			return to[1].tree.Add(received(ctx, batches, broken))
		}
		var now []*layer.Entry
		send := func() bool {
			select {
			case batches <- now:
				now = make([]*layer.Entry, 0, batch)
				return true
			case <-ctx.Done():
				return false
			}
		}
		err := to[0].tree.Add(func(yield func(*layer.Entry, error) bool) {
			for e, err := range all {
				if !yield(e, err) || err != nil {
					return
				}
				if now = append(now, e); len(now) == batch && !send() {
					yield(nil, context.Cause(ctx))
					return
				}
			}
		})
		if err == nil && !send() {
			err = context.Cause(ctx)
		}
		broken <- err
		close(batches)
		return err
	})
}

func received(ctx context.Context, batches <-chan []*layer.Entry, broken <-chan error) iter.Seq2[*layer.Entry, error] {
	return func(yield func(*layer.Entry, error) bool) {
		for list := range batches {
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
		}
		if err := <-broken; err != nil {
			yield(nil, err)
		}
	}
}

// A reading is one layer being read.
type reading struct {
	s     *both
	n     int
	r     *layer.Reader
	index int
	sums  *sums
	to    []*side
}

// entries yields what is in the layer; each file has been read when it does.
func (x *reading) entries(ctx context.Context) iter.Seq2[*layer.Entry, error] {
	return func(yield func(*layer.Entry, error) bool) {
		for {
			e, err := x.r.Next()
			if err == io.EOF {
				return
			}
			if err == nil && e.Kind == layer.File {
				err = x.content(e)
			}
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if !yield(e, err) || err != nil {
				return
			}
			x.index++
		}
	}
}

// content hashes a file, and keeps it if it tells of packages.
func (x *reading) content(e *layer.Entry) error {
	dir, _ := path.Split(e.Name)
	keep := x.s.keep[e.Name] || dir != "" && x.s.keep[dir]
	if !keep && !x.s.hash {
		return nil
	}
	h := sha256.New()
	var w io.Writer = h
	kept := bytesUpTo{left: packages.MaxFile}
	if keep {
		for _, t := range x.to {
			kept.left = min(kept.left, t.left-keepCost)
		}
		w = io.MultiWriter(h, &kept)
	}
	if _, err := io.Copy(w, x.r); err != nil {
		return err
	}
	x.sums.add(x.index, h)
	if keep {
		for _, t := range x.to {
			t.keep(e.Name, spot{x.n, x.index}, database{kept.b, kept.left < 0})
		}
	}
	return nil
}

// keep keeps a database in the place of the one that a lower layer has.
func (s *side) keep(name string, at spot, d database) {
	if old, ok := s.last[name]; ok {
		s.left += int64(len(s.kept[old].data)) + keepCost
		delete(s.kept, old)
	}
	if s.left < keepCost {
		return // the file is then said not to have been kept
	}
	s.left -= int64(len(d.data)) + keepCost
	s.kept[at], s.last[name] = d, at
}

// bytesUpTo keeps what is written, or nothing if it is too much.
type bytesUpTo struct {
	b    []byte
	left int64
}

func (b *bytesUpTo) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		b.left, b.b = -1<<62, nil
	} else {
		b.b = append(b.b, p...)
	}
	return len(p), nil
}

func (s *side) digest(n *layer.Node) oci.Digest {
	if n.Index < 0 || n.Layer >= len(s.sums) {
		return ""
	}
	sum, ok := s.sums[n.Layer].at(n.Index)
	if !ok {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, sum[:])
}

// packages compares what is installed. A database that cannot be read is a note.
func (s *both) packages(notes *[]string) ([]PackageChange, error) {
	var lists [2][]packages.Package
	for i, side := range []*side{s.a, s.b} {
		list, err := side.packages()
		if errors.Is(err, oci.ErrInvalid) {
			*notes = append(*notes, fmt.Sprintf("packages of %s: %v", []string{"A", "B"}[i], err))
		} else if err != nil {
			return nil, err
		}
		lists[i] = list
	}
	return packageChanges(lists[0], lists[1]), nil
}

// packages reads the databases that are where a container would find them.
// One that is reached through several paths is read once.
func (s *side) packages() ([]packages.Package, error) {
	at := map[string]string{} // where the databases are really
	seen := map[string]bool{}
	for _, name := range packages.Files() {
		for _, p := range s.filesAt(name) {
			if real, n, err := s.tree.Follow(p); err == nil && n.Kind == layer.File && !seen[real] {
				seen[real] = true
				at[p] = real
			}
		}
	}
	var names []string
	for p := range at {
		names = append(names, p)
	}
	slices.Sort(names)
	return packages.Read(names, func(name string) ([]byte, error) {
		real, ok := at[name]
		if !ok {
			return nil, oci.ErrNotFound
		}
		return s.database(real)
	})
}

// filesAt lists a path, or the files right in a directory.
func (s *side) filesAt(name string) []string {
	if name[len(name)-1] != '/' {
		return []string{name}
	}
	dir, n, err := s.tree.Follow(path.Clean(name))
	if err != nil || n.Kind != layer.Dir {
		return nil
	}
	var out []string
	for p := range s.tree.All(dir) {
		if path.Dir(p) == dir {
			out = append(out, name+path.Base(p))
		}
	}
	return out
}

// database finds the content of a file that was kept: under the name of an
// entry, which can lead to the path through links.
func (s *side) database(real string) ([]byte, error) {
	_, n, err := s.tree.Lookup(real)
	if err != nil {
		return nil, err
	}
	d, ok := s.kept[spot{n.Layer, n.Index}]
	switch {
	case !ok:
		return nil, oci.Errorf(oci.ErrInvalid, "it was not kept: it is there under another name, or there are too many")
	case d.tooLarge:
		return nil, oci.Errorf(oci.ErrInvalid, "it is too large")
	}
	return d.data, nil
}
