// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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
	maxPage  = 64 << 20 // bytes of one page
)

// Tags lists the tags. Names that cannot be tags are left out with a warning.
func (r *Repo) Tags(ctx context.Context) iter.Seq2[string, error] {
	return sorted(r.page(ctx, r.path("/tags/list"), pageSize, r.pull(), "tags"), func(s string) bool {
		if !validTag(s) {
			r.g.o.Log.Warn("registry lists what cannot be a tag", "tag", oci.Quote(s))
			return false
		}
		return true
	})
}

// Repositories lists the repositories of the registry (_catalog), which not
// every registry allows: ErrDenied, ErrUnauthorized, ErrNotFound or
// ErrUnsupported then.
func (g *Registry) Repositories(ctx context.Context) iter.Seq2[string, error] {
	r := &Repo{g: g, s: &state{}}
	scopes := []transport.Scope{{Actions: "catalog"}}
	return sorted(r.page(ctx, "/v2/_catalog", pageSize, scopes, "repositories"), func(s string) bool { return len(s) <= 255 && nameRE.MatchString(s) })
}

// sorted collects what pages yield, sorts it and leaves out what is twice.
func sorted(pages iter.Seq2[string, error], ok func(string) bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var all []string
		for s, err := range pages {
			if err != nil {
				yield("", err)
				return
			}
			if ok(s) {
				all = append(all, s)
			}
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
		query := url.Values{"n": {strconv.Itoa(n)}}
		seen := map[string]bool{}
		for pages := 0; ; pages++ {
			if pages >= maxPages {
				yield("", oci.Errorf(oci.ErrInvalid, "list at %s has more than %d pages", r.g.endpoint.Host, maxPages))
				return
			}
			names, next, err := r.fetchPage(ctx, path, query, scopes, member)
			if err != nil {
				yield("", oci.Wrap("", strings.TrimSuffix(r.g.endpoint.Host+"/"+r.name, "/"), err))
				return
			}
			fresh := false
			for _, s := range names {
				if seen[s] {
					continue
				}
				seen[s], fresh = true, true
				if !yield(s, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			if !fresh {
				yield("", oci.Errorf(oci.ErrInvalid, "list at %s does not end: a page has nothing new", r.g.endpoint.Host))
				return
			}
			query = next
		}
	}
}

func (r *Repo) fetchPage(ctx context.Context, path string, query url.Values, scopes []transport.Scope, member string) ([]string, url.Values, error) {
	resp, err := r.do(ctx, transport.Request{Method: http.MethodGet, Path: path, Query: query, Scopes: scopes, Accept: []int{http.StatusOK}})
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body := map[string]json.RawMessage{}
	if err := readJSON(ctx, resp, maxPage, &body); err != nil {
		return nil, nil, err
	}
	var names []string
	if raw, ok := body[member]; ok {
		if err := json.Unmarshal(raw, &names); err != nil {
			return nil, nil, oci.Errorf(oci.ErrInvalid, "not a list of %s: %w", member, err)
		}
	} else {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "not a registry's answer: it has no %q", member)
	}
	next, err := nextPage(resp)
	return names, next, err
}

func readJSON(ctx context.Context, resp *http.Response, limit int64, to any) error {
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return busy(ctx, err)
	}
	if n > limit {
		return oci.Errorf(oci.ErrInvalid, "answer has more than %d bytes", limit)
	}
	if err := json.Unmarshal(buf.Bytes(), to); err != nil {
		return oci.Errorf(oci.ErrInvalid, "not a registry's answer: %w", err)
	}
	return nil
}

// nextPage reads the query of a Link header with rel="next" (RFC 8288); nil
// if there is none. A link to another host or list is an error: nothing is
// sent there.
func nextPage(resp *http.Response) (url.Values, error) {
	for _, link := range resp.Header.Values("Link") {
		target, params, ok := strings.Cut(link, ">")
		_, target, ok2 := strings.Cut(target, "<")
		if !ok || !ok2 || !strings.Contains(strings.ToLower(strings.ReplaceAll(params, " ", "")), `rel="next"`) &&
			!strings.Contains(strings.ToLower(strings.ReplaceAll(params, " ", "")), `rel=next`) {
			continue
		}
		u, err := resp.Request.URL.Parse(target)
		if err != nil || u.Host != resp.Request.URL.Host || u.Scheme != resp.Request.URL.Scheme || u.User != nil || u.Path != resp.Request.URL.Path {
			return nil, oci.Errorf(oci.ErrDenied, "registry's next page is elsewhere: %s", oci.Quote(target))
		}
		return u.Query(), nil
	}
	return nil, nil
}
