// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// Delete removes a manifest with its tags, or a blob, by digest
// (distribution-spec, "Content Management").
func (r *Repo) Delete(ctx context.Context, d oci.Descriptor) error {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	var m *oci.Manifest
	if oci.IsManifest(d.MediaType) {
		m, _, _ = r.get(ctx, r.home(), string(d.Digest)) // its subject; a broken manifest may be deleted too
	}
	if err := r.delete(ctx, kindPath(d)); err != nil {
		return oci.Wrap("", r.place(string(d.Digest)), err)
	}
	r.s.learn(d, missing, 0)
	if m == nil || m.Subject == nil {
		return nil
	}
	if !r.g.noReferrers.Load() { // not known to have no referrers API; asking tells
		if _, err := r.referrers(ctx, *m.Subject, ""); err != nil || !r.g.noReferrers.Load() {
			return nil
		}
	}
	return oci.Wrap("", r.place(fallbackTag(m.Subject.Digest)), r.unlink(ctx, m))
}

// Untag removes a tag and leaves the manifest, where the registry can.
func (r *Repo) Untag(ctx context.Context, name string) error {
	if !oci.IsTag(name) {
		return oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(name))
	}
	err := r.delete(ctx, "/manifests/"+name)
	if isKind(err, oci.ErrInvalid) { // distribution-spec allows 400 for "not by tag"
		err = oci.Errorf(oci.ErrUnsupported, "registry does not delete tags: %w", err)
	}
	return oci.Wrap("", r.place(name), err)
}

func (r *Repo) delete(ctx context.Context, path string) error {
	resp, err := r.do(ctx, transport.Request{Method: http.MethodDelete, Path: r.path(path),
		Scopes: []transport.Scope{{Repository: r.name, Actions: "pull,delete"}},
		Accept: []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent}})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
