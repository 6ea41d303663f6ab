// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A view is one repository of a layout that holds many, as hauler, containerd
// and "docker save" write them. docker.io/library/busybox:1.35 is tag 1.35 of
// the repositories library/busybox and docker.io/library/busybox; only the
// first is listed. What has a bare tag or no name is in the repository that is
// called as the directory. Blobs, manifests by digest and referrers are those
// of the whole layout, so that blobs cannot be deleted here.
type view struct {
	*Dir
	repo string
}

// home is the repository of what does not say where it belongs.
func (l *Dir) home() string {
	name := strings.ToLower(filepath.Base(l.place.String()))
	if !oci.IsRepository(name) {
		return "image"
	}
	return name
}

// shortRepository drops the host.
func shortRepository(repo string) string {
	host, rest, ok := strings.Cut(repo, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return rest
	}
	return repo
}

// fullName returns the reference that tells the entry's repository.
func (e *entry) fullName() (repo, tag string) {
	names := e.names()
	slices.Reverse(names) // containerd's is the fuller one
	for _, n := range names {
		if repo, tag = splitName(n); repo != "" {
			return repo, tag
		}
	}
	return "", tag
}

// repositories lists the repositories that the names tell.
func (l *Dir) repositories(ctx context.Context) iter.Seq2[string, error] {
	return l.list(ctx, func(e *entry) []string {
		repo, _ := e.fullName()
		if repo == "" {
			return []string{l.home()}
		}
		if repo = shortRepository(repo); oci.IsRepository(repo) {
			return []string{repo}
		}
		return nil
	})
}

// Locate implements oci.Locator.
func (v *view) Locate() (host, repository string) { return v.host, v.repo }

// tag returns the tag that an entry has in this repository.
func (v *view) tag(e *entry) (string, bool) {
	repo, tag := e.fullName()
	switch {
	case repo == "":
		return tag, v.repo == v.home()
	case repo == v.repo, shortRepository(repo) == v.repo:
		return tag, true
	}
	return "", false
}

// find returns the entries that have the tag here.
func (v *view) find(x *index, name string) []*entry {
	var found []*entry
	for i := range x.entries {
		if tag, ok := v.tag(&x.entries[i]); ok && tag == name && tag != "" {
			found = append(found, &x.entries[i])
		}
	}
	return found
}

// Resolve implements oci.Source. ErrInvalid if repositories of two hosts have
// the tag and mean different manifests.
func (v *view) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if _, err := oci.ParseDigest(name); err == nil {
		return v.Dir.Resolve(ctx, name)
	}
	root, err := v.reading(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer root.Close()
	x, err := v.index(root)
	if err != nil {
		return oci.Descriptor{}, err
	}
	found := v.find(x, name)
	if len(found) == 0 {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "%s has no %s:%s", v.place, v.repo, name)
	}
	d, err := pick(name, found)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return v.present(root, d)
}

// name is what a tag of this repository is called in the layout: as its other
// tags are.
func (v *view) name(ctx context.Context, tag string) (string, error) {
	if !oci.IsTag(tag) {
		return "", oci.Errorf(oci.ErrInvalid, "%s is not a tag", oci.Quote(tag))
	}
	root, err := v.reading(ctx)
	if err != nil {
		return "", err
	}
	defer root.Close()
	x, err := v.index(root)
	if err != nil {
		return "", err
	}
	prefix := ""
	for i := range x.entries {
		e := &x.entries[i]
		if repo, _ := e.fullName(); repo != "" && (repo == v.repo || shortRepository(repo) == v.repo) {
			if r, _ := splitName(e.name()); r != "" {
				repo = r // as in the reference name
			}
			if prefix != "" && prefix != repo {
				return "", oci.Errorf(oci.ErrInvalid, "repository %s can mean %s and %s", v.repo, prefix, repo)
			}
			prefix = repo
		}
	}
	switch {
	case prefix != "":
		return prefix + ":" + tag, nil
	case v.repo == v.home():
		return tag, nil
	}
	return v.repo + ":" + tag, nil
}

// Tag implements oci.Sink. The layout gets a full reference.
func (v *view) Tag(ctx context.Context, tag string, d oci.Descriptor) error {
	name, err := v.name(ctx, tag)
	if err != nil {
		return err
	}
	return v.Dir.Tag(ctx, name, d)
}

// Publish implements oci.Publisher.
func (v *view) Publish(ctx context.Context, manifest oci.Blob, tags ...string) error {
	names := make([]string, len(tags))
	for i, tag := range tags {
		var err error
		if names[i], err = v.name(ctx, tag); err != nil {
			return err
		}
	}
	return v.Dir.Publish(ctx, manifest, names...)
}

// Tags implements oci.Lister.
func (v *view) Tags(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		some := false
		for tag, err := range v.list(ctx, func(e *entry) []string {
			if tag, ok := v.tag(e); ok {
				some = true
				return []string{tag}
			}
			return nil
		}) {
			if err == nil && !oci.IsTag(tag) {
				continue
			}
			if !yield(tag, err) || err != nil {
				return
			}
		}
		if !some {
			yield("", oci.Errorf(oci.ErrNotFound, "%s has no repository %s", v.place, v.repo))
		}
	}
}

// Untag implements oci.Untagger.
func (v *view) Untag(ctx context.Context, tag string) error {
	return v.edit(ctx, func(_ *os.Root, x *index) error {
		found := v.find(x, tag)
		if len(found) == 0 {
			return oci.Errorf(oci.ErrNotFound, "%s has no %s:%s", v.place, v.repo, tag)
		}
		if _, err := pick(tag, found); err != nil {
			return err
		}
		return x.untag(func(e *entry) bool {
			have, ok := v.tag(e)
			return ok && have == tag
		})
	})
}

// Delete implements oci.Deleter for the manifests of the repository. The file
// stays if another repository names it.
func (v *view) Delete(ctx context.Context, d oci.Descriptor) error {
	return v.edit(ctx, func(root *os.Root, x *index) error {
		if !x.has(d.Digest) {
			if _, err := v.stat(root, d); err != nil {
				return err
			}
			return oci.Errorf(oci.ErrUnsupported, "%s is shared by all repositories of %s", d.Digest, v.place)
		}
		mine := func(e *entry) bool {
			_, ok := v.tag(e)
			return ok && e.d.Digest == d.Digest
		}
		if x.remove(mine) == 0 {
			return oci.Errorf(oci.ErrNotFound, "%s of %s has no %s", v.repo, v.place, d.Digest)
		}
		if x.has(d.Digest) {
			return nil
		}
		if err := v.save(root, x); err != nil {
			return err
		}
		v.known.drop(d.Digest)
		return ignore(root.Remove(blobPath(d.Digest)), fs.ErrNotExist)
	})
}
