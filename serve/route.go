// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// kind is a kind of path (distribution-spec, "Endpoints").
type kind int

const (
	atBase kind = iota
	atCatalog
	atTags
	atManifest
	atBlob
	atReferrers
	atUploads
	atUpload
)

// route is what a path means. Everything in it has been checked.
type route struct {
	kind   kind
	name   string     // of the repository
	digest oci.Digest // of blobs, subjects, and of manifests by digest
	tag    string     // of manifests by tag
	upload string
	query  url.Values
}

var uploadForm = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// parseRoute reads a path from the right, because names have slashes. It never
// cleans a path: what is not in its normal form is refused.
func parseRoute(u *url.URL) (r route, err error) {
	escaped := strings.ToLower(u.EscapedPath())
	for _, trick := range []string{"%2f", "%2e", "%5c", "%25"} {
		if strings.Contains(escaped, trick) {
			return r, answer(http.StatusBadRequest, codeNameInvalid, "the path has escapes where none are needed")
		}
	}
	if r.query, err = url.ParseQuery(u.RawQuery); err != nil {
		return r, answer(http.StatusBadRequest, codeUnsupported, "the query is malformed")
	}
	rest, ok := strings.CutPrefix(u.Path, "/v2/")
	switch {
	case u.Path == "/v2" || ok && rest == "":
		return r, nil
	case !ok:
		return r, answer(http.StatusNotFound, codeNameUnknown, "nothing is here but the registry at /v2/")
	case rest == "_catalog":
		r.kind = atCatalog
		return r, nil
	}
	parts := strings.Split(rest, "/")
	n := len(parts)
	part := func(i int) string { // from the right
		if i > n {
			return ""
		}
		return parts[n-i]
	}
	last, cut := part(1), 2
	switch {
	case part(2) == "tags" && last == "list":
		r.kind = atTags
	case part(3) == "blobs" && part(2) == "uploads":
		r.kind, cut = atUpload, 3
	case part(2) == "manifests":
		r.kind = atManifest
	case part(2) == "blobs":
		r.kind = atBlob
	case part(2) == "referrers":
		r.kind = atReferrers
	default:
		return r, answer(http.StatusNotFound, codeNameUnknown, "no such endpoint")
	}
	if r.name, err = checkName(strings.Join(parts[:max(0, n-cut)], "/")); err != nil {
		return r, err
	}
	return r, r.setLast(last)
}

// setLast checks the last part of the path.
func (r *route) setLast(last string) error {
	switch r.kind {
	case atUpload:
		if r.upload = last; last == "" {
			r.kind = atUploads
		} else if !uploadForm.MatchString(last) {
			return answer(http.StatusNotFound, codeUploadUnknown, "no such upload")
		}
		return nil
	case atTags:
		return nil
	case atManifest:
		if oci.IsTag(last) {
			r.tag = last
			return nil
		}
		if !strings.Contains(last, ":") {
			return answer(http.StatusBadRequest, codeTagInvalid, oci.Quote(last)+" cannot be a tag")
		}
	case atBlob:
		if last == "uploads" { // without the slash at its end
			r.kind = atUploads
			return nil
		}
	}
	var err error
	r.digest, err = parseDigest(last)
	return err
}

func parseDigest(s string) (oci.Digest, error) {
	d, err := oci.ParseDigest(s)
	if err != nil {
		return "", answer(http.StatusBadRequest, codeDigestInvalid, err.Error())
	}
	return d, nil
}

// checkName refuses names that cannot be one, and those that contain an
// endpoint of another: a/manifests/b could be read as the manifest b of a.
func checkName(name string) (string, error) {
	bad := answer(http.StatusBadRequest, codeNameInvalid, oci.Quote(name)+" cannot be the name of a repository")
	if !oci.IsRepository(name) {
		return "", bad
	}
	if s := name + "/"; strings.Contains(s, "/tags/list/") || strings.Contains(s, "/blobs/uploads/") {
		return "", bad
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if inside := i > 0 && i < len(parts)-1; inside && slices.Contains([]string{"manifests", "blobs", "referrers"}, part) {
			return "", bad
		}
	}
	return name, nil
}
