// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Stack is the files of a stack: a stage, or an image. Nothing is read of it but
// the layers that have what is copied. The stack must not change any more.
func Stack(s *build.Stack) Source { return &stage{s} }

// A stage is a Source in layers.
type stage struct{ s *build.Stack }

func (s *stage) id() string {
	return "stack " + s.s.Platform().OS + " " + strings.Join(digests(s.s.Blobs()), " ")
}

func digests(blobs []oci.Blob) (list []string) {
	for _, b := range blobs {
		list = append(list, string(b.Descriptor().Digest))
	}
	return list
}

func (s *stage) open(ctx context.Context) (view, error) {
	t, err := s.s.Tree(ctx)
	if err != nil {
		return nil, err
	}
	v := &stageView{tree: t, blobs: s.s.Blobs(), top: "."}
	if s.s.Platform().OS == "windows" {
		v.top = "Files"
	}
	return v, nil
}

type stageView struct {
	tree  *layer.Tree
	blobs []oci.Blob
	top   string // where the root is: Windows layers have it in Files
}

func (*stageView) close() error { return nil }

// find implements view.
func (v *stageView) find(name string) (found, error) {
	at, n, err := v.look(name)
	if err != nil {
		return found{}, err
	}
	out := found{real: at, dir: n.Kind == layer.Dir, file: n.Kind == layer.File}
	_, last, err := v.tree.Lookup(path.Join(v.top, clean(name)))
	out.link = err == nil && last.Kind == layer.Symlink
	return out, nil
}

// look finds a node through all links; the path that it returns is below top.
func (v *stageView) look(name string) (string, *layer.Node, error) {
	at, n, err := v.tree.Follow(path.Join(v.top, clean(name)))
	if errors.Is(err, oci.ErrNotFound) && v.top != "." {
		if same := v.fold(clean(name)); same != "" {
			at, n, err = v.tree.Follow(same)
		}
	}
	switch {
	case errors.Is(err, oci.ErrNotFound):
		return "", nil, oci.Errorf(oci.ErrNotFound, "%s: not found in the image", oci.Quote(name))
	case err != nil:
		return "", nil, err
	case v.top == ".":
		return at, n, nil
	case at == v.top:
		return ".", n, nil
	case !strings.HasPrefix(at, v.top+"/"):
		return "", nil, oci.Errorf(oci.ErrNotFound, "%s: not found in the image", oci.Quote(name))
	}
	return at[len(v.top)+1:], n, nil
}

// fold finds a path of Windows, which knows no case; "" if there is none.
func (v *stageView) fold(name string) string {
	want := v.top + "/" + name
	for p := range v.tree.All(v.top) {
		if strings.EqualFold(p, want) {
			return p
		}
	}
	return ""
}

// clean is a path from the root, "." for the root itself.
func clean(name string) string {
	if name = path.Clean("/" + name)[1:]; name == "" {
		return "."
	}
	return name
}

// below are the nodes in a directory that really is there, by their paths in it.
func (v *stageView) below(dir string) func(func(rel string, n *layer.Node) bool) {
	full := path.Join(v.top, dir)
	return func(yield func(string, *layer.Node) bool) {
		for p, n := range v.tree.All(full) {
			if full != "." {
				p = p[len(full)+1:]
			}
			if !yield(p, n) {
				return
			}
		}
	}
}

// walk implements view.
func (v *stageView) walk(dir string, visit func(rel string, dir bool) bool) error {
	skip := ""
	for rel, n := range v.below(dir) {
		if skip != "" && strings.HasPrefix(rel, skip) {
			continue
		}
		skip = ""
		if is := n.Kind == layer.Dir; !visit(rel, is) && is {
			skip = rel + "/"
		}
	}
	return nil
}

// part implements view. All that is picked is known now; a name that is there
// twice is that of the last one.
func (v *stageView) part(picks []pick, patterns []string) (part, error) {
	exclude, err := newRules(patterns)
	if err != nil {
		return nil, err
	}
	p := &stagePart{blobs: v.blobs, at: map[string]int{}}
	for _, k := range picks {
		if err := p.pick(v, k, exclude); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// A chosen node has the name that it gets.
type chosen struct {
	to   string
	node *layer.Node
}

func (c chosen) dir() bool { return c.node.Kind == layer.Dir }

func (p *stagePart) put(c chosen) error {
	n, again := p.at[c.to]
	switch {
	case !again:
		p.at[c.to] = len(p.list)
		p.list = append(p.list, c)
	case p.list[n].dir() != c.dir():
		return oci.Errorf(oci.ErrInvalid, "%s would be both a directory and a file", oci.Quote(c.to))
	default:
		p.list[n] = c
	}
	return nil
}

func (p *stagePart) pick(v *stageView, k pick, exclude *rules) error {
	full := path.Join(v.top, k.from)
	_, n, err := v.tree.Lookup(full)
	if err != nil {
		return err
	}
	if n.Kind != layer.Dir || k.self {
		err = p.put(chosen{k.to, n})
	}
	if err != nil || k.only || n.Kind != layer.Dir {
		return err
	}
	waiting := []chosen{} // directories that are left out unless something in them is not
	states := map[string]state{}
	if _, states["."], err = exclude.deep(k.rel); err != nil {
		return err
	}
	for rel, n := range v.below(k.from) {
		out, s, err := exclude.out(path.Join(k.rel, rel), states[path.Dir(rel)])
		if err != nil {
			return err
		}
		c := chosen{path.Join(k.to, rel), n}
		if n.Kind == layer.Dir && exclude != nil {
			states[rel] = s
			waiting = slices.DeleteFunc(waiting, func(w chosen) bool { return !strings.HasPrefix(c.to, w.to+"/") })
			if out {
				waiting = append(waiting, c)
			}
		}
		if out {
			continue
		}
		for _, w := range waiting {
			if strings.HasPrefix(c.to, w.to+"/") {
				err = errors.Join(err, p.put(w))
			}
		}
		if err = errors.Join(err, p.put(c)); err != nil {
			return err
		}
	}
	return nil
}

// header is that of a node, with its owner, mode and time.
func (c chosen) header() *tar.Header {
	h := *c.node.Header
	h.Name, h.Uname, h.Gname, h.PAXRecords = c.to, "", "", nil
	return &h
}
