// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/dray-tools/dray/oci"
)

// view is what the archive holds, with what is to be committed.
func (a *Archive) view(ctx context.Context) (*contents, []*entry, error) {
	c, err := a.contents(ctx)
	if err != nil {
		return nil, nil, err
	}
	list, err := a.merge(ctx, c)
	return c, list, err
}

// Resolve implements oci.Source. The name is looked for as it stands; in a
// Docker archive also in its full form, so that busybox finds
// docker.io/library/busybox:latest. "" means the only image, "@N" the image
// with that number, from 0, and a digest any manifest in the archive.
// ErrInvalid if several images could be meant; the error lists them.
func (a *Archive) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	d, err := a.resolve(ctx, name)
	return d, oci.Wrap("", a.place, err)
}

func (a *Archive) resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	c, list, err := a.view(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if c.empty() && len(list) == 0 && a.pending.empty() {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "no such archive")
	}
	d := oci.Descriptor{}
	if d.Digest, err = oci.ParseDigest(name); err != nil {
		if d, err = a.choose(ctx, c, list, name); err != nil {
			return oci.Descriptor{}, err
		}
		if _, err := a.stat(ctx, d); err != nil {
			if errors.Is(err, oci.ErrNotFound) {
				err = oci.Errorf(oci.ErrNotFound, "%w: it names %s, which is not there or has another size", oci.ErrCorrupt, d.Digest)
			}
			return oci.Descriptor{}, err
		}
		if d.MediaType != "" {
			return bare(d), nil
		}
	}
	for _, e := range list {
		if e.image == nil && e.err == nil && e.d.Digest == d.Digest && d.MediaType == "" {
			d.MediaType = e.d.MediaType
		}
	}
	m, err := a.manifest(ctx, c, d)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return oci.Descriptor{MediaType: m.Descriptor.MediaType, Digest: d.Digest, Size: m.Descriptor.Size, ArtifactType: m.ArtifactType}, nil
}

// bare leaves of a descriptor what belongs to the manifest itself.
func bare(d oci.Descriptor) oci.Descriptor {
	return oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
}

// Stat implements oci.Source. Bytes of another length than d says are not the
// blob: ErrNotFound. Of a stream that is written it tells what went into it.
func (a *Archive) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return oci.Descriptor{}, err
	}
	d, err := a.stat(ctx, d)
	return d, oci.Wrap("", a.place, err)
}

func (a *Archive) stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	c, err := a.contents(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if a.omitted(d) {
		return d, nil
	}
	size, pending := a.pending.size(d.Digest)
	if !pending {
		r, err := c.find(ctx, d.Digest)
		if err != nil {
			return oci.Descriptor{}, err
		}
		size = r.Size()
	}
	if sized(d) && size != d.Size {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "no whole blob %s: it has %d of %d bytes", d.Digest, size, d.Size)
	}
	d.Size = size
	return d, nil
}

func (a *Archive) omitted(d oci.Descriptor) bool {
	return a.o.Omit != nil && !oci.IsManifest(d.MediaType) && a.o.Omit(d.Digest)
}

// Open implements oci.Source. ErrUnsupported for what has gone into a stream
// already.
func (a *Archive) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	r, err := a.at(ctx, d)
	if err != nil {
		return nil, oci.Wrap("", a.place, err)
	}
	d.Size = r.Size()
	return oci.Verify(io.NopCloser(r), d), nil
}

// OpenRange implements oci.Ranger.
func (a *Archive) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	r, err := a.at(ctx, d)
	if err != nil {
		return nil, oci.Wrap("", a.place, err)
	}
	return io.NopCloser(oci.Section(r, r.Size(), offset, length)), nil
}

// at is where the bytes of a blob are; ErrCorrupt if they are not as many as d
// says.
func (a *Archive) at(ctx context.Context, d oci.Descriptor) (*io.SectionReader, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return nil, err
	}
	c, err := a.contents(ctx)
	if err != nil {
		return nil, err
	}
	r, err := a.pending.find(d.Digest)
	if errors.Is(err, oci.ErrNotFound) {
		r, err = c.find(ctx, d.Digest)
	}
	if err != nil {
		return nil, err
	}
	if sized(d) && r.Size() != d.Size {
		return nil, wrongSize(d, r.Size())
	}
	return again(r), nil
}

// Tags implements oci.Lister: all names. Those of a Docker archive are written
// as Docker does: busybox:1.
func (a *Archive) Tags(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		c, list, err := a.view(ctx)
		if err == nil && c.empty() && a.pending.empty() {
			err = oci.Errorf(oci.ErrNotFound, "no such archive")
		}
		if err != nil {
			yield("", oci.Wrap("", a.place, err))
			return
		}
		for _, n := range a.sortedNames(list) {
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

// Referrers implements oci.Referrer: manifests of index.json, or to be put
// there, whose subject is d.
func (a *Archive) Referrers(ctx context.Context, d oci.Descriptor, artifactType string) iter.Seq2[oci.Descriptor, error] {
	return func(yield func(oci.Descriptor, error) bool) {
		c, list, err := a.view(ctx)
		if err != nil {
			yield(oci.Descriptor{}, oci.Wrap("", a.place, err))
			return
		}
		var all []oci.Descriptor
		for _, e := range list {
			if e.image == nil && e.err == nil && oci.IsManifest(e.d.MediaType) {
				all = append(all, e.d)
			}
		}
		all = append(all, a.pending.manifestList()...)
		seen := map[oci.Digest]bool{}
		for _, x := range all {
			if seen[x.Digest] || a.subject(ctx, c, x) != d.Digest {
				continue
			}
			m, err := a.manifest(ctx, c, x)
			if err != nil {
				continue
			}
			seen[x.Digest] = true
			out := bare(m.Descriptor)
			if out.ArtifactType, out.Annotations = m.ArtifactType, m.Annotations; out.ArtifactType == "" && m.Config != nil {
				out.ArtifactType = m.Config.MediaType
			}
			if artifactType != "" && out.ArtifactType != artifactType {
				continue
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}

// Rooted implements oci.Rooter: d is in index.json by itself.
func (a *Archive) Rooted(ctx context.Context, d oci.Descriptor) (bool, error) {
	_, list, err := a.view(ctx)
	return err == nil && slices.ContainsFunc(list, func(e *entry) bool { return e.image == nil && e.d.Digest == d.Digest }), oci.Wrap("", a.place, err)
}

// Replaced implements oci.Replacer: the only image without a name.
func (a *Archive) Replaced(ctx context.Context, d oci.Descriptor) (old oci.Descriptor, ok bool) {
	c, list, err := a.view(ctx)
	if err != nil {
		return old, false
	}
	unnamed := 0
	for _, e := range list {
		if e.name == "" && !a.isReferrer(ctx, c, e) {
			old = e.d
			unnamed++
		}
	}
	return old, unnamed == 1 && old.Digest != "" && old.Digest != d.Digest
}
