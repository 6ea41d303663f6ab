// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// checkNeeds looks whether an image will have what its programs need to start.
// The files of the base are only asked for if a program needs anything.
func checkNeeds(ctx context.Context, e *build.Engine, s *build.Stack, items []*item) error {
	var tree *layer.Tree
	for _, i := range items {
		for _, p := range i.programs {
			if p.interpreter == "" {
				continue
			}
			if tree == nil {
				var err error
				if tree, err = s.Tree(ctx); err != nil {
					return err
				}
			}
			name := path.Join(i.path, p.name)
			if !has(tree, items, p.interpreter) {
				return lacksLoader(s, tree, name, p.interpreter)
			}
			if missing := p.lacks(tree, items); len(missing) > 0 {
				e.Note("%s needs %s, which is nowhere in the image", name, strings.Join(missing, ", "))
			}
		}
	}
	return nil
}

// has reports whether a file will be in the image: in the base, or in what is put
// on it.
func has(tree *layer.Tree, items []*item, file string) bool {
	if _, n, err := tree.Follow(strings.TrimPrefix(path.Clean("/"+file), "/")); err == nil && n.Kind == layer.File {
		return true
	}
	for _, i := range items {
		to := path.Clean("/" + i.to)
		if !i.dir && to == path.Clean("/"+file) {
			return true
		}
		rest, below := strings.CutPrefix(path.Clean("/"+file), strings.TrimSuffix(to, "/")+"/")
		if below && i.dir {
			if _, err := os.Lstat(filepath.Join(i.path, filepath.FromSlash(rest))); err == nil {
				return true
			}
		}
	}
	return false
}

// A libc is a C library that programs are linked with, and bases that have it.
type libc struct{ name, mark, bases string }

var libcs = []libc{
	{"musl", "ld-musl-", "alpine:3"},
	{"glibc", "ld-linux", "gcr.io/distroless/cc-debian12 or debian:12-slim"},
	{"glibc", "ld64.so", "debian:12-slim"},
	{"glibc", "ld.so", "debian:12-slim"},
}

func libcOf(loader string) libc {
	n := slices.IndexFunc(libcs, func(c libc) bool { return strings.Contains(path.Base(loader), c.mark) })
	if n < 0 {
		return libc{}
	}
	return libcs[n]
}

// lacksLoader is the error for a base that cannot start a program.
func lacksLoader(s *build.Stack, tree *layer.Tree, name, loader string) error {
	want := libcOf(loader)
	base, advice := cmp.Or(s.Base.Name, "the base"), ""
	if want.name != "" {
		advice = ": link it statically, or name a base with " + want.name + ", as --from " + want.bases
	}
	for at := range tree.All(".") {
		if have := libcOf(at); have.name != "" && have.name != want.name && want.name != "" && strings.HasPrefix(path.Base(at), have.mark) {
			advice = " (it has " + have.name + ", and the program is made for " + want.name + ")" + advice
			break
		}
	}
	return oci.Errorf(oci.ErrInvalid, "%s needs %s to start, which %s lacks%s", name, oci.Quote(loader), base, advice)
}

// lacks are the libraries of a program that are found nowhere, whatever directory
// they would be looked for in. Those that musl's loader has in itself are there.
func (p *located) lacks(tree *layer.Tree, items []*item) (missing []string) {
	musl := libcOf(p.interpreter).name == "musl"
	for _, name := range p.libraries {
		if musl && (name == "libc.so" || strings.HasPrefix(name, "libc.musl-")) {
			continue
		}
		ours := func(i *item) bool {
			return slices.Contains(i.found.libraries, path.Base(name)) || path.Base(i.to) == path.Base(name)
		}
		if !slices.ContainsFunc(items, ours) && !inLibraries(tree, path.Base(name)) {
			missing = append(missing, oci.Quote(name))
		}
	}
	return missing
}

// inLibraries reports whether a base has a file of a name anywhere.
func inLibraries(tree *layer.Tree, name string) bool {
	for _, dir := range []string{"lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib"} {
		if _, _, err := tree.Follow(dir + "/" + name); err == nil || !errors.Is(err, oci.ErrNotFound) {
			return true
		}
	}
	for at := range tree.All(".") {
		if path.Base(at) == name {
			return true
		}
	}
	return false
}
