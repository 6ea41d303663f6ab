// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"encoding/json"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// Describe implements build.Describer. Of arguments it tells the names alone, as
// the values may be secrets.
func (b *builder) Describe(context.Context) (build.About, error) {
	b.mu.Lock()
	p := b.plan
	b.mu.Unlock()
	about := build.About{Type: "dockerfile", Parameters: map[string]any{}}
	if p == nil {
		return about, nil
	}
	about.Parameters["dockerfile"] = filepath.Base(p.name)
	about.Parameters["dockerfileDigest"] = string(oci.FromBytes(p.text))
	if p.o.Target != "" {
		about.Parameters["target"] = p.o.Target
	}
	for name, list := range map[string][]string{"buildArgs": slices.Sorted(maps.Keys(p.o.Args)), "buildContexts": slices.Sorted(maps.Keys(p.o.Contexts))} {
		if len(list) > 0 {
			about.Parameters[name] = list
		}
	}
	if p.o.KeepTimes {
		about.Parameters["keepTimes"] = true
	}
	return about, nil
}

// Watch implements build.Watcher: the Dockerfile, what is left out of the context,
// the context, and directories that were given names.
func (b *builder) Watch(context.Context) ([]string, error) {
	b.mu.Lock()
	p := b.plan
	b.mu.Unlock()
	if p == nil { // what it reads is not known yet: its Dockerfile cannot be read
		return slices.DeleteFunc([]string{b.o.Context, b.o.File}, func(path string) bool { return path == "" }), nil
	}
	var all []string
	add := func(path string) {
		if path != "" && !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	if p.dir == p.o.Context {
		add(p.dir)
	}
	add(p.path)
	add(p.ignore)
	for _, name := range slices.Sorted(maps.Keys(p.other)) {
		if dir := p.other[name].dir; dir == p.o.Contexts[name] {
			add(dir)
		}
	}
	return all, nil
}

// inputs gives the stack of the target all that the build was made of beside its
// base: images and contexts, and what ADD fetched in any stage.
func (x *evaluation) inputs(s *build.Stack) {
	had := map[string]bool{}
	var all []build.Material
	add := func(list ...build.Material) {
		for _, m := range list {
			raw, err := json.Marshal(m)
			if err == nil && !had[string(raw)] {
				had[string(raw)] = true
				all = append(all, m)
			}
		}
	}
	add(x.materials...)
	for _, st := range x.reachedStages() {
		add(st.stack.Materials...)
		if st != x.root && st.from == nil {
			add(ofImage(st.stack.Base)...)
		}
	}
	s.Materials = all
}

// reachedStages are all stages and images that were needed, the latter by name.
func (x *evaluation) reachedStages() (all []*stage) {
	for _, s := range x.all {
		if s.reached {
			all = append(all, s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.images)) {
		all = append(all, x.images[name])
	}
	return all
}

// ofImage is an image as a material; none if there is no image.
func ofImage(b *build.Base) []build.Material {
	d := b.Image.Digest
	if d == "" {
		return nil
	}
	name, more := "image", map[string]string{"arch": b.Platform.Architecture}
	if b.Repository != "" {
		name, more["repository_url"] = path.Base(b.Repository), b.Repository
	}
	url := packageurl.NewPackageURL("oci", "", name, string(d), packageurl.QualifiersFromMap(more), "").ToString()
	return []build.Material{{Name: "image", URI: url, Digest: map[string]string{string(d.Algorithm()): d.Encoded()}}}
}
