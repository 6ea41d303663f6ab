// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

var _ interface {
	oci.Store
	oci.Lister
	oci.Referrer
	oci.Deleter
	oci.Untagger
	oci.Ranger
	oci.Publisher
	oci.Locator
} = (*layout.Dir)(nil)

func TestStore(t *testing.T) {
	ocitest.TestStore(t, func(t *testing.T) oci.Store { return create(t) })
}

func TestCatalog(t *testing.T) {
	ocitest.TestCatalog(t, func(t *testing.T) oci.Catalog { return layout.Tree(t.TempDir(), layout.Options{}) })
}

// create makes a layout that does not exist yet.
func create(t testing.TB) *layout.Dir {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "image"), layout.Options{Create: true})
}

func open(t testing.TB, dir string, o layout.Options) *layout.Dir {
	t.Helper()
	l, err := layout.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
