// SPDX-License-Identifier: Apache-2.0

package mem

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/dray-tools/dray/oci"
)

type repository struct {
	c    *Catalog
	name string
}

var _ interface {
	oci.Store
	oci.Lister
	oci.Referrer
	oci.Deleter
	oci.Untagger
	oci.Ranger
	oci.Publisher
	oci.Locator
} = (*repository)(nil)

// Locate implements oci.Locator.
func (r *repository) Locate() (host, name string) { return r.c.host, r.name }

// Resolve implements oci.Source.
func (r *repository) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return oci.Descriptor{}, err
	}
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	have := r.c.repos[r.name]
	if have == nil {
		return oci.Descriptor{}, r.missing(name)
	}
	d, tagged := have.tags[name]
	if !tagged {
		d = oci.Digest(name)
	}
	m, ok := have.manifests[d]
	if !ok {
		return oci.Descriptor{}, r.missing(name)
	}
	return m.Descriptor, nil
}

// Stat implements oci.Source and oci.Sink.
func (r *repository) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return d, err
	}
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	have, ok := r.c.repos[r.name].find(d)
	if !ok {
		return d, r.missing(string(d.Digest))
	}
	d.Size = have.Size
	if d.MediaType == "" {
		d.MediaType = have.MediaType
	}
	return d, nil
}

// bytes returns the content of d.
func (r *repository) bytes(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	if _, ok := r.c.repos[r.name].find(d); !ok {
		return nil, r.missing(string(d.Digest))
	}
	return r.c.blobs[d.Digest].raw, nil
}

// Open implements oci.Source.
func (r *repository) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	raw, err := r.bytes(ctx, d)
	if err != nil {
		return nil, err
	}
	// The bytes were checked when they came: only the size can be wrong.
	if d.Size != int64(len(raw)) {
		return nil, oci.Errorf(oci.ErrCorrupt, "%s has %d bytes, not %d", d.Digest, len(raw), d.Size)
	}
	return &reader{ctx, bytes.NewReader(raw)}, nil
}

// OpenRange implements oci.Ranger.
func (r *repository) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	raw, err := r.bytes(ctx, d)
	if err != nil {
		return nil, err
	}
	return &reader{ctx, oci.Section(bytes.NewReader(raw), int64(len(raw)), offset, length)}, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *reader) Close() error { return nil }

// Put implements oci.Sink. A manifest is refused with ErrNotFound if its
// config or a layer is missing, unless that is meant to be fetched from
// elsewhere or Catalog.Sparse; children of an index may be missing.
func (r *repository) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	d := b.Descriptor()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := oci.CheckDescriptor(d); err != nil {
		return 0, err
	}
	if _, err := r.Stat(ctx, d); err == nil {
		return oci.Existed, nil
	}
	if !oci.IsManifest(d.MediaType) && r.mount(d, from) {
		return oci.Mounted, nil
	}
	raw, err := read(ctx, b)
	if err != nil {
		return 0, err
	}
	if !oci.IsManifest(d.MediaType) {
		r.putBlob(d, raw)
		return oci.Sent, nil
	}
	return oci.Sent, r.putManifest(d, raw)
}

// read reads a blob whole and checks it.
func read(ctx context.Context, b oci.Blob) ([]byte, error) {
	rc, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer // grows as bytes arrive: the size is a claim
	buf.Grow(int(min(b.Descriptor().Size, 1<<20)) + bytes.MinRead)
	_, err = io.Copy(&buf, &reader{ctx, oci.Verify(rc, b.Descriptor())})
	if err = errors.Join(err, rc.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), ctx.Err()
}

// mount takes a blob over from one of the repositories, if it is there.
func (r *repository) mount(d oci.Descriptor, from []string) bool {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, name := range from {
		if other := r.c.repos[name]; other != nil && other.blobs[d.Digest].Digest != "" && other.blobs[d.Digest].Size == d.Size {
			r.addBlob(d, nil)
			return true
		}
	}
	return false
}

func (r *repository) putBlob(d oci.Descriptor, raw []byte) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.addBlob(d, raw)
}

// addBlob runs under the lock.
func (r *repository) addBlob(d oci.Descriptor, raw []byte) {
	have := r.c.repository(r.name)
	if _, ok := have.blobs[d.Digest]; !ok {
		r.c.keep(d.Digest, raw)
		have.blobs[d.Digest] = oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	}
}

func (r *repository) putManifest(d oci.Descriptor, raw []byte) error {
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return err
	}
	m.Descriptor = oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	have := r.c.repos[r.name]
	if !m.IsIndex() && !r.c.Sparse {
		for _, child := range m.Children() {
			if !have.hasBlob(child.Digest) && !oci.IsForeign(child) && len(child.URLs) == 0 {
				return oci.Wrap("put manifest", string(d.Digest), r.missing(string(child.Digest)))
			}
		}
	}
	have = r.c.repository(r.name)
	if _, ok := have.manifests[d.Digest]; !ok {
		m.Raw = r.c.keep(d.Digest, raw)
		have.manifests[d.Digest] = m
	}
	return nil
}

// Tag implements oci.Sink. ErrInvalid if the name is not a tag of the
// distribution-spec.
func (r *repository) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !oci.IsTag(name) {
		return oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(name))
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	have := r.c.repos[r.name]
	if have == nil || have.manifests[d.Digest] == nil {
		return r.missing(string(d.Digest))
	}
	have.tags[name] = d.Digest
	return nil
}

// Publish implements oci.Publisher.
func (r *repository) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	for _, name := range names {
		if !oci.IsTag(name) {
			return oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(name))
		}
	}
	if _, err := r.Put(ctx, manifest); err != nil {
		return err
	}
	for _, name := range names {
		if err := r.Tag(ctx, name, manifest.Descriptor()); err != nil {
			return err
		}
	}
	return nil
}

// Tags implements oci.Lister.
func (r *repository) Tags(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r.c.mu.RLock()
		have := r.c.repos[r.name]
		if have == nil {
			r.c.mu.RUnlock()
			yield("", cmp.Or(ctx.Err(), r.missing("")))
			return
		}
		names := have.names()
		r.c.mu.RUnlock()
		yieldAll(ctx, names, yield)
	}
}

// Referrers implements oci.Referrer, in the order of digests.
func (r *repository) Referrers(ctx context.Context, d oci.Descriptor, artifactType string) iter.Seq2[oci.Descriptor, error] {
	return func(yield func(oci.Descriptor, error) bool) {
		var found []oci.Descriptor
		r.c.mu.RLock()
		if have := r.c.repos[r.name]; have != nil {
			for _, m := range have.manifests {
				if m.Subject == nil || m.Subject.Digest != d.Digest {
					continue
				}
				if ref := referrer(m); artifactType == "" || artifactType == ref.ArtifactType {
					found = append(found, ref)
				}
			}
		}
		r.c.mu.RUnlock()
		slices.SortFunc(found, func(a, b oci.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
		yieldAll(ctx, found, yield)
	}
}

// referrer describes a manifest as the referrers API does (distribution-spec,
// "Listing Referrers").
func referrer(m *oci.Manifest) oci.Descriptor {
	d := m.Descriptor
	d.ArtifactType, d.Annotations = m.ArtifactType, maps.Clone(m.Annotations)
	if d.ArtifactType == "" && m.Config != nil {
		d.ArtifactType = m.Config.MediaType
	}
	return d
}

// Delete implements oci.Deleter. Without a media type it takes a manifest if
// there is one, else a blob.
func (r *repository) Delete(ctx context.Context, d oci.Descriptor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	have := r.c.repos[r.name]
	found, ok := have.find(d)
	if !ok {
		return r.missing(string(d.Digest))
	}
	if _, ok := have.manifests[d.Digest]; ok && oci.IsManifest(found.MediaType) {
		delete(have.manifests, d.Digest)
		maps.DeleteFunc(have.tags, func(_ string, to oci.Digest) bool { return to == d.Digest })
	} else {
		delete(have.blobs, d.Digest)
	}
	r.c.drop(d.Digest)
	return nil
}

// Untag implements oci.Untagger.
func (r *repository) Untag(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	have := r.c.repos[r.name]
	if have == nil {
		return r.missing(name)
	}
	if _, ok := have.tags[name]; !ok {
		return r.missing(name)
	}
	delete(have.tags, name)
	return nil
}

// missing is the error for what is not there.
func (r *repository) missing(what string) error {
	if what == "" {
		return oci.Errorf(oci.ErrNotFound, "repository %s: not found", r.name)
	}
	return oci.Errorf(oci.ErrNotFound, "%s: not found in %s", printable(what), r.name)
}

// printable shows names and digests as they are and escapes anything else.
func printable(s string) string {
	if oci.IsTag(s) {
		return s
	}
	if _, err := oci.ParseDigest(s); err == nil {
		return s
	}
	return oci.Quote(s)
}
