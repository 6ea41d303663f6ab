// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// Referrers asks the referrers API, and where the registry has none reads the
// fallback tag (distribution-spec, "Listing Referrers", "Referrers Tag
// Schema").
func (r *Repo) Referrers(ctx context.Context, d oci.Descriptor, artifactType string) iter.Seq2[oci.Descriptor, error] {
	return func(yield func(oci.Descriptor, error) bool) {
		if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
			yield(oci.Descriptor{}, err)
			return
		}
		list, err := r.referrers(ctx, d, artifactType)
		if err != nil {
			yield(oci.Descriptor{}, oci.Wrap("", r.place(string(d.Digest)), err))
			return
		}
		seen := map[oci.Digest]bool{}
		for _, x := range list {
			if seen[x.Digest] || artifactType != "" && x.ArtifactType != artifactType {
				continue
			}
			seen[x.Digest] = true
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (r *Repo) referrers(ctx context.Context, d oci.Descriptor, artifactType string) ([]oci.Descriptor, error) {
	if !r.g.noReferrers.Load() {
		list, err := r.referrersAPI(ctx, d, artifactType)
		if err == nil {
			return list, nil
		}
		if isKind(err, errNoRepository) {
			return nil, nil
		}
		if !isKind(err, errNoAPI) {
			return nil, err
		}
		r.g.noReferrers.Store(true)
	}
	m, _, err := r.fallback(ctx, d.Digest)
	if isKind(err, oci.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m.Manifests, nil
}

var (
	errNoAPI        = errors.New("not an answer of the referrers API")
	errNoRepository = errors.New("an answer of the referrers API about a repository that is not there")
)

// referrersAPI collects all pages.
func (r *Repo) referrersAPI(ctx context.Context, d oci.Descriptor, artifactType string) ([]oci.Descriptor, error) {
	query := url.Values{}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	var all []oci.Descriptor
	seen := map[oci.Digest]bool{}
	for range maxPages {
		page, next, err := r.referrersPage(ctx, d, query)
		if err != nil {
			return nil, err
		}
		before := len(seen)
		for _, x := range page {
			if err := oci.CheckDescriptor(x); err != nil {
				return nil, err
			}
			seen[x.Digest] = true
		}
		all = append(all, page...)
		switch {
		case len(all) > oci.MaxNodes:
			return nil, oci.Errorf(oci.ErrInvalid, "list of referrers has more than %d entries", oci.MaxNodes)
		case next == nil:
			return all, nil
		case len(seen) == before:
			return nil, oci.Errorf(oci.ErrInvalid, "list of referrers does not end: a page has nothing new")
		}
		query = next
	}
	return nil, oci.Errorf(oci.ErrInvalid, "list of referrers has more than %d pages", maxPages)
}

func (r *Repo) referrersPage(ctx context.Context, d oci.Descriptor, query url.Values) ([]oci.Descriptor, url.Values, error) {
	resp, raw, err := r.fetch(ctx, &transport.Request{Endpoint: r.g.endpoint, Method: http.MethodGet, Path: r.path("/referrers/" + string(d.Digest)),
		Query: query, Scopes: r.pull(), Header: http.Header{"Accept": {oci.MediaIndex}}, Accept: []int{http.StatusOK}}, oci.MaxManifest)
	var status *transport.Error
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			if status.Has("NAME_UNKNOWN") {
				return nil, nil, errNoRepository
			}
			return nil, nil, errNoAPI
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if mediaType(resp) != oci.MediaIndex {
		return nil, nil, errNoAPI
	}
	var page struct {
		Manifests []oci.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "not a list of referrers: %w", err)
	}
	next, err := nextPage(resp)
	return page.Manifests, next, err
}
