// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// InOrder implements oci.Sequencer: the bytes of an archive follow the order of
// the Puts.
func (a *Archive) InOrder() bool { return a.o.Write }

// Admit implements oci.Admitter. A Docker archive holds images whose layers old
// engines can unpack: no index, no artifact, no zstd.
func (a *Archive) Admit(_ context.Context, m *oci.Manifest, _ oci.Source) error {
	if a.o.Kind != Docker {
		return nil
	}
	switch {
	case m.IsIndex():
		return oci.Errorf(oci.ErrUnsupported, "a Docker archive cannot hold an index: choose one platform with --platform, or write oci-archive:, which holds indexes")
	case m.Config == nil || !oci.IsConfig(m.Config.MediaType):
		return oci.Errorf(oci.ErrUnsupported, "a Docker archive holds images only: write this artifact to oci-archive:")
	}
	for _, d := range m.Layers {
		switch {
		case strings.HasSuffix(d.MediaType, "zstd"):
			return oci.Errorf(oci.ErrUnsupported, "layer %s is packed with zstd, which many Docker engines cannot load: convert it with --compress gzip", d.Digest)
		case !oci.IsLayer(d.MediaType):
			return oci.Errorf(oci.ErrUnsupported, "layer %s is %s, which Docker cannot load", d.Digest, oci.Quote(d.MediaType))
		}
	}
	return nil
}

func (a *Archive) writable() error {
	if !a.o.Write {
		return oci.Errorf(oci.ErrDenied, "%s is open for reading only", a.place)
	}
	return nil
}

// Put implements oci.Sink. The blob is read once and written once: to the part
// beside the archive, or to the stream. What is missing below a manifest is
// found by Commit.
func (a *Archive) Put(ctx context.Context, b oci.Blob, _ ...string) (oci.How, error) {
	how, err := a.store(ctx, b)
	return how, oci.Wrap("", a.place, err)
}

func (a *Archive) store(ctx context.Context, b oci.Blob) (oci.How, error) {
	d := b.Descriptor()
	if err := errors.Join(a.writable(), oci.CheckDescriptor(d)); err != nil {
		return 0, err
	}
	if how, err := a.existed(ctx, d); how || err != nil {
		return oci.Existed, errors.Join(err, a.adopt(ctx, b))
	}
	release, err := a.writing.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if how, err := a.existed(ctx, d); how || err != nil { // another Put was faster
		return oci.Existed, errors.Join(err, a.adopt(ctx, b))
	}
	if err := a.begin(ctx); err != nil {
		return 0, err
	}
	defer a.watch(ctx)()
	return oci.Sent, a.append(ctx, b)
}

// adopt makes a manifest of what was put as a blob in this session.
func (a *Archive) adopt(ctx context.Context, b oci.Blob) error {
	d := b.Descriptor()
	if _, put := a.pending.size(d.Digest); !put || !oci.IsManifest(d.MediaType) || a.put(d.Digest) != nil {
		return nil
	}
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	m, raw, err := a.readManifest(ctx, d, oci.Verify(rc, d))
	if err == nil {
		a.pending.noteManifest(m, raw)
	}
	return err
}

// readManifest reads and checks a manifest that is put.
func (a *Archive) readManifest(ctx context.Context, d oci.Descriptor, r io.Reader) (*oci.Manifest, []byte, error) {
	if d.Size > oci.MaxManifest {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "%s has %d bytes, more than a manifest may have", d.Digest, d.Size)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, err
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return nil, nil, oci.Wrap("", string(d.Digest), err)
	}
	m.Descriptor.Digest = d.Digest
	return m, raw, a.Admit(ctx, m, nil)
}

func (a *Archive) existed(ctx context.Context, d oci.Descriptor) (bool, error) {
	_, err := a.stat(ctx, d)
	if errors.Is(err, oci.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// begin makes the part that a file is written to.
func (a *Archive) begin(ctx context.Context) error {
	if err := a.openPipe(ctx); err != nil {
		return err
	}
	s := a.pending
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.file == "" {
		s.out = a.out
		return nil
	}
	if s.part != nil {
		return nil
	}
	p, err := newPart(a.file)
	if err == nil {
		s.part = p
	}
	return err
}

// append writes a blob behind the others. A manifest has to be one.
func (a *Archive) append(ctx context.Context, b oci.Blob) error {
	d := b.Descriptor()
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	var m *oci.Manifest
	var kept []byte
	r := io.Reader(oci.Verify(rc, d))
	switch {
	case oci.IsManifest(d.MediaType):
		if m, kept, err = a.readManifest(ctx, d, r); err != nil {
			return err
		}
		r = section(kept)
	case a.file == "" && oci.IsConfig(d.MediaType) && d.Size <= oci.MaxConfig: // asked for at the end
		if kept, err = io.ReadAll(r); err != nil {
			return err
		}
		r = section(kept)
	}
	off, err := a.pending.append(ctx, blobName(d.Digest), d.Size, r)
	if err == nil {
		a.pending.note(d, off, m, kept)
	}
	return err
}

// Tag implements oci.Sink. The name of a Docker archive is NAME:TAG as Docker
// reads it; without a tag it is latest. That of an OCI archive can be anything
// that can be printed. ErrInvalid if it cannot be a name.
func (a *Archive) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	full, err := a.newName(name)
	if err == nil {
		err = a.name(ctx, full, d, "")
	}
	return oci.Wrap("", a.place, err)
}

func (a *Archive) name(ctx context.Context, name string, d oci.Descriptor, old oci.Digest) error {
	if err := errors.Join(a.writable(), oci.CheckDescriptor(d)); err != nil {
		return err
	}
	release, err := a.writing.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := a.contents(ctx)
	if err != nil {
		return err
	}
	m, err := a.manifest(ctx, c, d)
	if err != nil {
		return err
	}
	if err := a.Admit(ctx, m, nil); err != nil {
		return err
	}
	d = bare(m.Descriptor)
	d.ArtifactType = m.ArtifactType
	s := a.pending
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, naming{name, d, old})
	return nil
}

// Publish implements oci.Publisher. Without names the manifest becomes an image
// without a name, in place of the one that was there before the session.
func (a *Archive) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	if _, err := a.Put(ctx, manifest); err != nil {
		return err
	}
	d := manifest.Descriptor()
	for _, n := range names {
		if err := a.Tag(ctx, n, d); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		return nil
	}
	return oci.Wrap("", a.place, a.name(ctx, "", d, ""))
}

// Move implements oci.Mover: Commit looks at what the name means, under the lock
// of the archive.
func (a *Archive) Move(ctx context.Context, manifest oci.Blob, name string, old oci.Digest) error {
	full, err := a.newName(name)
	if err != nil {
		return oci.Wrap("", a.place, err)
	}
	if _, err := a.Put(ctx, manifest); err != nil {
		return err
	}
	return oci.Wrap("", a.place, a.name(ctx, full, manifest.Descriptor(), old))
}

// moved is ErrBusy if a name of the session that is to replace something means
// something else by now.
func (a *Archive) moved(ctx context.Context, c *contents) error {
	for _, n := range a.pending.namings() {
		if n.old == "" {
			continue
		}
		now, err := a.choose(ctx, c, c.entries, n.name)
		if err != nil && !errors.Is(err, oci.ErrNotFound) {
			return err
		}
		if now.Digest != n.old && now.Digest != n.d.Digest {
			return oci.Moved(now.Digest)
		}
	}
	return nil
}

// Abort implements oci.Committer: it drops what was put, and the part. A stream
// stays without an end, so that nobody takes it for whole.
func (a *Archive) Abort() error {
	release, _ := a.writing.take(context.Background())
	defer release()
	return a.reset(oci.Errorf(oci.ErrInvalid, "the stream was given up"))
}

// reset begins a new session; a stream has only one.
func (a *Archive) reset(ended error) error {
	s := a.pending
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part
	if a.file == "" {
		s.broken = ended
	}
	s.blobs, s.manifests, s.kept = map[oci.Digest]span{}, map[oci.Digest]*oci.Manifest{}, map[oci.Digest][]byte{}
	s.order, s.put, s.names, s.part, s.end = nil, nil, nil, nil, 0
	if p == nil {
		return nil
	}
	return p.drop()
}
