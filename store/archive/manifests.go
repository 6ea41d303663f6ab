// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// maxKept bounds the bytes of manifests that are remembered as they were parsed.
const maxKept = 32 << 20

// manifests remember what was found out about the manifests of an archive, so
// that entries of one manifest have it parsed once. The zero value is empty.
type manifests struct {
	mu    sync.Mutex
	all   map[manifestKey]*known
	bytes int64 // of those that are kept
}

// A manifestKey is a manifest as a descriptor calls it.
type manifestKey struct {
	d         oci.Digest
	mediaType string
}

// A known is what remains of a manifest that was parsed.
type known struct {
	m       *oci.Manifest // nil if there is no room for it
	subject oci.Digest    // what it refers to; empty if nothing
	err     error         // why it is no manifest
}

// manifest reads and parses a manifest. ErrNotFound if it is not there,
// ErrInvalid if the manifests of the archive have too many bytes.
func (c *contents) manifest(ctx context.Context, d oci.Descriptor) (*oci.Manifest, error) {
	k, err := c.look(ctx, d, true)
	if err != nil {
		return nil, err
	}
	return k.m, k.err
}

// subject tells what a manifest refers to; empty if to nothing, or if it cannot
// be read.
func (c *contents) subject(ctx context.Context, d oci.Descriptor) oci.Digest {
	k, err := c.look(ctx, d, false)
	if err != nil {
		return ""
	}
	return k.subject
}

// look parses a manifest, or knows about it; all says that its members are
// wanted as well.
func (c *contents) look(ctx context.Context, d oci.Descriptor, all bool) (known, error) {
	if err := ctx.Err(); err != nil {
		return known{}, err
	}
	r, err := c.find(ctx, d.Digest)
	if err != nil {
		return known{}, err
	}
	if sized(d) && r.Size() != d.Size {
		return known{}, wrongSize(d, r.Size())
	}
	s := &c.manifests
	s.mu.Lock()
	defer s.mu.Unlock()
	key := manifestKey{d.Digest, d.MediaType}
	old := s.all[key]
	if old != nil && (old.m != nil || old.err != nil || !all) {
		return *old, nil
	}
	if old == nil && c.parsed.Add(min(r.Size(), oci.MaxManifest)) > oci.MaxGraph {
		return known{}, oci.Errorf(oci.ErrInvalid, "more than %d bytes of manifests", oci.MaxGraph)
	}
	k := known{}
	if k.m, k.err = parseManifest(d, r); k.err == nil && k.m.Subject != nil {
		k.subject = k.m.Subject.Digest
	}
	if s.all == nil {
		s.all = map[manifestKey]*known{}
	}
	kept := k
	if k.err != nil || s.bytes+r.Size() > maxKept {
		kept.m = nil
	} else {
		s.bytes += r.Size()
	}
	s.all[key] = &kept
	return k, nil
}
