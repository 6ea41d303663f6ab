// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// A version is what a tag has been seen to mean, and what the registry calls that.
type version struct {
	digest oci.Digest
	etag   string
}

// saw remembers the ETag of a tag, if the registry itself gives a strong one (a
// weak one never matches).
func (r *Repo) saw(m Mirror, tag string, d oci.Digest, resp *http.Response) {
	if etag := resp.Header.Get("ETag"); r.own(m) && strings.HasPrefix(etag, `"`) && oci.IsTag(tag) {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		r.s.tags[tag] = version{d, etag}
	}
}

// Move implements oci.Mover with If-Match (RFC 9110, section 13.1.1) and the ETag
// of when the tag was asked for, which costs no request. Registries that have
// none, or do not look at the condition, replace whatever the tag means.
func (r *Repo) Move(ctx context.Context, b oci.Blob, name string, old oci.Digest) error {
	r.s.mu.Lock()
	v := r.s.tags[name]
	delete(r.s.tags, name)
	r.s.mu.Unlock()
	if v.digest != old {
		return r.Publish(ctx, b, name)
	}
	err := r.publish(ctx, b, http.Header{"If-Match": {v.etag}}, name)
	var status *transport.Error
	if !errors.As(err, &status) || status.Status != http.StatusPreconditionFailed {
		return err
	}
	now, err := r.resolveAt(ctx, r.home(), name, "")
	switch {
	case isKind(err, oci.ErrNotFound):
		return oci.Wrap("", r.place(name), oci.Moved(""))
	case err != nil:
		return oci.Wrap("", r.place(name), err)
	case now.Digest != old && now.Digest != b.Descriptor().Digest:
		return oci.Wrap("", r.place(name), oci.Moved(now.Digest))
	}
	// The answer to the first attempt was lost, or what lies between changes ETags.
	return r.Publish(ctx, b, name)
}
