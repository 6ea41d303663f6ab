// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"cmp"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/image-spec/specs-go"

	"github.com/dray-tools/dray/oci"
)

// page reads n. Too many is not an error: clients follow the Link header.
func (c *call) page() (int, error) {
	limit := c.Limits.Page
	if c.Quirks.PageSize > 0 {
		limit = min(limit, c.Quirks.PageSize)
	}
	values, ok := c.at.query["n"]
	if !ok {
		return limit, nil
	}
	n, ok := number(values[0])
	if !ok {
		return 0, answer(http.StatusBadRequest, codePageInvalid, "n must be a number that is not negative")
	}
	return int(min(n, int64(limit))), nil
}

// take takes the names after last from a sorted sequence, at most n; more says
// that some are left.
func take(seq iter.Seq2[string, error], n int, last string, keep func(string) bool) (names []string, more bool, err error) {
	names = []string{} // null would not be a list
	if n == 0 {
		return names, false, nil
	}
	for name, err := range seq {
		if err != nil {
			return nil, false, err
		}
		if last != "" && name <= last || !keep(name) {
			continue
		}
		if len(names) == n {
			return names, true, nil
		}
		names = append(names, name)
	}
	return names, false, nil
}

// link points at the next page (RFC 8288).
func (c *call) link(path string, query url.Values) {
	c.w.Header().Set("Link", "<"+path+"?"+query.Encode()+`>; rel="next"`)
}

func (c *call) list(path string, seq iter.Seq2[string, error], keep func(string) bool) ([]string, error) {
	n, err := c.page()
	if err != nil {
		return nil, err
	}
	names, more, err := take(seq, n, c.at.query.Get("last"), keep)
	if err != nil {
		return nil, orUnknown(err, codeNameUnknown)
	}
	if more {
		c.link(path, url.Values{"n": {strconv.Itoa(n)}, "last": {names[n-1]}})
	}
	return names, nil
}

// tags answers the list of tags (distribution-spec, "Listing Tags").
func (c *call) tags() error {
	l, ok := oci.As[oci.Lister](c.repo)
	if !ok {
		return oci.ErrUnsupported
	}
	names, err := c.list("/v2/"+c.at.name+"/tags/list", l.Tags(c.r.Context()), func(string) bool { return true })
	if err != nil {
		return err
	}
	return c.sendJSON("application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{c.at.name, names})
}

// repositories answers the list of the repositories that the client may read.
func (c *call) repositories() error {
	names, err := c.list("/v2/_catalog", c.catalog.Repositories(c.r.Context()), func(name string) bool {
		return c.authorize(Access{name, Pull}) == nil
	})
	if err != nil {
		return err
	}
	return c.sendJSON("application/json", struct {
		Repositories []string `json:"repositories"`
	}{names})
}

// referrerList is an OCI index whose entries are kept as they came.
type referrerList struct {
	specs.Versioned
	MediaType string           `json:"mediaType"`
	Manifests []oci.Descriptor `json:"manifests"`
}

// referrers answers the list of referrers (distribution-spec, "Listing
// Referrers"): 200 with an index, also if nothing refers to the digest, in
// pages of at most MaxManifest bytes.
func (c *call) referrers() error {
	r, ok := oci.As[oci.Referrer](c.repo)
	if !ok || c.Quirks.NoReferrersAPI {
		return answer(http.StatusNotFound, codeUnsupported, "the referrers API is not supported")
	}
	limit, err := c.page()
	if err != nil {
		return err
	}
	filter := c.at.query.Get("artifactType")
	var all []oci.Descriptor
	for d, err := range r.Referrers(c.r.Context(), oci.Descriptor{Digest: c.at.digest}, filter) {
		if err != nil {
			return err
		}
		if all = append(all, d); len(all) > oci.MaxNodes {
			return oci.Errorf(oci.ErrBusy, "%s has too many referrers", c.at.digest)
		}
	}
	page, next := referrersPage(all, c.at.query.Get("last"), limit)
	if filter != "" {
		c.w.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	if next != "" {
		q := url.Values{"last": {next}}
		for _, key := range []string{"n", "artifactType"} {
			if v := c.at.query.Get(key); v != "" {
				q.Set(key, v)
			}
		}
		c.link("/v2/"+c.at.name+"/referrers/"+string(c.at.digest), q)
	}
	return c.sendJSON(oci.MediaIndex, referrerList{specs.Versioned{SchemaVersion: 2}, oci.MediaIndex, page})
}

// referrersPage takes what comes after the digest last, in the order of
// digests, as far as it fits; next is where another page would go on.
func referrersPage(all []oci.Descriptor, last string, limit int) (page []oci.Descriptor, next string) {
	slices.SortFunc(all, func(a, b oci.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	page = []oci.Descriptor{}
	size := 1024 // for what is around the entries
	for _, d := range all {
		if last != "" && string(d.Digest) <= last {
			continue
		}
		raw, _ := json.Marshal(d)
		size += len(raw) + 1
		if len(page) == limit || size > oci.MaxManifest && len(page) > 0 {
			if len(page) == 0 { // n=0 asks for nothing
				return page, ""
			}
			return page, string(page[len(page)-1].Digest)
		}
		page = append(page, d)
	}
	return page, ""
}
