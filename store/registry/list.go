// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

const (
	pageSize = 1000
	maxPages = 10_000
	maxPage  = 16 << 20  // bytes of one page
	maxNames = 2_000_000 // of one list
)

// Tags lists the tags. Names that cannot be tags are left out with a warning.
func (r *Repo) Tags(ctx context.Context) iter.Seq2[string, error] {
	return sorted(r.page(ctx, r.path("/tags/list"), pageSize, r.pull(), "tags"), oci.IsTag, func(n int, one string) {
		r.g.o.Log.Warn("registry lists what cannot be a tag", "repository", r.g.endpoint.Host+"/"+r.name, "names", n, "one", oci.Quote(one))
	})
}

// Repositories lists the repositories of the registry (_catalog), which not
// every registry allows: ErrDenied, ErrUnauthorized, ErrNotFound or
// ErrUnsupported then.
func (g *Registry) Repositories(ctx context.Context) iter.Seq2[string, error] {
	r := &Repo{g: g, s: newState()}
	scopes := []transport.Scope{{Actions: "catalog"}}
	return sorted(r.page(ctx, "/v2/_catalog", pageSize, scopes, "repositories"), oci.IsRepository, func(n int, one string) {
		g.o.Log.Warn("registry lists what cannot be a repository", "host", g.endpoint.Host, "names", n, "one", oci.Quote(one))
	})
}

// sorted collects what pages yield, sorts it and leaves out what is twice and
// what is not valid; of that it reports how many there are and one of them.
func sorted(pages iter.Seq2[string, error], valid func(string) bool, dropped func(int, string)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var all []string
		bad, one := 0, ""
		for s, err := range pages {
			switch {
			case err != nil:
				yield("", err)
				return
			case valid(s):
				all = append(all, s)
			default:
				bad, one = bad+1, s
			}
		}
		if bad > 0 {
			dropped(bad, one)
		}
		slices.Sort(all)
		for _, s := range slices.Compact(all) {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// page follows a paginated list (distribution-spec, "Listing Tags"): the next
// page must be one of the same list and must bring something new.
func (r *Repo) page(ctx context.Context, path string, n int, scopes []transport.Scope, member string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		fail := func(err error) { yield("", oci.Wrap("", strings.TrimSuffix(r.g.endpoint.Host+"/"+r.name, "/"), err)) }
		query := url.Values{"n": {strconv.Itoa(n)}}
		seen := map[string]bool{}
		for pages := 1; query != nil; pages++ {
			names, next, err := r.fetchPage(ctx, path, query, scopes, member)
			if err != nil {
				fail(err)
				return
			}
			before := len(seen)
			for _, s := range names {
				if seen[s] {
					continue
				}
				seen[s] = true
				if !yield(s, nil) {
					return
				}
			}
			switch {
			case next != nil && len(seen) == before:
				fail(oci.Errorf(oci.ErrInvalid, "list of %s does not end: a page has nothing new", member))
				return
			case next != nil && (pages == maxPages || len(seen) > maxNames):
				fail(oci.Errorf(oci.ErrInvalid, "list of %s has more than %d names or %d pages", member, maxNames, maxPages))
				return
			}
			query = next
		}
	}
}

func (r *Repo) fetchPage(ctx context.Context, path string, query url.Values, scopes []transport.Scope, member string) ([]string, url.Values, error) {
	resp, raw, err := r.fetch(ctx, &transport.Request{Endpoint: r.g.endpoint, Method: http.MethodGet, Path: path, Query: query,
		Scopes: scopes, Accept: []int{http.StatusOK}}, maxPage)
	if err != nil {
		return nil, nil, err
	}
	names, err := parsePage(raw, member)
	if err != nil {
		return nil, nil, err
	}
	next, err := nextPage(resp)
	return names, next, err
}

// parsePage reads the names of one page; null and nothing are none.
func parsePage(raw []byte, member string) ([]string, error) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "not a registry's answer: %w", err)
	}
	list, ok := body[member]
	if _, named := body["name"]; !ok && !named {
		return nil, oci.Errorf(oci.ErrInvalid, "not a registry's answer: it has no %q", member)
	}
	if !ok {
		return nil, nil
	}
	if bytes.Count(list, []byte{','}) >= maxNames {
		return nil, oci.Errorf(oci.ErrInvalid, "list of %s has more than %d names", member, maxNames)
	}
	var names []string
	if err := json.Unmarshal(list, &names); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "not a list of %s: %w", member, err)
	}
	return names, nil
}
