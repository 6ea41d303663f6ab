// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// What a name means and what it is takes one request, which also tells that the
// manifest is there.
func TestRequestsOfGet(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	g.push("a", f, "v1")
	a := g.repo("a")
	for _, name := range []string{"v1", string(f.Root.Digest)} {
		m, err := oci.Get(t.Context(), a, name)
		if err != nil || m.Descriptor.Digest != f.Root.Digest || len(m.Layers) != 1 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	g.want("GET a/manifests/v1", "GET a/manifests/image")
	if _, err := a.Stat(t.Context(), f.Root); err != nil {
		t.Error(err)
	}
	g.want()
	_, err := oci.Get(t.Context(), a, "v2")
	wantErr(t, err, oci.ErrNotFound)
	g.forget()
	for _, name := range []string{"", "../v1", "sha256:x", strings.Repeat("a", 200)} {
		_, err := oci.Get(t.Context(), a, name)
		wantErr(t, err, oci.ErrInvalid)
	}
	g.want()
}

func TestGetOfAnother(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f, other := ocitest.Image(1, 1, 1000), ocitest.Image(2, 1, 1000)
	g.push("a", f, "v1")
	g.push("a", other, "v2")
	g.on(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, string(f.Root.Digest)) {
			http.Redirect(w, r, "/v2/a/manifests/v2", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	_, err := oci.Get(t.Context(), g.repo("a"), string(f.Root.Digest))
	wantErr(t, err, oci.ErrCorrupt)
}
