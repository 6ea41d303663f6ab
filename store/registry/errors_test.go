// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// An error names its place once.
func TestErrorsAreOneClearLine(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 10)
	a := g.repo("x/y")
	_, err := a.Resolve(t.Context(), "v1")
	want := g.host() + "/x/y:v1: 404"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
	g.push("x/y", ocitest.Fixture{Blobs: f.Blobs[:1]})
	for _, err := range []error{
		a.Publish(t.Context(), f.Blob(f.Root.Digest), "v1"),
		a.Tag(t.Context(), "v1", f.Root),
		func() error { _, err := a.Put(t.Context(), f.Blob(f.Root.Digest)); return err }(),
		func() error { _, err := a.Open(t.Context(), f.Root); return err }(),
		a.Untag(t.Context(), "v1"), a.Delete(t.Context(), f.Root),
		func() error { _, err := collect(g.repo("no/pe").Tags(t.Context())); return err }(),
	} {
		if err == nil || strings.Count(err.Error(), g.host()) != 1 || strings.Contains(err.Error(), "\n") {
			t.Errorf("not clear: %v", err)
		}
	}
}
