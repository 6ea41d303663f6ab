// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// checkBase looks, before anything is packed, whether the base has what loads the
// programs of items, or one of the items may have it: checkNeeds knows when all is
// there. The files of the base are only asked for if a program needs anything.
func checkBase(ctx context.Context, s *build.Stack, items []*item) error {
	return eachNeedy(ctx, s, items, func(tree *layer.Tree, name string, p located) error {
		brought := func(i *item) bool { return i.brings(path.Base(p.interpreter)) }
		if slices.ContainsFunc(items, brought) {
			return nil
		}
		return s.CheckLoader(tree, name, p.interpreter)
	})
}

// checkNeeds looks whether an image has what its programs need to start.
func checkNeeds(ctx context.Context, e *build.Engine, s *build.Stack, items []*item) error {
	return eachNeedy(ctx, s, items, func(tree *layer.Tree, name string, p located) error {
		if err := s.CheckLoader(tree, name, p.interpreter); err != nil {
			return err
		}
		if missing := p.lacks(tree); len(missing) > 0 {
			e.Note("%s needs %s, which is nowhere in the image", name, strings.Join(missing, ", "))
		}
		return nil
	})
}

// eachNeedy is about the programs that are not linked statically, and the files of
// the stack as it is.
func eachNeedy(ctx context.Context, s *build.Stack, items []*item, check func(tree *layer.Tree, name string, p located) error) (err error) {
	var tree *layer.Tree
	for _, i := range items {
		for _, p := range i.programs {
			if p.interpreter == "" {
				continue
			}
			if tree == nil {
				if tree, err = s.Tree(ctx); err != nil {
					return err
				}
			}
			if err := check(tree, path.Join(i.path, p.name), p); err != nil {
				return err
			}
		}
	}
	return nil
}

// brings reports whether the item may become, or have, a file of this name.
func (i *item) brings(name string) bool {
	return path.Base(i.to) == name || filepath.Base(i.path) == name || slices.Contains(i.libraries, name)
}

// lacks are the libraries of a program that are found nowhere, whatever directory
// they would be looked for in. Those that musl's loader has in itself are there.
func (p *located) lacks(tree *layer.Tree) (missing []string) {
	musl := strings.Contains(path.Base(p.interpreter), "ld-musl-")
	for _, name := range p.libraries {
		if musl && (name == "libc.so" || strings.HasPrefix(name, "libc.musl-")) {
			continue
		}
		if !inLibraries(tree, path.Base(name)) {
			missing = append(missing, oci.Quote(name))
		}
	}
	return missing
}

// inLibraries reports whether an image has a file of a name anywhere.
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
