// SPDX-License-Identifier: Apache-2.0

// Package mem keeps images in memory, for tests and for registries that may
// forget.
package mem

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

// A Catalog is many repositories in memory. They share the bytes of equal
// blobs, but each has only what was put or mounted there. It is safe for
// concurrent use.
type Catalog struct {
	// Sparse takes images without their blobs, as it always takes indexes
	// without their images. Set it before use.
	Sparse bool

	host  string
	mu    sync.RWMutex
	repos map[string]*content
	blobs map[oci.Digest]*shared
}

// content is what one repository has. Catalog.mu guards it.
type content struct {
	blobs     map[oci.Digest]oci.Descriptor
	manifests map[oci.Digest]*oci.Manifest
	tags      map[string]oci.Digest
}

// shared is bytes and how often repositories have them.
type shared struct {
	raw  []byte
	uses int
}

var serial atomic.Uint64

// New makes an empty catalog. No other catalog of the process has its host.
func New() *Catalog {
	return &Catalog{
		host:  "mem:" + strconv.FormatUint(serial.Add(1), 10),
		repos: map[string]*content{},
		blobs: map[oci.Digest]*shared{},
	}
}

// Repository opens a repository, which comes into being with the first Put.
// The store is also an oci.Lister, Referrer, Deleter, Untagger, Ranger,
// Publisher and Locator. ErrInvalid if the name is not one of the
// distribution-spec or has more than 255 characters.
func (c *Catalog) Repository(ctx context.Context, name string) (oci.Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !oci.IsRepository(name) {
		return nil, oci.Errorf(oci.ErrInvalid, "%s cannot be the name of a repository", oci.Quote(name))
	}
	return &repository{c, name}, nil
}

// Repositories lists the names that hold something, in byte order.
func (c *Catalog) Repositories(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		c.mu.RLock()
		var names []string
		for name, r := range c.repos {
			if len(r.blobs)+len(r.manifests) > 0 {
				names = append(names, name)
			}
		}
		c.mu.RUnlock()
		slices.Sort(names)
		yieldAll(ctx, names, yield)
	}
}

// yieldAll yields what was collected under the lock after it was given back,
// so that the consumer may use the catalog.
func yieldAll[T any](ctx context.Context, list []T, yield func(T, error) bool) {
	for _, v := range list {
		if err := ctx.Err(); err != nil {
			var zero T
			yield(zero, err)
			return
		}
		if !yield(v, nil) {
			return
		}
	}
}

// keep notes that one more repository has the bytes, and returns them.
func (c *Catalog) keep(d oci.Digest, raw []byte) []byte {
	s := c.blobs[d]
	if s == nil {
		s = &shared{raw: raw}
		c.blobs[d] = s
	}
	s.uses++
	return s.raw
}

// drop is the reverse of keep.
func (c *Catalog) drop(d oci.Digest) {
	s := c.blobs[d]
	if s.uses--; s.uses == 0 {
		delete(c.blobs, d)
	}
}

// repository makes the content of a repository if there is none.
func (c *Catalog) repository(name string) *content {
	r := c.repos[name]
	if r == nil {
		r = &content{
			blobs:     map[oci.Digest]oci.Descriptor{},
			manifests: map[oci.Digest]*oci.Manifest{},
			tags:      map[string]oci.Digest{},
		}
		c.repos[name] = r
	}
	return r
}

// find looks a digest up: among the manifests if it is called one, among the
// blobs if it is called something else, in both if it is not called anything.
func (r *content) find(d oci.Descriptor) (oci.Descriptor, bool) {
	if r == nil {
		return d, false
	}
	if d.MediaType == "" || oci.IsManifest(d.MediaType) {
		if m, ok := r.manifests[d.Digest]; ok {
			return m.Descriptor, true
		}
	}
	if d.MediaType == "" || !oci.IsManifest(d.MediaType) {
		if have, ok := r.blobs[d.Digest]; ok {
			return have, true
		}
	}
	return d, false
}

func (r *content) hasBlob(d oci.Digest) bool {
	if r == nil {
		return false
	}
	_, ok := r.blobs[d]
	return ok
}

// names returns the tags of a repository in byte order.
func (r *content) names() []string { return slices.Sorted(maps.Keys(r.tags)) }
