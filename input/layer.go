// SPDX-License-Identifier: Apache-2.0

package input

import (
	"context"
	"io"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Layer is a blob that a Maker has made, valid until its Close. One that is
// only remembered is made when it is opened: ErrBusy if it has become another.
type Layer struct {
	DiffID  oci.Digest
	Entries int
	Sockets int // that were left out of a directory: they mean nothing in a layer
	// Kept are the first of the KeptCount directories of the base that stay as they
	// are though the input has entries for them, and nothing in them.
	Kept      []string
	KeptCount int
	CreatedBy string // what it was made of, and what names it brings at the top, for the history of an image

	what outcome
	w    *work
	onto Onto
	made *growing // its bytes, guarded by w.mu; nil if it is as it came, or only remembered
	sent *upload  // nil: was not sent

	remaking chan struct{} // held by the one who makes what is only remembered
}

var _ oci.RangeBlob = (*Layer)(nil)

// Descriptor implements oci.Blob. The media type is OCI's, and there are the
// annotations that the packing needs.
func (l *Layer) Descriptor() oci.Descriptor { return l.what.descriptor(l.w.in) }

// Sent reports whether the sink that Maker.Layer was given has got the layer.
func (l *Layer) Sent() bool { return l.sent.done() }

// createdBy is a line of history: what the layer was made of, and the names that
// it brings at its top.
func (in *Input) createdBy(tops []string) string {
	if len(tops) == 0 {
		return in.by
	}
	return in.by + ": " + strings.Join(tops, ", ")
}

// Open implements oci.Blob.
func (l *Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	rc, err := l.OpenRange(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	return oci.Verify(rc, l.Descriptor()), nil
}

// OpenRange implements oci.RangeBlob.
func (l *Layer) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if l.what.AsIs {
		rc, err := l.w.from.open(ctx, offset, length)
		if err != nil {
			return nil, l.w.in.explain(ctx, err)
		}
		return rc, nil
	}
	g, err := l.w.bytes(ctx, l)
	if err != nil {
		return nil, l.w.in.explain(ctx, err)
	}
	return g.section(offset, length), nil
}
