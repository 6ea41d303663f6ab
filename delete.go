// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"errors"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store/registry"
)

// DeleteOptions say what goes.
type DeleteOptions struct {
	Side
	// ByDigest removes the manifest that a tag points at, and with it every
	// other tag that does. Without it only the tag goes, where the store can.
	ByDigest bool
	// DryRun finds out what would go and removes nothing.
	DryRun bool
}

// A Deletion is what went, or would go.
type Deletion struct {
	Reference string     `json:"reference"`
	Digest    oci.Digest `json:"digest"`
	Tags      []string   `json:"tags"` // all tags that went
}

// Delete removes a tag, or a manifest with all its tags. Blobs and children
// stay until the store collects its garbage. A name in a registry must have a
// tag or a digest: what goes is not guessed.
func (c *Client) Delete(ctx context.Context, name string, o DeleteOptions) (*Deletion, error) {
	r, err := ref.ParseAny(name)
	if err == nil && r.Scheme == ref.Registry && r.Name == "" && r.Digest == "" {
		err = oci.Errorf(oci.ErrInvalid, "%s: say which: want REPOSITORY:TAG or REPOSITORY@DIGEST", oci.Quote(name))
	}
	if err != nil {
		return nil, err
	}
	st, err := c.open(r, o.Side, !o.DryRun)
	if err != nil {
		return nil, err
	}
	if p, ok := st.(*registry.Repo); ok {
		st = p.Primary()
	}
	d, err := st.Resolve(ctx, r.Target())
	if err != nil {
		return nil, err
	}
	out := &Deletion{Reference: r.String(), Digest: d.Digest}
	if r.Digest == "" && !o.ByDigest {
		out.Tags = []string{r.Name}
		u, ok := oci.As[oci.Untagger](st)
		if !ok {
			return nil, oci.Errorf(oci.ErrUnsupported, "%s: this store cannot remove a tag alone", r)
		}
		if o.DryRun {
			return out, nil
		}
		return out, u.Untag(ctx, r.Name)
	}
	x, ok := oci.As[oci.Deleter](st)
	if !ok {
		return nil, oci.Errorf(oci.ErrUnsupported, "%s: this store cannot delete", r)
	}
	if out.Tags, err = c.tagsOf(ctx, st, d); err != nil || o.DryRun {
		return out, err
	}
	return out, x.Delete(ctx, d)
}

// tagsOf finds the tags that point at a manifest, which takes a request each.
func (c *Client) tagsOf(ctx context.Context, st oci.Store, d oci.Descriptor) ([]string, error) {
	l, ok := oci.As[oci.Lister](st)
	if !ok {
		return nil, nil
	}
	var all []string
	for t, err := range l.Tags(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	same := make([]bool, len(all))
	err := oci.Parallel(ctx, len(all), func(ctx context.Context, i int) error {
		have, err := st.Resolve(ctx, all[i])
		same[i] = err == nil && have.Digest == d.Digest
		if errors.Is(err, oci.ErrNotFound) || errors.Is(err, oci.ErrUnsupported) || errors.Is(err, oci.ErrInvalid) {
			return ctx.Err() // it went meanwhile, or is nothing that could be deleted like this
		}
		return err // the list must not be short because a question got no answer
	})
	var out []string
	for i, t := range all {
		if same[i] {
			out = append(out, t)
		}
	}
	return out, err
}
