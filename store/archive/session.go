// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/dray-tools/dray/oci"
)

// A session is what was put since the last Commit. Members are appended by one
// at a time; what is there can be read meanwhile.
type session struct {
	mu        sync.Mutex // guards the fields, not the file
	blobs     map[oci.Digest]span
	order     []oci.Digest
	manifests map[oci.Digest]*oci.Manifest
	kept      map[oci.Digest][]byte // manifests, and configs of a stream
	put       []oci.Descriptor      // manifests, in order
	names     []naming

	part   *part     // where a file is written; nil until then
	out    io.Writer // of a stream
	end    int64     // of what is good
	broken error     // why a stream cannot go on
}

// A span is where the bytes of a blob are in the part.
type span struct{ off, size int64 }

// A naming makes a manifest an image of the archive, with or without a name.
type naming struct {
	name string
	d    oci.Descriptor
	old  oci.Digest // what the name must mean until then; "": anything
}

func newSession() *session {
	return &session{blobs: map[oci.Digest]span{}, manifests: map[oci.Digest]*oci.Manifest{}, kept: map[oci.Digest][]byte{}}
}

// empty reports that nothing is to be seen of the session.
func (s *session) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blobs) == 0 && len(s.names) == 0
}

func (s *session) size(d oci.Digest) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.blobs[d]
	return at.size, ok
}

// find gives the bytes of a blob that was put.
func (s *session) find(d oci.Digest) (*io.SectionReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.blobs[d]
	switch kept := s.kept[d]; {
	case !ok:
		return nil, notHere(d)
	case kept != nil:
		return section(kept), nil
	case s.part == nil:
		return nil, oci.Errorf(oci.ErrUnsupported, "%s has gone into the stream already", d)
	}
	return io.NewSectionReader(s.part.f, at.off, at.size), nil
}

func (s *session) manifest(d oci.Digest) *oci.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifests[d]
}

func (s *session) manifestList() []oci.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]oci.Descriptor(nil), s.put...)
}

func (s *session) namings() []naming {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]naming(nil), s.names...)
}

// note remembers a blob that was appended.
func (s *session) note(d oci.Descriptor, off int64, m *oci.Manifest, kept []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d.Digest] = span{off, d.Size}
	s.order = append(s.order, d.Digest)
	if kept != nil {
		s.kept[d.Digest] = kept
	}
	if m != nil {
		s.manifests[d.Digest] = m
		s.put = append(s.put, m.Descriptor)
	}
}

// noteManifest remembers that a blob of the session is a manifest as well.
func (s *session) noteManifest(m *oci.Manifest, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := m.Descriptor.Digest
	if s.manifests[d] == nil {
		s.put = append(s.put, m.Descriptor)
	}
	s.kept[d], s.manifests[d] = raw, m
}

// small is the size up to which a member is gathered in memory and written at
// once, so that a small blob that turns out wrong does not break a stream.
const small = 1 << 20

// append writes a member of exactly size bytes behind the others and returns
// where its bytes begin. If it fails a file is as it was, a stream broken.
func (s *session) append(ctx context.Context, name string, size int64, r io.Reader) (off int64, err error) {
	if s.broken != nil {
		return 0, s.broken
	}
	head, err := header(name, size)
	if err != nil {
		return 0, err
	}
	off = s.end + int64(len(head))
	total := int64(len(head)) + size + padding(size)
	if size <= small {
		var all bytes.Buffer
		all.Write(head)
		if _, err := copyTo(ctx, &all, r); err != nil {
			return 0, err
		}
		head, r = all.Bytes(), bytes.NewReader(nil)
	}
	w := s.out
	if s.part != nil {
		w = io.NewOffsetWriter(s.part.f, s.end)
	}
	tail := bytes.NewReader(make([]byte, padding(size)))
	n, err := copyTo(ctx, w, io.MultiReader(bytes.NewReader(head), r, tail))
	if err == nil && n != total {
		err = oci.Errorf(oci.ErrCorrupt, "%s has other than %d bytes", name, size)
	}
	if err != nil {
		if s.part == nil {
			s.broken = oci.Errorf(oci.ErrInvalid, "the stream ends in the middle of %s: %w", name, err)
		} else {
			_ = s.part.f.Truncate(s.end) // makes room where a disk is full
		}
		return 0, err
	}
	s.end += total
	return off, nil
}

// header is that of a member: the same for everyone at any time.
func header(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, ModTime: time.Unix(0, 0)})
	return b.Bytes(), err
}

func padding(size int64) int64 { return -size & 511 }
