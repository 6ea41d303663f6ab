// SPDX-License-Identifier: Apache-2.0

// Package store is the one table from the scheme of a reference to the store
// that it names.
package store

import (
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store/layout"
	"github.com/dray-tools/dray/store/registry"
)

// Env is what stores need of the run they belong to.
type Env struct {
	// Registry opens the registry that a reference names.
	Registry func(r ref.Ref) (*registry.Registry, error)
}

// Open opens the store of a reference: its repository, not what is in it. With
// write a place that does not exist may be made.
func Open(r ref.Ref, write bool, e Env) (oci.Store, error) {
	switch r.Scheme {
	case ref.Registry:
		return openRegistry(r, write, e)
	case ref.Layout:
		return layout.Open(r.Path, layout.Options{Create: write, ReadOnly: !write})
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "no store for %s:", oci.Quote(r.Scheme))
}

func openRegistry(r ref.Ref, write bool, e Env) (oci.Store, error) {
	g, err := e.Registry(r)
	if err != nil {
		return nil, err
	}
	repo, err := g.Repo(r.Repository)
	switch {
	case err != nil:
		return nil, err
	case write:
		return repo.ForWriting(), nil
	}
	return repo.ForReading(), nil
}
