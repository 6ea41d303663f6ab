// SPDX-License-Identifier: Apache-2.0

// Package layer makes, reads, indexes and rewrites file system changes: tar
// archives with whiteouts, packed with gzip, zstd or not at all (image-spec,
// layer.md).
//
// [Open] reads a layer as a checked tar stream and [Reader] as entries; a
// [Tree] is what several layers make together, with every link, whiteout and
// change of type resolved. [Flatten] and [Unpack] write that out.
package layer

import (
	"context"
	"io"

	"github.com/dray-tools/dray/oci"
)

// Open opens a layer as its uncompressed tar. The blob's digest and size are
// verified, also of bytes that follow the end of the tar: the reader has to be
// read to its end for that. The caller closes it.
func Open(ctx context.Context, b oci.Blob) (io.ReadCloser, error) { return open(ctx, b, nil) }

// open is Open, with what Decompress waits for before it takes much memory.
func open(ctx context.Context, b oci.Blob, wait func() error) (io.ReadCloser, error) {
	rc, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	packed := oci.Verify(rc, b.Descriptor())
	plain, _, err := decompress(packed, wait)
	if err != nil {
		rc.Close()
		return nil, oci.Wrap("", string(b.Descriptor().Digest), err)
	}
	return &opened{plain, packed}, nil
}

type opened struct {
	plain  io.ReadCloser
	packed io.ReadCloser
}

func (o *opened) Read(p []byte) (int, error) {
	n, err := o.plain.Read(p)
	if err == io.EOF { // what follows the compressed stream has to be right, too
		if _, rest := io.Copy(io.Discard, o.packed); rest != nil {
			err = rest
		}
	}
	return n, err
}

func (o *opened) Close() error {
	err := o.plain.Close()
	if cerr := o.packed.Close(); err == nil {
		err = cerr
	}
	return err
}
