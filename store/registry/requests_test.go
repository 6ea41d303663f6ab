// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

func TestRequestsOfReading(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	g.push("a", f, "v1")
	a := g.repo("a")
	for range 2 { // what a tag means is asked every time
		if d, err := a.Resolve(t.Context(), "v1"); err != nil || d.Digest != f.Root.Digest || d.Size != f.Root.Size {
			t.Errorf("resolve: %+v, %v", d, err)
		}
		g.want("HEAD a/manifests/v1")
	}
	if _, err := a.Resolve(t.Context(), string(f.Root.Digest)); err != nil {
		t.Error(err)
	}
	g.want("HEAD a/manifests/image")
	wantBytes(t, a, f.Blob(f.Root.Digest))
	g.want("GET a/manifests/image")
	wantBytes(t, a, f.Layers()[0])
	g.want("GET a/blobs/layer")
	if _, err := a.Stat(t.Context(), f.Root); err != nil { // resolved before
		t.Error(err)
	}
	g.want()
	d := f.Layers()[0].Descriptor()
	for range 2 {
		if got, err := a.Stat(t.Context(), oci.Descriptor{Digest: d.Digest}); err != nil || got.Size != d.Size {
			t.Errorf("stat: %+v, %v", got, err)
		}
	}
	g.want("HEAD a/blobs/layer")
	rc, err := a.OpenRange(t.Context(), d, 100, 50)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	g.want("GET a/blobs/layer bytes=100-149")
}

// A cold copy asks once whether the repository is empty.
func TestRequestsOfColdPut(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	a := g.repo("a").ForWriting()
	if _, err := a.Resolve(t.Context(), "v1"); err == nil {
		t.Error("resolved what is not there")
	}
	g.want("HEAD a/manifests/v1")
	wantPut(t, a, f.Layers()[0], oci.Sent)
	g.want("GET a/tags/list?n=1", "POST a/blobs/uploads/?from=a&mount=layer", "PUT a/upload")
	wantPut(t, a, f.Blobs[0], oci.Sent)
	g.want("POST a/blobs/uploads/?from=a&mount=config", "PUT a/upload")
	wantPut(t, a, f.Blobs[0], oci.Existed)
	g.want()
	if err := a.Publish(t.Context(), f.Blob(f.Root.Digest), "v1"); err != nil {
		t.Error(err)
	}
	g.want("PUT a/manifests/v1")
	wantPut(t, a, f.Blob(f.Root.Digest), oci.Existed)
	g.want()
}

// What an interrupted copy has left in a repository without tags is found.
func TestRequestsOfPutAfterAnInterruption(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	g.push("a", ocitest.Fixture{Blobs: f.Layers()})
	a := g.repo("a")
	_, _ = a.Resolve(t.Context(), "v1")
	g.forget()
	wantPut(t, a, f.Layers()[0], oci.Existed)
	g.want("GET a/tags/list?n=1", "POST a/blobs/uploads/?from=a&mount=layer")
}

func TestRequestsOfPut(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	g.push("a", f, "v1")
	l := f.Layers()[0]

	b := g.repo("b") // nothing known
	wantPut(t, b, l, oci.Sent)
	g.want("HEAD b/blobs/layer", "POST b/blobs/uploads/", "PUT b/upload")

	c := g.repo("c")
	if _, err := c.Stat(t.Context(), l.Descriptor()); err == nil {
		t.Error("stat of nothing")
	}
	g.want("HEAD c/blobs/layer")
	wantPut(t, c, l, oci.Sent) // known to be missing
	g.want("POST c/blobs/uploads/", "PUT c/upload")

	wantPut(t, g.repo("d"), l, oci.Mounted, "a")
	g.want("POST d/blobs/uploads/?from=a&mount=layer")

	wantPut(t, g.repo("e"), l, oci.Sent, "not/there") // in the session that the mount opened
	g.want("POST e/blobs/uploads/?from=not%2Fthere&mount=layer", "PUT e/upload")

	wantPut(t, g.repo("f"), l, oci.Mounted, "not/there", "a")
	g.want("POST f/blobs/uploads/?from=not%2Fthere&mount=layer", "DELETE f/upload", "POST f/blobs/uploads/?from=a&mount=layer")

	wantPut(t, g.repo("a"), l, oci.Existed)
	g.want("HEAD a/blobs/layer")
}

func TestRequestsOfPutWithoutMounts(t *testing.T) {
	t.Parallel()
	l, m := layer(1, 1000), layer(2, 1000)
	for name, q := range map[string]serve.Quirks{"overlooked": {NoMount: true}, "refused": {RejectCrossMount: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, serve.Options{Quirks: q})
			g.name("layer", l.Descriptor().Digest)
			g.name("other", m.Descriptor().Digest)
			g.push("a", ocitest.Fixture{Blobs: []oci.Blob{l, m}})
			b := g.repo("b")
			wantPut(t, b, l, oci.Sent, "a")
			if q.NoMount {
				g.want("POST b/blobs/uploads/?from=a&mount=layer", "PUT b/upload")
			} else {
				g.want("POST b/blobs/uploads/?from=a&mount=layer", "POST b/blobs/uploads/", "PUT b/upload")
			}
		})
	}
}

func TestRequestsOfNames(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	f := ocitest.Image(1, 1, 1000)
	g.nameImage(f)
	g.push("a", f)
	a := g.repo("a")
	if err := a.Tag(t.Context(), "v1", f.Root); err != nil {
		t.Error(err)
	}
	g.want("GET a/manifests/image", "PUT a/manifests/v1")
	if err := a.Publish(t.Context(), f.Blob(f.Root.Digest), "v2", "v3"); err != nil {
		t.Error(err)
	}
	g.want("PUT a/manifests/v2", "PUT a/manifests/v3")
	if err := a.Publish(t.Context(), f.Blob(f.Root.Digest)); err != nil {
		t.Error(err)
	}
	g.want("PUT a/manifests/image")
	if err := a.Untag(t.Context(), "v3"); err != nil {
		t.Error(err)
	}
	g.want("DELETE a/manifests/v3")
	if err := a.Delete(t.Context(), f.Root); err != nil {
		t.Error(err)
	}
	g.want("GET a/manifests/image", "DELETE a/manifests/image") // it may have a subject
	if err := a.Delete(t.Context(), f.Layers()[0].Descriptor()); err != nil {
		t.Error(err)
	}
	g.want("DELETE a/blobs/layer")
	wantPut(t, a, f.Layers()[0], oci.Sent) // known to be missing now
	g.want("POST a/blobs/uploads/", "PUT a/upload")
}

func TestRequestsOfLists(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{Quirks: serve.Quirks{PageSize: 2}})
	g.push("a", ocitest.Image(1, 1, 10), "v1", "v2", "v3")
	tags, err := collect(g.repo("a").Tags(t.Context()))
	if err != nil || len(tags) != 3 {
		t.Errorf("got %q, %v", tags, err)
	}
	g.want("GET a/tags/list?n=1000", "GET a/tags/list?last=v2&n=2")
	g.push("b", ocitest.Image(1, 1, 10))
	g.push("c", ocitest.Image(1, 1, 10))
	if names, err := collect(g.client().Repositories(t.Context())); err != nil || len(names) != 3 {
		t.Errorf("got %q, %v", names, err)
	}
	g.want("GET _catalog?n=1000", "GET _catalog?last=b&n=2")
}

func TestRequestsOfReferrers(t *testing.T) {
	t.Parallel()
	const text = `
		l     = layer 10
		image = image l
		sig   = artifact l type=application/x.sig subject=image
		sbom  = artifact l type=application/x.sbom subject=image
	`
	w := ocitest.Symbols(t, text)
	image, sig, sbom := w.Fixture("image"), w.Fixture("sig"), w.Fixture("sbom")
	setup := func(q serve.Quirks) (*rig, *registry.Repo) {
		g := newRig(t, serve.Options{Quirks: q})
		g.name("image", image.Root.Digest)
		g.name("sig", sig.Root.Digest)
		g.name("sbom", sbom.Root.Digest)
		for _, f := range []ocitest.Fixture{image, sig, sbom} {
			g.push("a", ocitest.Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]})
		}
		return g, g.repo("a")
	}
	refer := func(r *registry.Repo, filter string, want int) {
		t.Helper()
		if got, err := collect(r.Referrers(t.Context(), image.Root, filter)); err != nil || len(got) != want {
			t.Errorf("referrers: %v, %v; want %d", got, err, want)
		}
	}

	g, a := setup(serve.Quirks{})
	wantPut(t, a, sig.Blob(sig.Root.Digest), oci.Sent)
	g.want("PUT a/manifests/sig")
	refer(a, "application/x.sig", 1)
	g.want("GET a/referrers/image?artifactType=application%2Fx.sig")

	g, a = setup(serve.Quirks{PageSize: 1})
	wantPut(t, a, sig.Blob(sig.Root.Digest), oci.Sent)
	wantPut(t, a, sbom.Blob(sbom.Root.Digest), oci.Sent)
	g.forget()
	refer(a, "", 2)
	if n := g.count("GET a/referrers/image"); n != 2 {
		t.Errorf("%d requests for two pages: %q", n, g.requests())
	}

	g, a = setup(serve.Quirks{NoReferrersAPI: true})
	wantPut(t, a, sig.Blob(sig.Root.Digest), oci.Sent)
	g.want("PUT a/manifests/sig", "GET a/manifests/image-tag", "PUT a/manifests/image-tag", "GET a/manifests/image-tag")
	if err := a.Publish(t.Context(), sig.Blob(sig.Root.Digest), "one", "two"); err != nil {
		t.Error(err)
	}
	g.want("PUT a/manifests/one", "GET a/manifests/image-tag", "PUT a/manifests/two")
	refer(a, "", 1)
	g.want("GET a/manifests/image-tag")
	if err := a.Delete(t.Context(), sig.Root); err != nil {
		t.Error(err)
	}
	g.want("GET a/manifests/sig", "DELETE a/manifests/sig", "GET a/manifests/image-tag", "PUT a/manifests/image-tag", "GET a/manifests/image-tag")
	refer(a, "", 0)

	g, a = setup(serve.Quirks{NoReferrersAPI: true})
	refer(a, "", 0)
	g.want("GET a/referrers/image", "GET a/manifests/image-tag")
	refer(a, "", 0)
	g.want("GET a/manifests/image-tag") // found out once
}

// A registry that answers a mount of what a repository does not have with an
// error is still asked to mount from other ones.
func TestBad_050_MountFromItselfIsRefused(t *testing.T) {
	t.Parallel()
	g := newRig(t, serve.Options{})
	g.always(func(r *http.Request) bool { return r.URL.Query().Get("from") == "b" }, fails(404, "BLOB_UNKNOWN"))
	l := layer(1, 10)
	g.push("a", ocitest.Fixture{Blobs: []oci.Blob{l}})
	b := g.repo("b")
	wantPut(t, b, layer(2, 10), oci.Sent, "b")
	wantPut(t, b, layer(3, 10), oci.Sent, "b")
	if n := g.count("POST b/blobs/uploads/?"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	wantPut(t, b, l, oci.Mounted, "a")
}
