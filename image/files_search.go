// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"path"
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// errUnclear says that the layers looked at do not settle the matter: for
// instance because one writes below a directory that it does not have itself
// and that may be a link in a lower layer. The whole tree tells then.
var errUnclear = errors.New("unclear")

// maxLinks is how many links are followed, as in Linux.
const maxLinks = 40

// A search looks for one file, from the top layer down, by names alone. It
// either knows the answer for certain, and then it is that of the tree, or ends
// with errUnclear.
type search struct {
	files *Files
	asked string // what the caller wants
	name  string // where that led to
	links int
}

// An answer is what one layer, or all of them, say.
type answer struct {
	found bool // the file, in this layer
	index int
	hard  bool   // found is a hard link to next
	soft  bool   // look for next instead
	gone  bool   // lower layers do not matter
	next  string // path
	err   error
}

func (s *search) run(ctx context.Context) (io.ReadCloser, *layer.Node, error) {
	top, before := len(s.files.layers)-1, -1 // before: of the top layer, only entries below this index count
	for {
		i, a, rc, n, err := s.descend(ctx, top, before)
		switch {
		case err != nil || rc != nil:
			return rc, n, err
		case a.hard:
			top, before, s.name = i, a.index, a.next
		case a.soft && before >= 0: // a hard link to a link
			return nil, nil, errUnclear
		case a.soft:
			s.name = a.next
		case a.found:
			return s.files.content(ctx, i, a.index)
		default:
			return nil, nil, oci.Errorf(oci.ErrNotFound, "not found")
		}
		if s.links++; s.links > maxLinks {
			return nil, nil, oci.Errorf(oci.ErrInvalid, "more than %d links lead to it", maxLinks)
		}
	}
}

// descend goes down until a layer has an answer.
func (s *search) descend(ctx context.Context, top, before int) (int, answer, io.ReadCloser, *layer.Node, error) {
	if s.name == "." {
		return 0, answer{}, nil, nil, isFile(layer.Dir)
	}
	dirs := map[string]bool{} // above the file, made by layers above
	strays := false
	for i := top; i >= 0; i-- {
		c := newScan(s.name, i == 0, strays, dirs)
		rc, n, err := s.look(ctx, i, c)
		if rc != nil && i == top && before >= 0 { // only what is before counts
			rc.Close()
			return i, answer{}, nil, nil, errUnclear
		}
		if err != nil || rc != nil {
			return i, answer{}, rc, n, err
		}
		a := c.answer()
		if i == top && before >= 0 && (a.hard || a.soft || a.gone || a.found && a.index >= before) {
			return i, a, nil, nil, errUnclear
		}
		if a.err != nil || a.found || a.hard || a.soft || a.gone {
			return i, a, nil, nil, a.err
		}
		c.leave(dirs)
		strays = strays || c.strays
	}
	return 0, answer{}, nil, nil, nil
}

// look shows a layer to a scan. If a large file turns up while the layer
// streams, it is opened at once.
func (s *search) look(ctx context.Context, i int, c *scan) (io.ReadCloser, *layer.Node, error) {
	f, v := s.files, &s.files.layers[i]
	if err := v.askTOC(ctx, f.limits); err != nil {
		return nil, nil, err
	}
	if v.known {
		c.left = math.MaxInt64
		for _, x := range v.list {
			c.see(x)
		}
		return nil, nil, nil
	}
	c.left = f.most - f.kept
	if v.toc == nil {
		return s.read(ctx, i, c)
	}
	for e, err := range v.toc.Entries() {
		if err != nil {
			return nil, nil, err
		}
		c.see(changeOf(e))
	}
	f.remember(i, c)
	return nil, nil, nil
}

// changeOf keeps nothing else of the entry, whose names may be cut from a large
// header.
func changeOf(e *layer.Entry) change {
	return change{strings.Clone(e.Name), strings.Clone(e.Link), e.Kind}
}

// remember keeps what a scan has seen of a whole layer, if there is room.
func (f *Files) remember(i int, c *scan) {
	var size int64
	for _, x := range c.list {
		size += x.size()
	}
	if v := &f.layers[i]; !v.known && c.left >= 0 && f.kept+size <= f.most {
		v.list, v.known = c.list, true
		f.kept += size
	}
}

// held is how much of a file is held back until the end of its layer, where it
// is certain.
const held = 1 << 20

// read shows a layer that has no table to a scan, until a large file turns up.
func (s *search) read(ctx context.Context, i int, c *scan) (io.ReadCloser, *layer.Node, error) {
	rc, err := layer.Open(ctx, s.files.layers[i].blob)
	if err != nil {
		return nil, nil, err
	}
	r := layer.NewReader(rc, s.files.limits)
	var n *layer.Node
	var content []byte
	for e, err := range r.Entries() {
		if err == nil {
			c.see(changeOf(e))
		}
		if err == nil && n == nil && c.ready() {
			n = &layer.Node{Entry: e, Layer: i, Index: c.count - 1}
			if e.Size > held {
				return &stream{Closer: rc, r: r, rest: func(e *layer.Entry) { c.see(changeOf(e)) }, done: func() error { return s.confirm(ctx, c, n) }}, n, nil
			}
			content, err = io.ReadAll(r)
		}
		if err == nil && c.left < 0 { // nothing is learnt any more
			err = errUnclear
		}
		if err != nil {
			rc.Close()
			return nil, nil, err
		}
	}
	s.files.remember(i, c)
	if a := c.answer(); n != nil && a.found && a.err == nil && a.index == n.Index {
		return struct {
			io.Reader
			io.Closer
		}{bytes.NewReader(content), rc}, n, nil
	}
	return nil, nil, rc.Close()
}

// confirm is called at the end of the layer that the file was read from: what
// followed it must not have changed the answer.
func (s *search) confirm(ctx context.Context, c *scan, n *layer.Node) error {
	f := s.files
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remember(n.Layer, c)
	if a := c.answer(); a.found && a.err == nil && a.index == n.Index {
		return nil
	}
	tree, err := f.all(ctx)
	if err != nil {
		return err
	}
	if _, m, err := tree.Follow(s.asked); err != nil || m.Layer != n.Layer || m.Index != n.Index {
		return oci.Errorf(oci.ErrUnsupported, "layer %d has it twice; what was read is not the last of it", n.Layer+1)
	}
	return nil
}

// join puts the rest of a path behind a link's target. ok is false if names
// alone do not tell where that is.
func join(link, target, rest string) (string, bool) {
	dir, _ := split(link)
	if strings.HasPrefix(target, "/") {
		dir = "."
	}
	down := false
	for c := range strings.SplitSeq(target, "/") {
		if c == ".." && down { // of what is a link, perhaps
			return "", false
		}
		down = down || c != "" && c != "." && c != ".."
	}
	return cleanPath(path.Join("/", dir, target, rest)), true
}
