// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// Commit implements oci.Committer: the image that was put replaces the
// directory in one step, which survives a power cut. The root is the manifest
// that was published, without those below it; ErrInvalid if there are two. What
// was only put is dropped: if nothing was published the directory stays as it
// is. ErrNotFound if a config or layer is missing.
func (d *Dir) Commit(ctx context.Context) error {
	s := d.stagedNow()
	if s == nil {
		return nil
	}
	d.mu.Lock()
	published := len(d.roots) > 0
	d.mu.Unlock()
	if !published {
		return d.Abort()
	}
	if err := d.commit(ctx, s); err != nil {
		return oci.Wrap("write", d.path, err)
	}
	_ = d.Abort() // what remains is the old image
	return nil
}

// Abort implements oci.Committer. What was put is removed.
func (d *Dir) Abort() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stage
	d.reset()
	if s == nil {
		return nil
	}
	return oci.Wrap("clean up", d.path, s.end())
}

func (d *Dir) commit(ctx context.Context, s *stage) error {
	root, err := d.theRoot()
	if err != nil {
		return err
	}
	c := &commit{d: d, s: s, wanted: map[string]bool{}, seen: map[oci.Digest]bool{}}
	m, err := c.manifest(ctx, oci.Descriptor{MediaType: oci.MediaManifest, Digest: root}, 0)
	if err != nil {
		return err
	}
	delete(c.wanted, manifestName(root))
	version := plainVersion
	for name := range c.wanted {
		if strings.Contains(name, "-") {
			version = longVersion
		}
	}
	if err := c.write(manifestFile, m.Raw); err != nil {
		return err
	}
	if err := c.write(versionFile, []byte(version)); err != nil {
		return err
	}
	if err := c.old(root); err != nil {
		return err
	}
	if err := c.clean(); err != nil {
		return err
	}
	if err := disk.SyncDir(s.root, s.in("")); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.swap(); err != nil {
		return err
	}
	return disk.SyncDir(s.root, ".")
}

// A commit gathers what the next image consists of.
type commit struct {
	d      *Dir
	s      *stage
	wanted map[string]bool
	seen   map[oci.Digest]bool
}

// manifest takes in a manifest and what is below it. fs.ErrNotExist if it is
// nowhere.
func (c *commit) manifest(ctx context.Context, desc oci.Descriptor, depth int) (*oci.Manifest, error) {
	if depth > oci.MaxDepth || len(c.seen) > oci.MaxNodes {
		return nil, oci.Errorf(oci.ErrInvalid, "%s is nested more than %d deep, or has more than %d manifests and blobs", desc.Digest, oci.MaxDepth, oci.MaxNodes)
	}
	m, err := c.d.load(ctx, desc)
	if err != nil {
		return nil, err
	}
	if err := c.take(ctx, m.Descriptor); err != nil {
		return nil, err
	}
	c.seen[desc.Digest] = true
	for _, child := range m.Children() {
		manifest := oci.IsManifest(child.MediaType)
		if manifest && c.seen[child.Digest] {
			continue
		}
		if manifest {
			_, err = c.manifest(ctx, child, depth+1)
		} else {
			err = c.take(ctx, child)
		}
		optional := m.IsIndex() || oci.IsForeign(child) // an index may be sparse (image-spec, image-index.md)
		if err != nil && !(optional && errors.Is(err, oci.ErrNotFound) && !c.has(child)) {
			return nil, err
		}
	}
	return m, nil
}

// has reports whether something of an optional child is there: then all of it
// must be.
func (c *commit) has(child oci.Descriptor) bool { return c.wanted[names(child)[0]] }

// take takes in one file.
func (c *commit) take(ctx context.Context, desc oci.Descriptor) error {
	name := names(desc)[0]
	ok := false
	err := c.d.alone(ctx, name, func() (err error) {
		ok, err = c.d.have(ctx, c.s, desc)
		return err
	})
	if err == nil && !ok {
		err = oci.Errorf(oci.ErrNotFound, "%s is not there", desc.Digest)
	}
	if err == nil {
		c.wanted[name] = true
	}
	return err
}

// write makes a small file of the next image.
func (c *commit) write(name string, content []byte) error {
	temp := c.s.part + "/" + name + ".part"
	if err := c.s.root.RemoveAll(temp); err != nil {
		return err
	}
	f, err := c.s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = c.s.root.Rename(temp, c.s.in(name))
	}
	c.wanted[name] = true
	return err
}

// old checks that the directory may be replaced still, and carries over what
// stays: the permissions, and the signatures of manifests that stay.
func (c *commit) old(root oci.Digest) error {
	dir, err := c.d.open(context.Background())
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := replaceable(dir); err != nil {
		return err
	}
	same := false
	if m, err := c.d.rootOf(dir); err == nil {
		same = m.Descriptor.Digest == root || root.Algorithm().FromBytes(m.Raw) == root
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		owner, _, signed := strings.Cut(e.Name(), signature)
		if !signed || owner == "" && !same || owner != "" && !c.wanted[owner+manifestFile] {
			continue
		}
		if err := c.keep(dir, e.Name()); err != nil {
			return err
		}
	}
	fi, err := dir.Stat(".")
	if err != nil {
		return err
	}
	return c.s.root.Chmod(c.s.in(""), fi.Mode().Perm())
}

// maxSignature bounds the signatures that are carried over.
const maxSignature = 4 << 20

func (c *commit) keep(dir *os.Root, name string) error {
	raw, err := disk.ReadFile(dir, name, maxSignature)
	if err != nil {
		return err
	}
	return c.write(name, raw)
}

// clean removes what killed runs left and this image does not have.
func (c *commit) clean() error {
	entries, err := fs.ReadDir(c.s.root.FS(), c.s.part+"/"+newDir)
	for _, e := range entries {
		if err == nil && !c.wanted[e.Name()] {
			err = c.s.root.RemoveAll(c.s.in(e.Name()))
		}
	}
	return err
}

// swap puts the next image in place of the present one.
func (s *stage) swap() error {
	from := s.part + "/" + newDir
	if _, err := s.root.Lstat(s.base); errors.Is(err, fs.ErrNotExist) {
		return s.root.Rename(from, s.base)
	}
	err := exchange(s.root, from, s.base)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	old := s.part + "/" + oldDir
	if err := s.root.Rename(s.base, old); err != nil {
		return err
	}
	if err = s.root.Rename(from, s.base); err != nil {
		return errors.Join(err, s.root.Rename(old, s.base))
	}
	return nil
}
