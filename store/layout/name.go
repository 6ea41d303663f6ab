// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

const (
	annotationName = v1.AnnotationRefName
	containerdName = "io.containerd.image.name" // the full reference beside a bare tag
	haulerKind     = "kind"                     // tells an image from its signatures, which have the same name
)

// names are what the entry is called, the reference name first.
func (e *entry) names() []string {
	var out []string
	for _, key := range []string{annotationName, containerdName} {
		if n := e.d.Annotations[key]; n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// secondary reports whether hauler put the entry there as a signature,
// attestation or the like of the image that has the name.
func (e *entry) secondary() bool {
	kind := e.d.Annotations[haulerKind]
	_, kind, ok := strings.Cut(kind, "/")
	return ok && kind != "image" && kind != "imageIndex"
}

// splitName takes a reference apart: host/path and tag. A bare tag has no
// repository.
func splitName(name string) (repository, tag string) {
	name, _, _ = strings.Cut(name, "@")
	colon := strings.LastIndexByte(name, ':')
	switch slash := strings.LastIndexByte(name, '/'); {
	case colon > slash:
		return name[:colon], name[colon+1:]
	case slash >= 0:
		return name, "latest"
	}
	return "", name
}

// matches reports whether the entry can be meant by name: it has that name, or
// a full reference that ends in it, or that tag.
func (e *entry) matches(name string) bool {
	for _, n := range e.names() {
		repo, tag := splitName(n)
		if n == name || strings.HasSuffix(n, "/"+name) || repo != "" && tag == name {
			return true
		}
	}
	return false
}

// lookup finds the entries that a name means: those that have exactly it as
// their reference name, else as their full name, else those that match.
func (x *index) lookup(name string) []*entry {
	for _, is := range []func(*entry) bool{
		func(e *entry) bool { return e.name() == name },
		func(e *entry) bool { return e.d.Annotations[containerdName] == name },
		func(e *entry) bool { return e.matches(name) },
	} {
		var found []*entry
		for i := range x.entries {
			if e := &x.entries[i]; is(e) {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// resolve finds the only manifest that a name means; ErrInvalid if there are
// several.
func (x *index) resolve(name string) (oci.Descriptor, error) {
	found := x.lookup(name)
	if at, ok := strings.CutPrefix(name, "@"); ok && len(found) == 0 {
		if n, err := strconv.Atoi(at); err == nil && n >= 0 && n < len(x.entries) {
			found = []*entry{&x.entries[n]}
		}
	}
	if len(found) == 0 {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "no image is named %s", oci.Quote(name))
	}
	return pick(name, found)
}

// pick returns the only manifest among the entries.
func pick(name string, found []*entry) (oci.Descriptor, error) {
	if main := slices.DeleteFunc(slices.Clone(found), (*entry).secondary); len(main) > 0 {
		found = main
	}
	for _, e := range found {
		if e.err != nil {
			return oci.Descriptor{}, e.err
		}
		if e.d.Digest != found[0].d.Digest {
			return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "name %s can mean %s", oci.Quote(name), candidates(found))
		}
	}
	return found[0].d, nil
}

// candidates lists entries for a message, at most ten.
func candidates(found []*entry) string {
	var list []string
	for i, e := range found {
		if i == 10 {
			list = append(list, "…")
			break
		}
		text := string(e.d.Digest)
		if n := e.names(); len(n) > 0 {
			text = oci.Quote(n[len(n)-1]) + " (" + text + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// Resolve implements oci.Source. A name is looked for as a reference name, as
// it stands; then among the full references that end in it or have it as
// their tag; @N means the Nth entry, from 0. A digest is found even if no
// entry has it. The empty name means the only root. ErrInvalid if several manifests could be meant. If
// index.json names a manifest whose file is gone or has another size, the
// error is both ErrNotFound and ErrCorrupt.
func (l *Dir) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	root, err := l.reading(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer root.Close()
	x, err := l.index(root)
	if err != nil {
		return oci.Descriptor{}, err
	}
	var d oci.Descriptor
	digest, derr := oci.ParseDigest(name)
	switch {
	case derr == nil:
		i := x.find(func(e *entry) bool { return e.d.Digest == digest && e.err == nil })
		if i < 0 {
			return l.describe(root, digest)
		}
		d = x.entries[i].d
	case name == "":
		d, err = l.only(root, x)
	default:
		d, err = x.resolve(name)
	}
	if err != nil {
		return oci.Descriptor{}, oci.Wrap("", l.place.String(), err)
	}
	return l.present(root, d)
}

// present checks that the file of an entry is there, and leaves of the entry
// what belongs to the manifest itself.
func (l *Dir) present(root *os.Root, d oci.Descriptor) (oci.Descriptor, error) {
	if d.MediaType == "" {
		return l.describe(root, d.Digest)
	}
	have, err := l.stat(root, d)
	if errors.Is(err, oci.ErrNotFound) {
		err = oci.Errorf(oci.ErrNotFound, "%s of %s: %w: no file %s with %d bytes", indexFile, l.place, oci.ErrCorrupt, blobPath(d.Digest), d.Size)
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	return oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: have.Size, ArtifactType: d.ArtifactType}, nil
}

// describe finds out what a blob is that is not in index.json; ErrNotFound if
// it is no manifest.
func (l *Dir) describe(root *os.Root, d oci.Digest) (oci.Descriptor, error) {
	m, err := l.manifest(root, oci.Descriptor{Digest: d})
	if errors.Is(err, oci.ErrInvalid) {
		err = oci.Errorf(oci.ErrNotFound, "%s has no manifest %s, that is a blob", l.place, d)
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	return oci.Descriptor{MediaType: m.Descriptor.MediaType, Digest: d, Size: m.Descriptor.Size, ArtifactType: m.ArtifactType}, nil
}

// Tags implements oci.Lister: all names, full references as they are. In a
// tree only what can be a tag counts, and of a full reference its tag.
func (l *Dir) Tags(ctx context.Context) iter.Seq2[string, error] {
	return l.list(ctx, func(e *entry) []string {
		names := e.names()
		if len(names) == 0 {
			return nil
		}
		if l.tree == nil {
			return names[:1]
		}
		return []string{tagOf(names[0])}
	})
}

// list yields the names that of chooses from the entries, sorted, each once.
func (l *Dir) list(ctx context.Context, of func(*entry) []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := l.reading(ctx)
		var x *index
		if err == nil {
			defer root.Close()
			x, err = l.index(root)
		}
		if err != nil {
			yield("", err)
			return
		}
		var names []string
		for i := range x.entries {
			if e := &x.entries[i]; !e.secondary() {
				names = append(names, of(e)...)
			}
		}
		slices.Sort(names)
		for _, n := range slices.Compact(names) {
			if l.tree != nil && !oci.IsTag(n) {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}
