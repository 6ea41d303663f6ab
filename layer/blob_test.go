// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"context"
	"io"

	"github.com/dray-tools/dray/oci"
)

// A countingBlob counts how often it is opened.
type countingBlob struct {
	oci.Blob
	n *int
}

func (b *countingBlob) Open(ctx context.Context) (io.ReadCloser, error) {
	*b.n++
	return b.Blob.Open(ctx)
}

// A changingBlob has other bytes each time it is opened.
type changingBlob struct {
	oci.Blob
	bytes [][]byte
}

func (b *changingBlob) Open(context.Context) (io.ReadCloser, error) {
	now := b.bytes[0]
	b.bytes = b.bytes[1:]
	return io.NopCloser(bytes.NewReader(now)), nil
}
