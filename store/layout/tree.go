// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// Tree makes a catalog of a directory. Every layout below it is the repository
// of its path. A repository is made by the first write, except with
// Options.ReadOnly (Options.Create is implied), and blobs are mounted from one
// to another by hard links.
//
// If the directory is itself a layout, its repositories are derived from the
// full references in it: docker.io/library/busybox:1.35 is tag 1.35 of
// library/busybox, and of docker.io/library/busybox, which is not listed. What
// has a bare tag is in the repository that is called as the directory.
//
// A name becomes a path as it is, but for components that have a meaning in a
// layout or on Windows (blobs, ingest, index.json, oci-layout, con, nul, ...):
// those get a "~" in front, which no name can have. Links that lead out of the
// directory are not followed.
func Tree(dir string, o Options) oci.Catalog {
	o.Create = true
	t := &tree{dir: dir, o: o, open: map[string]*Dir{}}
	if abs, err := filepath.Abs(dir); err == nil {
		t.dir = abs
	}
	if real, err := filepath.EvalSymlinks(t.dir); err == nil {
		t.dir = real
	}
	return t
}

type tree struct {
	dir  string
	o    Options
	mu   sync.Mutex
	open map[string]*Dir
}

// maxOpen bounds how many repositories are remembered with what is known of
// their files.
const maxOpen = 4096

// reserved are the components that cannot be directories as they are.
var reserved = regexp.MustCompile(`^(blobs|ingest|index\.json|oci-layout|(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?)$`)

func namePath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		if reserved.MatchString(p) {
			parts[i] = "~" + p
		}
	}
	return strings.Join(parts, "/")
}

// pathName is the reverse; false if no repository has that path.
func pathName(rel string) (string, bool) {
	parts := strings.Split(rel, "/")
	for i, p := range parts {
		parts[i] = strings.TrimPrefix(p, "~")
	}
	name := strings.Join(parts, "/")
	return name, oci.IsRepository(name) && namePath(name) == rel
}

// single reports whether the directory is one layout.
func (t *tree) single() bool { return isLayout(t.dir) }

func isLayout(dir string) bool {
	fi, err := os.Lstat(filepath.Join(dir, layoutFile))
	return err == nil && fi.Mode().IsRegular()
}

// Repository implements oci.Catalog.
func (t *tree) Repository(ctx context.Context, name string) (oci.Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !oci.IsRepository(name) {
		return nil, oci.Errorf(oci.ErrInvalid, "%s cannot be the name of a repository", oci.Quote(name))
	}
	if t.single() {
		return &view{Dir: t.dirOf("", ""), repo: name}, nil
	}
	return t.repository(name), nil
}

func (t *tree) repository(name string) *Dir { return t.dirOf(name, namePath(name)) }

func (t *tree) dirOf(name, rel string) *Dir {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.open[rel]
	if l == nil {
		l = newDir(place{base: t.dir, rel: rel}, t.o)
		l.host, l.name = "oci:"+t.dir, name
		if rel != "" {
			l.tree = t
		}
		if len(t.open) >= maxOpen {
			clear(t.open)
		}
		t.open[rel] = l
	}
	return l
}

// Repositories implements oci.Catalog.
func (t *tree) Repositories(ctx context.Context) iter.Seq2[string, error] {
	if t.single() {
		return t.dirOf("", "").repositories(ctx)
	}
	return func(yield func(string, error) bool) {
		names, err := t.walk(ctx, holds)
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// walk finds the layouts for which keep returns true, in the byte order of
// names.
func (t *tree) walk(ctx context.Context, keep func(dir string) bool) ([]string, error) {
	var names []string
	err := filepath.WalkDir(t.dir, func(at string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // not made yet, or just removed
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil || !e.IsDir() || at == t.dir {
			return err
		}
		rel, err := filepath.Rel(t.dir, at)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); path.Base(rel) == blobsDir || path.Base(rel) == ingestDir {
			return fs.SkipDir
		}
		if name, ok := pathName(rel); ok && keep(at) {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// holds reports whether a directory is a layout with at least one blob.
func holds(dir string) bool {
	if !isLayout(dir) {
		return false
	}
	for _, alg := range algorithms {
		d, err := os.Open(filepath.Join(dir, blobsDir, alg))
		if err != nil {
			continue
		}
		names, _ := d.Readdirnames(1)
		d.Close()
		if len(names) > 0 {
			return true
		}
	}
	return false
}

// mount takes a blob over from another repository of the tree.
func (l *Dir) mount(ctx context.Context, root *os.Root, d oci.Descriptor, from []string) bool {
	if l.tree == nil {
		return false
	}
	for _, name := range from {
		if !oci.IsRepository(name) || name == l.name {
			continue
		}
		other := l.tree.repository(name)
		if !other.gives(ctx, d) {
			continue
		}
		if l.link(root, other, d) == nil || l.fetch(ctx, root, oci.From(other, d)) == nil {
			return true
		}
	}
	return false
}

// gives reports whether the blob is there and good.
func (l *Dir) gives(ctx context.Context, d oci.Descriptor) bool {
	root, err := l.reading(ctx)
	if err != nil {
		return false
	}
	defer root.Close()
	ok, err := l.have(ctx, root, d)
	return ok && err == nil
}

// link makes the blob file of another layout ours too.
func (l *Dir) link(root *os.Root, other *Dir, d oci.Descriptor) error {
	base, err := os.OpenRoot(l.place.base)
	if err != nil {
		return err
	}
	defer base.Close()
	name := path.Join(ingestDir, rand.Text()+".tmp")
	defer root.Remove(ingestDir)
	for try := 0; ; try++ {
		err = base.Link(path.Join(other.place.rel, blobPath(d.Digest)), path.Join(l.place.rel, name))
		if !errors.Is(err, fs.ErrNotExist) || try == 100 {
			break
		}
		if err := root.Mkdir(ingestDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err != nil {
		return err
	}
	defer root.Remove(name) // renaming a link onto the same file leaves both
	fi, err := root.Lstat(name)
	if err == nil {
		err = settle(root, name, d.Digest)
	}
	if err == nil {
		l.known.add(d.Digest, fi)
	}
	return err
}
