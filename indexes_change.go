// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// RemoveFromIndex takes out the entries that are chosen, those that the names
// mean, and the attestations about them. Of a name that means another index its
// entries are taken out. ErrNotFound if one of what is named is not in the index,
// ErrInvalid if nothing would be left.
func (c *Client) RemoveFromIndex(ctx context.Context, name string, what edit.Choice, names []string, o EditOptions) (*Edited, error) {
	others := make([]*oci.Manifest, len(names))
	err := oci.Parallel(ctx, len(names), func(ctx context.Context, i int) (err error) {
		_, _, others[i], err = c.get(ctx, names[i], o.From)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.narrowed(ctx, name, o, func(list []oci.Descriptor) ([]bool, error) {
		for _, m := range others {
			what.Digests = append(what.Digests, meant(m, list)...)
		}
		return what.Drop(list)
	})
}

// meant are the entries of an index that a manifest stands for: itself, or if it
// is an index that is not in there, what that lists.
func meant(m *oci.Manifest, list []oci.Descriptor) (out []oci.Digest) {
	for _, d := range list {
		if d.Digest == m.Descriptor.Digest || !m.IsIndex() {
			return []oci.Digest{m.Descriptor.Digest}
		}
	}
	for _, d := range m.Manifests {
		out = append(out, d.Digest)
	}
	return out
}

// FilterIndex keeps the entries that are chosen and the attestations about them.
// ErrNotFound if one of the platforms is not in the index.
func (c *Client) FilterIndex(ctx context.Context, name string, what edit.Choice, o EditOptions) (*Edited, error) {
	return c.narrowed(ctx, name, o, what.Keep)
}

// narrowed leaves of an index what keep tells; the rest is not read.
func (c *Client) narrowed(ctx context.Context, name string, o EditOptions, keep func([]oci.Descriptor) ([]bool, error)) (*Edited, error) {
	var stays []bool
	at, x, err := c.index(ctx, name, o, func(list []oci.Descriptor) (o edit.Options, err error) {
		if stays, err = keep(list); err == nil {
			o.Leave = unless(list, stays)
		}
		return o, err
	})
	if err != nil {
		return nil, err
	}
	if err = x.Retain(stays); err == nil {
		err = family(x, &o)
	}
	if err != nil {
		return nil, oci.Wrap("", at, err)
	}
	return c.edited(ctx, x, name, o)
}

// AnnotateIndex changes annotations of an index, and annotations and platforms of
// the descriptors in it that are chosen. The images stay as they are.
func (c *Client) AnnotateIndex(ctx context.Context, name string, what edit.Choice, changes edit.IndexChanges, o EditOptions) (*Edited, error) {
	var chosen []bool
	at, x, err := c.index(ctx, name, o, func(list []oci.Descriptor) (o edit.Options, err error) {
		if chosen, err = what.Among(list); err == nil && changes.Platforms() { // configs tell which a platform contradicts
			others := unless(list, chosen)
			o.Choose = func(d oci.Descriptor) bool { return !others(d) }
		}
		return o, err
	})
	if err != nil {
		return nil, err
	}
	if err = family(x, &o); err == nil {
		err = x.Change(changes, chosen)
	}
	if err != nil {
		return nil, oci.Wrap("", at, err)
	}
	return c.edited(ctx, x, name, o)
}

// index reads an index to be changed. look, if given, sees its entries before
// more is read, and says what has to be. It also tells where that was.
func (c *Client) index(ctx context.Context, name string, eo EditOptions, look func([]oci.Descriptor) (edit.Options, error)) (at string, x *edit.Index, err error) {
	r, st, m, err := c.original(ctx, name, eo)
	if err != nil {
		return r.String(), nil, err
	}
	at = r.String()
	if !m.IsIndex() {
		return at, nil, oci.Wrap("", at, oci.Errorf(oci.ErrInvalid, "an image or artifact, not an index"))
	}
	var o edit.Options
	if look != nil {
		list, err := withPlatforms(ctx, st, m)
		if err == nil {
			o, err = look(list)
		}
		if err != nil {
			return at, nil, oci.Wrap("", at, err)
		}
	}
	if o.Choose == nil {
		o.Choose = noPlatform
	}
	n, err := edit.Load(ctx, st, read(m), o)
	if err != nil {
		return at, nil, oci.Wrap("", at, err)
	}
	return at, n.(*edit.Index), nil
}

// An IndexListing is an index and what it lists.
type IndexListing struct {
	oci.Descriptor
	Annotations map[string]string `json:"annotations,omitempty"`
	Subject     *oci.Descriptor   `json:"subject,omitempty"`
	Manifests   []IndexEntry      `json:"manifests"`
}

// An IndexEntry is a descriptor of an index.
type IndexEntry struct {
	oci.Descriptor
	// PlatformName is the platform in one word; "" if there is none.
	PlatformName string `json:"platformName,omitempty"`
	// About is the image that an attestation is about.
	About oci.Digest `json:"about,omitempty"`
}

// ListIndex reads an index, and nothing of what it lists. ErrInvalid if it is
// none.
func (c *Client) ListIndex(ctx context.Context, name string, s Side) (*IndexListing, error) {
	r, _, m, err := c.get(ctx, name, s)
	if err != nil {
		return nil, err
	}
	if !m.IsIndex() {
		return nil, oci.Wrap("", r.String(), oci.Errorf(oci.ErrInvalid, "an image or artifact, not an index"))
	}
	out := &IndexListing{Descriptor: m.Descriptor, Annotations: m.Annotations, Subject: m.Subject, Manifests: []IndexEntry{}}
	for _, d := range m.Manifests {
		e := IndexEntry{Descriptor: d, About: oci.Digest(d.Annotations[oci.AnnotationAbout])}
		if d.Platform != nil && d.Platform.OS != "unknown" {
			e.PlatformName = oci.FormatPlatform(*d.Platform)
		}
		out.Manifests = append(out.Manifests, e)
	}
	return out, nil
}
