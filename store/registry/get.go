// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/dray-tools/dray/oci"
)

var _ oci.Getter = (*Repo)(nil)

// Get reads what a tag or a digest means with one GET.
func (r *Repo) Get(ctx context.Context, name string) (*oci.Manifest, error) {
	want, err := oci.ParseDigest(name)
	if err != nil && !oci.IsTag(name) {
		return nil, oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(name))
	}
	places, err := r.asked(want != "")
	if err != nil {
		return nil, oci.Wrap("", r.place(name), err)
	}
	m, err := first(ctx, r, places, func(p Mirror) (*oci.Manifest, error) {
		m, resp, err := r.get(ctx, p, name)
		if err == nil && r.own(p) {
			r.saw(p, name, m.Descriptor.Digest, resp)
			r.s.learn(m.Descriptor, told, m.Descriptor.Size)
		}
		if want == "" && r.own(p) && (err == nil || isKind(err, oci.ErrNotFound)) {
			r.s.resolved(err == nil)
		}
		return m, err
	})
	return m, oci.Wrap("", r.place(name), err)
}
