// SPDX-License-Identifier: Apache-2.0

// Package oci is dray's kernel: descriptors, digests, platforms, manifests
// kept byte for byte, the graph they form, the interfaces that every place for
// images implements, and the kinds of errors.
//
// Use [Source] to read one repository and [Sink] to write one; a [Store] is
// both. Anything a place can do beyond that is a small optional interface
// ([Lister], [Referrer], [Deleter], ...) that [As] finds, also through
// wrappers.
package oci

import (
	"context"
	"io"
	"iter"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The types of the OCI specifications, under the names that other Go
// libraries of the field use for them.
type (
	// Descriptor names a blob: media type, digest, size (OCI descriptor).
	Descriptor = v1.Descriptor
	// Digest is ALGORITHM:HEX.
	Digest = digest.Digest
	// Platform is an operating system and an architecture.
	Platform = v1.Platform
)

// A Blob is bytes with a known digest and size. It can be opened again and
// again, so every retry starts from here.
type Blob interface {
	// Descriptor tells the digest, the size in bytes and the media type.
	Descriptor() Descriptor
	// Open reads from the first byte. The caller closes the reader.
	Open(ctx context.Context) (io.ReadCloser, error)
}

// A Source reads one repository. It is safe for concurrent use.
type Source interface {
	// Resolve looks up a tag or a digest. ErrNotFound if there is none.
	// The result has media type, digest and size.
	Resolve(ctx context.Context, name string) (Descriptor, error)
	// Stat asks whether the content is there, and fills in its size.
	// ErrNotFound if it is not.
	Stat(ctx context.Context, d Descriptor) (Descriptor, error)
	// Open reads a blob or manifest from the start. What it yields is verified
	// against digest and size (Stat tells an unknown size):
	// after wrong bytes the reader returns ErrCorrupt, never io.EOF, and the
	// last bytes of the stream are not handed out before that is known. The
	// caller closes the reader.
	Open(ctx context.Context, d Descriptor) (io.ReadCloser, error)
}

// A Sink writes one repository. It keeps blobs whole or not at all, whoever
// else writes at the same time. It is safe for concurrent use.
type Sink interface {
	// Stat is as in Source.
	Stat(ctx context.Context, d Descriptor) (Descriptor, error)
	// Put stores a blob or a manifest ([IsManifest] of its media type tells
	// which) under its digest. It is a no-op if the content is there. from
	// names repositories of the same host that may have the blob, so that it
	// can be mounted instead of sent; stores that cannot mount ignore it.
	// A manifest's children must be there before it; stores may insist.
	// ErrCorrupt if the bytes do not match the descriptor.
	Put(ctx context.Context, b Blob, from ...string) (How, error)
	// Tag gives a name to a manifest that is there, replacing what the name
	// meant before. ErrNotFound if the manifest is not there.
	Tag(ctx context.Context, name string, d Descriptor) error
}

// A Store is one repository that can be read and written.
type Store interface {
	Source
	Sink
}

// A Catalog is many repositories behind one door: a registry, a tree of
// layouts, memory. It is what package serve serves.
type Catalog interface {
	// Repository opens a repository; it need not exist yet, it comes into
	// being with the first Put. ErrInvalid if the name cannot be one.
	Repository(ctx context.Context, name string) (Store, error)
	// Repositories lists the names that hold something, in byte order.
	Repositories(ctx context.Context) iter.Seq2[string, error]
}

// How tells what Put had to do.
type How int

// What Put did: nothing, a mount without moving bytes, or a transfer.
const (
	Existed How = iota
	Mounted
	Sent
)

func (h How) String() string {
	switch h {
	case Existed:
		return "existed"
	case Mounted:
		return "mounted"
	}
	return "sent"
}

// A Lister lists the tags of a repository in byte order, each once. A
// repository that does not exist yields ErrNotFound.
type Lister interface {
	Tags(ctx context.Context) iter.Seq2[string, error]
}

// A Referrer lists the manifests whose subject is d, newest API or fallback
// tag (distribution-spec, "Listing Referrers"). Descriptors carry artifactType
// and annotations. An empty artifactType lists all. No referrers is an empty
// list, not an error.
type Referrer interface {
	Referrers(ctx context.Context, d Descriptor, artifactType string) iter.Seq2[Descriptor, error]
}

// A Deleter removes content by digest; tags that point at it go with it.
// ErrNotFound if it is not there, ErrUnsupported if the place does not allow it.
type Deleter interface {
	Delete(ctx context.Context, d Descriptor) error
}

// An Untagger removes a tag and leaves the manifest. ErrNotFound if there is no
// such tag, ErrUnsupported if the place cannot do that.
type Untagger interface {
	Untag(ctx context.Context, name string) error
}

// A Ranger opens a blob in its middle: length bytes from offset, or to the end
// if length is negative. The bytes are NOT verified, because a part cannot
// be: the caller must hash the whole. ErrUnsupported if this blob has to be
// read from its start.
type Ranger interface {
	OpenRange(ctx context.Context, d Descriptor, offset, length int64) (io.ReadCloser, error)
}

// A RangeBlob is a Blob that can also be opened in its middle; see [Ranger].
type RangeBlob interface {
	Blob
	OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

// A Publisher stores a manifest and names it in one step, which saves a
// request for each name where a registry is behind it. Without names it is
// Put.
type Publisher interface {
	Publish(ctx context.Context, manifest Blob, names ...string) error
}

// A Mover is a store that gives a name to a manifest only if the name means what
// the caller believes it to. Move is Publish with one name; ErrBusy if by then it
// means neither old nor the manifest itself. Nothing comes between the look and
// the change, as far as the place can see to that.
type Mover interface {
	Move(ctx context.Context, manifest Blob, name string, old Digest) error
}

// A Rooter is a store that in time drops manifests which no name or root leads
// to. Rooted reports whether d is one of its names or roots by itself: that it
// is there does not say so. Publish without names makes it a root.
type Rooter interface {
	Rooted(ctx context.Context, d Descriptor) (bool, error)
}

// An Admitter is a store whose format cannot hold every graph, or that has to
// know an image before it can say what it has of it. Admit is called with each
// manifest that will be put, children first, before the store is asked for
// anything of it; from is where its config and blobs can be read.
// ErrUnsupported if the store cannot hold it; the error says what would help.
type Admitter interface {
	Admit(ctx context.Context, m *Manifest, from Source) error
}

// A Committer is a store that changes as a whole: what is published or tagged,
// with all that it leads to, becomes visible with Commit, in one step, and until
// then the place is as it was. What was only put goes, and a store that nothing
// was published in commits nothing. Abort drops all of it.
type Committer interface {
	Commit(ctx context.Context) error
	Abort() error
}

// A Sequencer is a store that writes a stream, whose bytes depend on the order
// of its Puts: it wants them one at a time, in the same order for the same
// content.
type Sequencer interface {
	InOrder() bool
}

// A Resumer is a sink that keeps half blobs: Left tells how many bytes of a blob
// an interrupted Put has left, so that the next one need not move them; 0 if
// none, or if it cannot be known.
type Resumer interface {
	Left(ctx context.Context, d Descriptor) int64
}

// A Replacer is a store in which what is published without a name takes the
// place of what has none: Replaced tells what d would push out, if anything.
type Replacer interface {
	Replaced(ctx context.Context, d Descriptor) (old Descriptor, ok bool)
}

// A Locator tells where a store is: stores of equal host share what they
// know and can mount from one another, repository is the name within it.
type Locator interface {
	Locate() (host, repository string)
}

// A Mirrored is a source that may be read elsewhere than Locate tells: what it has
// need not be there.
type Mirrored interface {
	Mirrored() bool
}

// A Composite is a source that is put together of others. Part tells which of
// them has the content; nil: none has, it was made here and is in no place yet.
type Composite interface {
	Part(d Digest) Source
}

// A Streamer is a sink that takes a blob while it is being made, whose digest
// and size nobody knows before its last byte. Stream stores what r yields; done
// is called when r has ended, and tells what that was. r is read once: after an
// error the blob has to be Put, and a Read of r that had begun may still wait.
// ErrUnsupported if the place takes no such uploads.
type Streamer interface {
	Stream(ctx context.Context, r io.Reader, done func() (Descriptor, error)) error
}

// Unwrapper is implemented by wrappers that only observe. A wrapper that
// forbids something must not implement it, so that nothing reaches round it.
type Unwrapper interface {
	Unwrap() any
}

// As finds an ability of a store: v itself if it is a T, else what v wraps.
func As[T any](v any) (T, bool) {
	for v != nil {
		if t, ok := v.(T); ok {
			return t, true
		}
		u, ok := v.(Unwrapper)
		if !ok {
			break
		}
		v = u.Unwrap()
	}
	var zero T
	return zero, false
}

// Publish stores a manifest under its digest and under the names, in as few
// steps as the sink allows.
func Publish(ctx context.Context, s Sink, manifest Blob, names ...string) error {
	if p, ok := As[Publisher](s); ok {
		return p.Publish(ctx, manifest, names...)
	}
	if _, err := s.Put(ctx, manifest); err != nil {
		return err
	}
	for _, n := range names {
		if err := s.Tag(ctx, n, manifest.Descriptor()); err != nil {
			return err
		}
	}
	return nil
}
