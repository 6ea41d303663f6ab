// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// A delete that cannot say which tags would go says nothing and deletes
// nothing.
func TestBad_113_DeleteKnowsAllTags(t *testing.T) {
	t.Parallel()
	c := mem.New()
	st, err := c.Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	f := ocitest.Image(1, 1, 10)
	if err := f.Push(t.Context(), st, "one", "two"); err != nil {
		t.Fatal(err)
	}
	h := serve.New(c, serve.Options{})
	hide := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hide && strings.HasSuffix(r.URL.Path, "/manifests/two") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	name := strings.TrimPrefix(srv.URL, "http://") + "/a:one"
	for _, o := range []dray.DeleteOptions{{ByDigest: true, DryRun: true}, {ByDigest: true}} {
		client := dray.New(dray.Env{})
		if d, err := client.Delete(t.Context(), name, o); !errors.Is(err, oci.ErrDenied) {
			t.Errorf("%+v, %v; want ErrDenied", d, err)
		}
		client.Close()
	}
	hide = false
	client := dray.New(dray.Env{})
	defer client.Close()
	if d, err := client.Delete(t.Context(), name, dray.DeleteOptions{ByDigest: true}); err != nil || strings.Join(d.Tags, " ") != "one two" {
		t.Errorf("%+v, %v", d, err)
	}
}
