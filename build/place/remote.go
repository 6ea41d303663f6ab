// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"net/url"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// isURL reports whether a source is fetched by HTTP, or is a repository there.
func isURL(src string) bool {
	return strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://")
}

func isRemote(src string) bool { return isURL(src) }

// discreet is a source without what must not be shown of a URL: credentials, and
// a query, which may have some.
func discreet(src string) string {
	if !strings.Contains(src, "://") {
		return src
	}
	u, err := url.Parse(src)
	if err != nil {
		return "URL"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

func (p *plan) remote(ctx context.Context, e *build.Engine, src string) error {
	return oci.Errorf(oci.ErrUnsupported, "%s: URLs are not fetched yet", discreet(src))
}

func (p *plan) archive(ctx context.Context, v view, k pick) (part, error) { return nil, nil }
