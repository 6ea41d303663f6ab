// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// nextPage reads the query of a Link header with rel="next" (RFC 8288); nil
// if there is none. A link to another host or list is an error: nothing is
// sent there.
func nextPage(resp *http.Response) (url.Values, error) {
	for _, header := range resp.Header.Values("Link") {
		for header != "" {
			var target string
			var rels []string
			if target, rels, header = cutLink(header); !slices.Contains(rels, "next") {
				continue
			}
			here := resp.Request.URL
			u, err := here.Parse(target)
			if err != nil || u.Host != here.Host || u.Scheme != here.Scheme || u.User != nil || u.Path != here.Path {
				return nil, oci.Errorf(oci.ErrDenied, "registry's next page is elsewhere: %s", oci.Quote(target))
			}
			return u.Query(), nil
		}
	}
	return nil, nil
}

// cutLink takes the first link off a header: <target>;rel="a b";title="x", ...
func cutLink(header string) (target string, rels []string, rest string) {
	_, header, _ = strings.Cut(header, "<")
	target, rest, ok := strings.Cut(header, ">")
	if !ok {
		return "", nil, ""
	}
	for {
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, ";") {
			_, rest, _ = strings.Cut(rest, ",")
			return target, rels, rest
		}
		var name, value string
		name, value, rest = cutParam(rest[1:])
		if strings.EqualFold(name, "rel") && rels == nil { // only the first counts
			rels = strings.Fields(strings.ToLower(value))
		}
	}
}

// cutParam takes name=token, name="quoted \" string" or name off the front.
func cutParam(s string) (name, value, rest string) {
	end := strings.IndexAny(s, "=;,")
	if end < 0 {
		end = len(s)
	}
	name, rest = strings.TrimSpace(s[:end]), s[end:]
	if !strings.HasPrefix(rest, "=") {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if !strings.HasPrefix(rest, `"`) {
		end = strings.IndexAny(rest, ";,")
		if end < 0 {
			end = len(rest)
		}
		return name, strings.TrimSpace(rest[:end]), rest[end:]
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '"':
			return name, b.String(), rest[i+1:]
		case rest[i] == '\\' && i+1 < len(rest):
			i++
		}
		b.WriteByte(rest[i])
	}
	return name, b.String(), "" // the quote is not closed
}
