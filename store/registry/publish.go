// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func checkTags(names ...string) error {
	for _, n := range names {
		if !oci.IsTag(n) {
			return oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(n))
		}
	}
	return nil
}

// Publish stores a manifest under its names, one request each, or under its
// digest if there are none. If the registry misses a child of the manifest
// (ErrNotFound), the run no longer relies on its having any of them: they can
// be Put again.
func (r *Repo) Publish(ctx context.Context, b oci.Blob, names ...string) error {
	return r.publish(ctx, b, http.Header{}, names...)
}

// publish is Publish with a condition for the first name.
func (r *Repo) publish(ctx context.Context, b oci.Blob, condition http.Header, names ...string) error {
	d := b.Descriptor()
	if err := cmp.Or(oci.CheckDescriptor(d), checkTags(names...)); err != nil {
		return err
	}
	raw, err := readBlob(ctx, b)
	if err != nil {
		return oci.Wrap("", r.place(string(d.Digest)), err)
	}
	targets, query := names, url.Values(nil)
	if len(names) == 0 || d.Digest.Algorithm() != "sha256" {
		targets = []string{string(d.Digest)} // a tag alone would get a sha256 digest
		if len(names) > 0 {
			query = url.Values{"tag": names}
		}
	}
	for i, t := range targets {
		h := http.Header{}
		if i == 0 && query == nil { // else it would be one of the digest
			h = condition
		}
		resp, err := r.putManifest(ctx, d, raw, t, query, h)
		if err != nil {
			return oci.Wrap("", r.place(t), err)
		}
		for _, n := range query["tag"] {
			if !slices.Contains(resp.Header.Values("OCI-Tag"), n) {
				return oci.Wrap("", r.place(n), oci.Errorf(oci.ErrUnsupported, "registry cannot tag a manifest whose digest is %s", d.Digest.Algorithm()))
			}
		}
		r.s.learn(d, done, d.Size)
		if i > 0 {
			continue
		}
		if err := r.link(ctx, d, raw, resp); err != nil {
			return oci.Wrap("", r.place(t), err)
		}
	}
	return nil
}

func (r *Repo) putManifest(ctx context.Context, d oci.Descriptor, raw []byte, target string, query url.Values, h http.Header) (*http.Response, error) {
	h.Set("Content-Type", d.MediaType)
	resp, err := r.do(ctx, transport.Request{Method: http.MethodPut, Path: r.path("/manifests/" + target), Query: query,
		Scopes: r.push(), Header: h, Size: int64(len(raw)),
		Body: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }})
	var status *transport.Error
	if errors.As(err, &status) && status.Has("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN") {
		if m, err := oci.ParseManifest(d.MediaType, raw); err == nil {
			r.s.doubt(m)
		}
		return nil, oci.Errorf(oci.ErrNotFound, "registry misses something that the manifest needs: %w", err)
	}
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return resp, checkStored(resp, d)
}

// checkStored compares what the registry says it has stored.
func checkStored(resp *http.Response, d oci.Descriptor) error {
	got := resp.Header.Get("Docker-Content-Digest")
	if got == "" || got == string(d.Digest) || d.Digest.Algorithm() != "sha256" {
		return nil
	}
	return oci.Errorf(oci.ErrCorrupt, "registry has stored digest %s, want %s", oci.Quote(got), d.Digest)
}

// Tag gives a name to a manifest that is there.
func (r *Repo) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if err := cmp.Or(oci.CheckDescriptor(d), checkTags(name)); err != nil {
		return err
	}
	m, _, err := r.get(ctx, r.home(), string(d.Digest))
	if err != nil {
		return oci.Wrap("", r.place(string(d.Digest)), err)
	}
	return r.Publish(ctx, m.Blob(), name)
}

// readBlob reads a manifest that is about to be sent.
func readBlob(ctx context.Context, b oci.Blob) ([]byte, error) {
	d := b.Descriptor()
	if d.Size > oci.MaxManifest {
		return nil, oci.Errorf(oci.ErrInvalid, "manifest has %d bytes, more than %d", d.Size, oci.MaxManifest)
	}
	rc, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(oci.Verify(rc, d))
}
