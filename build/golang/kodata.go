// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/oci"
)

// A datum is a file or a directory of the kodata of an image.
type datum struct {
	name  string // in dataDir; "": that itself
	shown string // for errors
	root  string // that the file may not be outside of
	path  string // in root, without links
	dir   bool
	size  int64
}

const (
	maxData = 1_000_000 // files
	maxDeep = 200       // directories within directories
)

// readData finds what the programs have in their directories kodata. Links are
// followed, but not out of the repository or, if there is none, the module.
func (b *builder) readData() error {
	all := map[string]datum{}
	for _, p := range b.programs {
		dir := filepath.Join(p.Dir, "kodata")
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			continue
		}
		root, err := filepath.EvalSymlinks(worktree(p.Dir, p.module))
		if err != nil {
			return err
		}
		w := dataWalk{all: all, root: root}
		if err := w.add(dir, "", nil); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		b.data = nil
		return nil
	}
	list := make([]datum, 0, len(all))
	for _, d := range all {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b datum) int { return strings.Compare(a.name, b.name) })
	at := b.o.DataTime
	b.data = input.Tar("kodata", input.TarOptions{By: "kodata"}, func(ctx context.Context, w io.Writer) error {
		t := tar.NewWriter(w)
		for _, d := range list {
			h := file(strings.TrimSuffix(dataDir[1:]+"/"+d.name, "/"), d.size, at)
			if d.dir {
				h = directory(h.Name, at)
			}
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			if d.dir {
				continue
			}
			if err := d.send(ctx, t); err != nil {
				return err
			}
		}
		return t.Close()
	})
	return nil
}

// A dataWalk collects what is below a directory, with links followed.
type dataWalk struct {
	all  map[string]datum
	root string
}

// add adds what is at a path of the disk. above are the directories that led
// there, to which no link may lead back.
func (w *dataWalk) add(path, name string, above []string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if real, err = filepath.Abs(real); err != nil {
		return err
	}
	rel, err := filepath.Rel(w.root, real)
	if err != nil || !filepath.IsLocal(rel) {
		return oci.Errorf(oci.ErrInvalid, "%s leads out of %s, to %s", oci.Quote(path), oci.Quote(w.root), oci.Quote(real))
	}
	info, err := os.Lstat(real)
	if err != nil {
		return err
	}
	d := datum{name: name, shown: path, root: w.root, path: rel, dir: info.IsDir(), size: info.Size()}
	switch {
	case len(w.all) >= maxData:
		return oci.Errorf(oci.ErrInvalid, "%s: there are more than %d files in kodata", oci.Quote(path), maxData)
	case slices.Contains(above, real):
		return oci.Errorf(oci.ErrInvalid, "%s leads into itself", oci.Quote(path))
	case len(above) > maxDeep:
		return oci.Errorf(oci.ErrInvalid, "%s: directories are nested more than %d deep", oci.Quote(path), maxDeep)
	case !d.dir && !info.Mode().IsRegular():
		return oci.Errorf(oci.ErrInvalid, "%s is neither a file nor a directory", oci.Quote(path))
	}
	if err := w.put(d); err != nil || !d.dir {
		return err
	}
	list, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	above = append(above[:len(above):len(above)], real)
	for _, e := range list {
		if err := w.add(filepath.Join(path, e.Name()), strings.TrimPrefix(name+"/"+e.Name(), "/"), above); err != nil {
			return err
		}
	}
	return nil
}

// put keeps a file. Of several programs two can have the same.
func (w *dataWalk) put(d datum) error {
	old, there := w.all[d.name]
	if there && (old.dir != d.dir || !d.dir && !old.same(d)) {
		return oci.Errorf(oci.ErrInvalid, "two programs of the image have another kodata/%s: %s and %s", d.name, oci.Quote(old.shown), oci.Quote(d.shown))
	}
	if !there {
		w.all[d.name] = d
	}
	return nil
}

func (d datum) same(o datum) bool {
	a, err1 := d.sum()
	b, err2 := o.sum()
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

func (d datum) sum() ([]byte, error) {
	h := sha256.New()
	err := d.send(context.Background(), h)
	return h.Sum(nil), err
}

// send writes the content of a file. It is opened below the root, so that no link
// that was made a moment ago leads out of there.
func (d datum) send(ctx context.Context, w io.Writer) error {
	root, err := os.OpenRoot(d.root)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(d.path)
	if err == nil && !info.Mode().IsRegular() {
		return d.changed()
	}
	f, err := root.Open(d.path)
	if err != nil {
		if os.IsNotExist(err) {
			return d.changed()
		}
		return &fs.PathError{Op: "open", Path: d.shown, Err: err}
	}
	defer f.Close()
	n := &counted{w: w}
	if err := send(ctx, n, io.LimitReader(f, d.size+1)); err != nil && n.n <= d.size {
		return err
	}
	if n.n != d.size {
		return d.changed()
	}
	return nil
}

func (d datum) changed() error {
	return oci.Errorf(oci.ErrBusy, "%s was changed while it was read", oci.Quote(d.shown))
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}
