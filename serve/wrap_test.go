// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"context"
	"os"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/serve"
)

// wrapCatalog wraps every repository of a catalog.
type wrapCatalog struct {
	oci.Catalog
	wrap func(oci.Store) oci.Store
}

func (w wrapCatalog) Repository(ctx context.Context, name string) (oci.Store, error) {
	s, err := w.Catalog.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return w.wrap(s), nil
}

var _ serve.Adopter = adopter{}

func (a adopter) Adopt(ctx context.Context, path string, d oci.Descriptor) (oci.How, error) {
	*a.adopted = append(*a.adopted, path)
	if a.err != nil {
		return 0, a.err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	how, err := a.Put(ctx, oci.Bytes(d.MediaType, raw, d.Digest))
	if err != nil {
		return 0, err
	}
	return how, os.Remove(path)
}

// bare is a store without further abilities.
type bare struct{ oci.Store }
