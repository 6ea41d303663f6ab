// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// Publish implements oci.Publisher: the manifest and all its names, with one
// change of index.json. Without names it is Put, and the manifest becomes a
// root of the layout: an entry without a name, once, until an index with it
// is published.
func (l *Dir) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	if err := oci.CheckDescriptor(manifest.Descriptor()); err != nil {
		return err
	}
	for _, n := range names {
		if err := l.checkName(n); err != nil {
			return err
		}
	}
	m, err := readManifest(ctx, manifest)
	if err != nil {
		return err
	}
	_, err = l.putManifest(ctx, m, func(x *index) error { return x.publish(m, names) })
	return err
}

// Move implements oci.Mover, under the lock of the layout.
func (l *Dir) Move(ctx context.Context, manifest oci.Blob, name string, old oci.Digest) error {
	if err := cmp.Or(oci.CheckDescriptor(manifest.Descriptor()), l.checkName(name)); err != nil {
		return err
	}
	m, err := readManifest(ctx, manifest)
	if err != nil {
		return err
	}
	_, err = l.putManifest(ctx, m, func(x *index) error {
		now, err := x.resolve(name)
		if err != nil && !errors.Is(err, oci.ErrNotFound) {
			return err
		}
		if now.Digest != old && now.Digest != m.Descriptor.Digest {
			return oci.Wrap("", l.place.String()+":"+name, oci.Moved(now.Digest))
		}
		return x.publish(m, []string{name})
	})
	return err
}

// Rooted implements oci.Rooter: whether index.json has an entry of d.
func (l *Dir) Rooted(ctx context.Context, d oci.Descriptor) (bool, error) {
	root, err := l.reading(ctx)
	if err != nil {
		return false, ignore(err, oci.ErrNotFound)
	}
	defer root.Close()
	x, err := l.index(root)
	return err == nil && x.has(d.Digest), err
}

// publish makes a manifest a root of the layout. Its children that were roots
// without a name until now are no longer: they were on their way here.
func (x *index) publish(m *oci.Manifest, names []string) error {
	d := oci.Descriptor{MediaType: m.Descriptor.MediaType, Digest: m.Descriptor.Digest, Size: m.Descriptor.Size, ArtifactType: m.ArtifactType}
	if len(names) == 0 && !x.has(d.Digest) {
		bare := d
		bare.ArtifactType = ""
		if err := x.add(bare, nil); err != nil {
			return err
		}
	}
	for _, n := range names {
		if err := x.tag(n, d); err != nil {
			return err
		}
	}
	children := map[oci.Digest]bool{}
	for _, c := range m.Manifests {
		children[c.Digest] = c.Digest != d.Digest
	}
	x.remove(func(e *entry) bool { return children[e.d.Digest] && e.bare() })
	return nil
}

// readManifest reads, verifies and parses a manifest that is to be put.
func readManifest(ctx context.Context, b oci.Blob) (*oci.Manifest, error) {
	d := b.Descriptor()
	if d.Size > oci.MaxManifest {
		return nil, oci.Errorf(oci.ErrInvalid, "manifest %s has %d bytes, more than %d", d.Digest, d.Size, oci.MaxManifest)
	}
	var buf bytes.Buffer
	if err := receive(ctx, &buf, b); err != nil {
		return nil, err
	}
	m, err := oci.ParseManifest(d.MediaType, buf.Bytes())
	if err != nil {
		return nil, oci.Wrap("", string(d.Digest), err)
	}
	m.Descriptor.Digest = d.Digest
	return m, nil
}

// putManifest stores a manifest, makes it a referrer if it has a subject, and
// edits index.json in the same step.
func (l *Dir) putManifest(ctx context.Context, m *oci.Manifest, edit func(*index) error) (oci.How, error) {
	root, err := l.writing(ctx)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	if err := l.complete(ctx, root, m); err != nil {
		return 0, err
	}
	how := oci.Existed
	ok, err := l.have(ctx, root, m.Descriptor)
	if err == nil && !ok {
		how, err = oci.Sent, l.fetch(ctx, root, m.Blob())
	}
	if err != nil {
		return how, oci.Wrap("write", l.place.String(), err)
	}
	if m.Subject == nil && edit == nil {
		return how, nil
	}
	return how, l.change(ctx, root, func(root *os.Root, x *index) error {
		if _, err := l.stat(root, m.Descriptor); err != nil {
			return err // GC or Delete was faster
		}
		if m.Subject != nil && !x.has(m.Descriptor.Digest) {
			if err := x.add(referrer(m), m.Annotations); err != nil {
				return err
			}
		}
		if edit == nil {
			return nil
		}
		return edit(x)
	})
}

// complete checks that config and layers of an image are there and good. What
// this Dir does not know yet is hashed now, because a copy that was told by
// Stat that a blob exists has not put it.
func (l *Dir) complete(ctx context.Context, root *os.Root, m *oci.Manifest) error {
	if m.IsIndex() {
		return l.completeIndex(ctx, root, m, map[oci.Digest]bool{})
	}
	for _, d := range m.Children() {
		ok, err := l.have(ctx, root, d)
		if err == nil && !ok && !oci.IsForeign(d) && len(d.URLs) == 0 {
			err = oci.Errorf(oci.ErrNotFound, "%s has no whole blob %s", l.place, d.Digest)
		}
		if err != nil {
			return oci.Wrap("put manifest", string(m.Descriptor.Digest), err)
		}
	}
	return nil
}

// completeIndex checks the children that are there: an interrupted GC can have
// left a manifest without its layers. Missing children are allowed.
func (l *Dir) completeIndex(ctx context.Context, root *os.Root, m *oci.Manifest, seen map[oci.Digest]bool) error {
	for _, d := range m.Manifests {
		if seen[d.Digest] || !oci.IsManifest(d.MediaType) {
			continue
		}
		seen[d.Digest] = true
		child, err := l.manifest(root, d)
		switch {
		case errors.Is(err, oci.ErrNotFound):
			continue
		case err != nil:
			return oci.Wrap("put manifest", string(m.Descriptor.Digest), err)
		case child.IsIndex():
			err = l.completeIndex(ctx, root, child, seen)
		default:
			err = l.complete(ctx, root, child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// referrer is how a manifest with a subject is listed (distribution-spec,
// "Listing Referrers"), but for its annotations.
func referrer(m *oci.Manifest) oci.Descriptor {
	d := oci.Descriptor{MediaType: m.Descriptor.MediaType, Digest: m.Descriptor.Digest, Size: m.Descriptor.Size, ArtifactType: m.ArtifactType}
	if d.ArtifactType == "" && m.Config != nil {
		d.ArtifactType = m.Config.MediaType
	}
	return d
}

// Tag implements oci.Sink. The name is written as it is given: a tag, or a full
// reference where one layout holds many repositories. ErrInvalid if it is
// empty, a digest, or cannot be printed.
func (l *Dir) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if err := oci.CheckDescriptor(d); err != nil {
		return err
	}
	if err := l.checkName(name); err != nil {
		return err
	}
	root, err := l.writing(ctx)
	if err != nil {
		return err
	}
	defer root.Close()
	m, err := l.manifest(root, d)
	if err != nil {
		return err
	}
	d = oci.Descriptor{MediaType: m.Descriptor.MediaType, Digest: d.Digest, Size: m.Descriptor.Size, ArtifactType: m.ArtifactType}
	return l.change(ctx, root, func(root *os.Root, x *index) error {
		if _, err := l.stat(root, d); err != nil {
			return err
		}
		return x.tag(name, d)
	})
}

// tag lets name mean d and nothing else. An entry of d without a name gets it
// rather than a new one; there is never a second entry that says the same.
func (x *index) tag(name string, d oci.Descriptor) error {
	same := func(e *entry) bool { return slices.Contains(e.names(), name) && !e.secondary() }
	right := func(e *entry) bool {
		return e.err == nil && e.d.Digest == d.Digest && e.d.MediaType == d.MediaType && e.d.Size == d.Size
	}
	keep := x.find(func(e *entry) bool { return same(e) && right(e) })
	if keep < 0 {
		notes := map[string]string{annotationName: name}
		if i := x.find(same); i >= 0 && x.entries[i].name() == name && x.entries[i].d.Annotations[containerdName] != "" {
			notes[containerdName] = x.entries[i].d.Annotations[containerdName] // the long form of the same name
		}
		keep = x.find(func(e *entry) bool { return right(e) && len(e.names()) == 0 })
		var err error
		if keep >= 0 {
			err = x.rename(keep, name)
		} else {
			keep, err = len(x.entries), x.add(d, notes)
		}
		if err != nil {
			return err
		}
	}
	i := -1
	x.remove(func(e *entry) bool {
		i++
		return i != keep && (same(e) || e.d.Digest == d.Digest && len(e.names()) == 0)
	})
	return nil
}

func (x *index) find(is func(*entry) bool) int {
	for i := range x.entries {
		if is(&x.entries[i]) {
			return i
		}
	}
	return -1
}

// manifest reads and parses a manifest of the layout.
func (l *Dir) manifest(root *os.Root, d oci.Descriptor) (*oci.Manifest, error) {
	f, fi, err := disk.OpenRegular(root, blobPath(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, oci.Errorf(oci.ErrNotFound, "%s has no manifest %s", l.place, d.Digest)
	}
	if err != nil {
		return nil, oci.Wrap("", l.place.String(), err)
	}
	defer f.Close()
	if sized(d) && d.Size != fi.Size() {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s: %s has %d bytes, want %d", l.place, blobPath(d.Digest), fi.Size(), d.Size)
	}
	if d.Size = fi.Size(); d.Size > oci.MaxManifest {
		return nil, oci.Errorf(oci.ErrInvalid, "%s has %d bytes, more than a manifest may have", d.Digest, d.Size)
	}
	raw, err := io.ReadAll(oci.Verify(f, d))
	if err != nil {
		return nil, oci.Wrap("", fmt.Sprintf("%s: %s", l.place, blobPath(d.Digest)), err)
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return nil, oci.Wrap("", string(d.Digest), err)
	}
	m.Descriptor.Digest = d.Digest
	return m, nil
}

// checkName refuses names that could not be found again or not be printed.
func (l *Dir) checkName(name string) error {
	_, digest := oci.ParseDigest(name)
	switch {
	case name == "" || len(name) > 1024 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }):
		return oci.Errorf(oci.ErrInvalid, "name %s: want a tag or a reference", oci.Quote(name))
	case digest == nil:
		return oci.Errorf(oci.ErrInvalid, "name %s is a digest", oci.Quote(name))
	case l.tree != nil && !oci.IsTag(name):
		return oci.Errorf(oci.ErrInvalid, "name %s is not a tag", oci.Quote(name))
	}
	return nil
}

// Untag implements oci.Untagger: the entry stays in index.json without the
// name, unless the manifest has another one.
func (l *Dir) Untag(ctx context.Context, name string) error {
	return l.edit(ctx, func(_ *os.Root, x *index) error {
		d, err := x.resolve(name)
		if err != nil {
			return oci.Wrap("", l.place.String(), err)
		}
		found := map[string]bool{}
		for _, e := range x.lookup(name) {
			found[string(e.raw)] = e.d.Digest == d.Digest
		}
		return x.untag(func(e *entry) bool { return found[string(e.raw)] })
	})
}

// untag takes the names from the entries chosen. An entry goes if there is
// another one of its manifest.
func (x *index) untag(chosen func(*entry) bool) error {
	uses := map[oci.Digest]int{}
	for i := range x.entries {
		uses[x.entries[i].d.Digest]++
	}
	x.remove(func(e *entry) bool {
		if uses[e.d.Digest] == 1 || !chosen(e) {
			return false
		}
		uses[e.d.Digest]--
		return true
	})
	for i := range x.entries {
		if chosen(&x.entries[i]) {
			if err := x.rename(i, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// edit changes index.json of a layout that must be there.
func (l *Dir) edit(ctx context.Context, edit func(*os.Root, *index) error) error {
	if l.o.ReadOnly {
		return oci.Errorf(oci.ErrDenied, "%s is open for reading only", l.place)
	}
	root, err := l.reading(ctx)
	if err != nil {
		return err
	}
	defer root.Close()
	return l.change(ctx, root, edit)
}

// Delete implements oci.Deleter: the entries of d and its file. What a manifest
// led to stays until GC.
func (l *Dir) Delete(ctx context.Context, d oci.Descriptor) error {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	return l.edit(ctx, func(root *os.Root, x *index) error {
		_, err := root.Lstat(blobPath(d.Digest))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		gone := x.remove(func(e *entry) bool { return e.d.Digest == d.Digest })
		if err != nil && gone == 0 {
			return oci.Errorf(oci.ErrNotFound, "%s has no %s", l.place, d.Digest)
		}
		if err := l.save(root, x); err != nil { // first: an entry must not outlive its manifest
			return err
		}
		l.known.drop(d.Digest)
		return ignore(root.Remove(blobPath(d.Digest)), fs.ErrNotExist)
	})
}
