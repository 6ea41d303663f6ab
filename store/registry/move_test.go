// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// A tag moves on only from what it was seen to mean, at no request more than
// that of the PUT if nobody is in the way.
func TestMove(t *testing.T) {
	t.Parallel()
	put := is("PUT", "/manifests/")
	for name, c := range map[string]struct {
		other bool             // the tag moves meanwhile
		gone  bool             // it goes meanwhile
		first http.HandlerFunc // answers the first PUT
		err   error
		want  []string
	}{
		"nobody else": {want: []string{"PUT a/manifests/v1"}},
		"moved":       {other: true, err: oci.ErrBusy, want: []string{"PUT a/manifests/v1", "HEAD a/manifests/v1"}},
		"removed":     {gone: true, err: oci.ErrBusy, want: []string{"PUT a/manifests/v1", "HEAD a/manifests/v1"}},
		"other ETags": {first: fails(412, "DENIED"), want: []string{"PUT a/manifests/v1", "HEAD a/manifests/v1", "PUT a/manifests/v1"}},
		"refused":     {first: fails(403, "DENIED"), err: oci.ErrDenied, want: []string{"PUT a/manifests/v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{})
			old, next, other := ocitest.Image(1, 1, 100), ocitest.Image(2, 1, 100), ocitest.Image(3, 1, 100)
			for _, f := range []ocitest.Fixture{next, other, old} {
				g.push("a", f, "v1")
			}
			a := g.repo("a")
			if d, err := a.Resolve(t.Context(), "v1"); err != nil || d.Digest != old.Root.Digest {
				t.Fatal(d, err)
			}
			g.forget()
			if c.other {
				g.push("a", other, "v1")
			}
			if u, ok := oci.As[oci.Untagger](g.stored("a")); c.gone && (!ok || u.Untag(t.Context(), "v1") != nil) {
				t.Fatal("not removed")
			}
			if c.first != nil {
				g.once(put, c.first)
			}
			err := a.Move(t.Context(), next.Blob(next.Root.Digest), "v1", old.Root.Digest)
			if c.err == nil && err != nil {
				t.Error(err)
			} else if c.err != nil {
				wantErr(t, err, c.err)
			}
			g.want(c.want...)
			want := next.Root.Digest
			if c.other {
				want = other.Root.Digest
			} else if c.err != nil {
				want = old.Root.Digest
			}
			if d, err := g.stored("a").Resolve(t.Context(), "v1"); !c.gone && (err != nil || d.Digest != want) {
				t.Errorf("v1 is %s, want %s; %v", d.Digest, want, err)
			}
		})
	}
}

// The answer to a PUT that was done can get lost: the condition of the second
// one fails then, and all is well.
func TestMoveAfterLostAnswer(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	old, next := ocitest.Image(1, 1, 100), ocitest.Image(2, 1, 100)
	g.push("a", next)
	g.push("a", old, "v1")
	a := g.repo("a")
	if _, err := a.Resolve(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	g.once(is("PUT", "/manifests/"), func(_ http.ResponseWriter, r *http.Request) {
		g.push("a", next, "v1")
		panic(http.ErrAbortHandler)
	})
	if err := a.Move(t.Context(), next.Blob(next.Root.Digest), "v1", old.Root.Digest); err != nil {
		t.Error(err)
	}
}
