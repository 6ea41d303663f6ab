// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// Context is a directory of the user's, without what patterns of a .dockerignore
// leave out. Nothing outside of it is read, wherever its links lead. One object
// serves all stacks.
func Context(dir string, ignore []string) Source { return &folder{dir: dir, ignore: ignore} }

// A folder is a Source in the file system.
type folder struct {
	dir    string
	ignore []string
	git    bool // it is a checkout: modes are 0644 and 0755
}

func (f *folder) id() string { return fmt.Sprintf("context %p", f) }

func (f *folder) open(context.Context) (view, error) {
	ignore, err := newRules(f.ignore)
	if err != nil {
		return nil, oci.Wrap("", ".dockerignore", err)
	}
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	return &folderView{f, root, ignore}, nil
}

type folderView struct {
	f      *folder
	root   *os.Root
	ignore *rules
}

func (v *folderView) close() error { return v.root.Close() }

// maxHops is how many links may lead to a file, as in Linux.
const maxHops = 40

// find implements view. Links are followed here and not by the system, since one
// that begins with a slash is meant from the context's root on.
func (v *folderView) find(name string) (found, error) {
	out := found{real: "."}
	info, err := v.root.Lstat(".")
	hops, via := 0, ""
	for rest := name; rest != "" && err == nil; {
		var c string
		c, rest, _ = strings.Cut(rest, "/")
		switch c {
		case "", ".":
			continue
		case "..":
			if out.real == "." {
				return out, oci.Errorf(oci.ErrInvalid, "%s leads out of the context", describe(name, via))
			}
			out.real = path.Dir(out.real)
			info, err = v.root.Lstat(out.real)
			continue
		}
		if !info.IsDir() {
			return out, oci.Errorf(oci.ErrNotFound, "%s: not found in the context: %s is no directory", oci.Quote(name), oci.Quote(out.real))
		}
		at := path.Join(out.real, c)
		if info, err = v.root.Lstat(at); err != nil {
			break
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			out.real = at
			continue
		}
		if hops++; hops > maxHops {
			return out, oci.Errorf(oci.ErrInvalid, "%s: more than %d links lead to it", oci.Quote(name), maxHops)
		}
		out.link = out.link || rest == ""
		if via, err = v.root.Readlink(at); err == nil {
			if via = filepath.ToSlash(via); strings.HasPrefix(via, "/") {
				out.real = "."
			}
			rest = via + "/" + rest
			info, err = v.root.Lstat(out.real)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return out, oci.Errorf(oci.ErrNotFound, "%s: not found in the context", describe(name, via))
	case err != nil:
		return out, fileError(name, err)
	}
	out.dir, out.file = info.IsDir(), info.Mode().IsRegular()
	return out, v.visible(name, out)
}

func describe(name, via string) string {
	if via == "" {
		return oci.Quote(name)
	}
	return oci.Quote(name) + ", a link to " + oci.Quote(via) + ","
}

// visible refuses what is left out of the context.
func (v *folderView) visible(name string, f found) error {
	out, s, err := v.ignore.deep(f.real)
	if out && err == nil && f.dir {
		out, err = v.hidden(f.real, s)
	}
	if out && err == nil {
		err = oci.Errorf(oci.ErrNotFound, "%s: not found in the context: .dockerignore leaves it out", oci.Quote(name))
	}
	return err
}

// hidden reports whether all that is in an ignored directory is ignored too.
func (v *folderView) hidden(dir string, s state) (bool, error) {
	if !v.ignore.back() {
		return true, nil
	}
	list, err := readDir(v.root, dir)
	if err != nil {
		return false, err
	}
	for _, e := range list {
		at := path.Join(dir, e.Name())
		out, sub, err := v.ignore.out(at, s)
		if out && err == nil && e.IsDir() {
			out, err = v.hidden(at, sub)
		}
		if !out || err != nil {
			return false, err
		}
	}
	return true, nil
}

// readDir lists a directory in byte order.
func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, fileError(dir, err)
	}
	defer d.Close()
	list, err := d.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	if err != nil {
		err = fileError(dir, err)
	}
	return list, err
}

// fileError says which file of the context an error is about.
func fileError(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return oci.Wrap("", oci.Quote(name), err)
}

// walk implements view.
func (v *folderView) walk(dir string, visit func(rel string, dir bool) bool) error {
	_, s, err := v.ignore.deep(dir)
	if err != nil {
		return err
	}
	return v.walkIn(dir, "", s, visit, 0)
}

func (v *folderView) walkIn(dir, rel string, up state, visit func(rel string, dir bool) bool, depth int) error {
	if depth > maxDeep {
		return tooDeep(dir)
	}
	list, err := readDir(v.root, dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		at, name := path.Join(dir, e.Name()), path.Join(rel, e.Name())
		out, s, err := v.ignore.out(at, up)
		if out && err == nil && e.IsDir() {
			out, err = v.hidden(at, s)
		}
		if err != nil {
			return err
		}
		if !out && e.Type()&fs.ModeSocket == 0 && visit(name, e.IsDir()) {
			if err := v.walkIn(at, name, s, visit, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxDeep is how many directories may be within one another.
const maxDeep = 500

func tooDeep(dir string) error {
	return oci.Errorf(oci.ErrInvalid, "%s: directories are nested more than %d deep", oci.Quote(dir), maxDeep)
}
