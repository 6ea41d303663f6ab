// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/layer"
)

func wantEmpty(t testing.TB, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > 0 {
		t.Errorf("%s has %v %v", dir, list, err)
	}
}

// A canary is a directory beside which images are unpacked, with things that
// they would like to reach. changed tells if any of it is not as it was.
type canary struct {
	root, target string
	before       string
}

func newCanary(t testing.TB) *canary {
	t.Helper()
	c := &canary{root: t.TempDir()}
	c.target = filepath.Join(c.root, "target")
	for _, d := range []string{"outside", "outside/a", "outside/b"} {
		try(t, os.Mkdir(filepath.Join(c.root, d), 0o750))
	}
	for _, f := range []string{"secret", "outside/secret", "outside/a/b", "a", "b"} {
		try(t, os.WriteFile(filepath.Join(c.root, f), []byte(f), 0o640))
	}
	try(t, os.Symlink("secret", filepath.Join(c.root, "outside", "link")))
	c.before = c.state(t)
	return c
}

func try(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// state is all that can be seen of what is not the target.
func (c *canary) state(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(c.root, func(p string, d fs.DirEntry, err error) error {
		if p == c.target {
			return fs.SkipDir
		}
		if err != nil || p == c.root {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if fi.Mode().IsRegular() {
			content, err = os.ReadFile(p)
		}
		fmt.Fprintf(&b, "%s %v %v %s %x\n", p, fi.Mode(), fi.ModTime().UnixNano(), identity(fi), sha256.Sum256(content))
		return err
	})
	try(t, err)
	return b.String()
}

func (c *canary) check(t testing.TB) {
	t.Helper()
	if now := c.state(t); now != c.before {
		t.Errorf("something changed outside:\n%s\nwas\n%s", now, c.before)
	}
}

func (c *canary) unpack(t testing.TB, layers ...[]rec) (*layer.Report, error) {
	t.Helper()
	defer c.check(t)
	return layer.Unpack(ctx(t), c.target, blobs(t, layers...), layer.UnpackOptions{})
}

// disk lists a directory as model.listing does.
func disk(t testing.TB, dir string) []string {
	t.Helper()
	var recs []rec
	first := map[string]string{}
	try(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		fi, err := d.Info()
		try(t, err)
		name, _ := filepath.Rel(dir, p)
		r := rec{Header: tar.Header{Name: filepath.ToSlash(name), Mode: int64(fi.Mode().Perm())}}
		id := identity(fi)
		switch {
		case first[id] != "":
			r.Typeflag, r.Linkname = tar.TypeLink, first[id]
		case fi.IsDir():
			r.Typeflag = tar.TypeDir
		case fi.Mode()&fs.ModeSymlink != 0:
			first[id] = r.Name
			r.Typeflag = tar.TypeSymlink
			r.Linkname, err = os.Readlink(p)
		default:
			first[id] = r.Name
			b, err2 := os.ReadFile(p)
			r.Typeflag, r.content, err = tar.TypeReg, string(b), err2
		}
		recs = append(recs, r)
		return err
	}))
	return listing(t, recs)
}
