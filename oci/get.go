// SPDX-License-Identifier: Apache-2.0

package oci

import "context"

// A Getter looks up a tag or a digest and reads what it means in one step, which
// saves a request where a registry is behind it. ErrNotFound if there is none.
type Getter interface {
	Get(ctx context.Context, name string) (*Manifest, error)
}

// Get reads the manifest or index that a name means, in as few steps as the
// source allows.
func Get(ctx context.Context, s Source, name string) (*Manifest, error) {
	if g, ok := As[Getter](s); ok {
		return g.Get(ctx, name)
	}
	d, err := s.Resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	return Fetch(ctx, s, d)
}
