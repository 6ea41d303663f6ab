// SPDX-License-Identifier: Apache-2.0

package place

import (
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A gitRef is a directory of a repository of git at a commit.
type gitRef struct {
	remote     string
	ref        string // a branch, a tag, a commit or a full name; "": HEAD
	subdir     string
	checksum   string // of the commit, or its beginning
	keep       bool   // .git
	submodules bool
}

// scp is the form of ssh that has no scheme: USER@HOST:PATH.
var scp = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*@([A-Za-z0-9][A-Za-z0-9.-]*):([^-].*)$`)

// isGit reports whether a source is a repository of git. Over HTTP its path ends
// with .git.
func isGit(src string) bool {
	for _, scheme := range []string{"git://", "ssh://", "file://"} {
		if strings.HasPrefix(src, scheme) {
			return true
		}
	}
	if isURL(src) {
		u, err := url.Parse(src)
		return err == nil && strings.HasSuffix(u.Path, ".git")
	}
	return scp.MatchString(src)
}

// parseGit reads REPOSITORY#REF:SUBDIR, or REPOSITORY?ref=REF&subdir=SUBDIR. What
// git could take for an option, or for more than a name, is refused.
func parseGit(src string) (g gitRef, err error) {
	g.submodules = true
	rest, fragment, _ := strings.Cut(src, "#")
	rest, query, _ := strings.Cut(rest, "?")
	g.remote = rest
	g.ref, g.subdir, _ = strings.Cut(fragment, ":")
	values, err := url.ParseQuery(query)
	if err != nil {
		return g, oci.Errorf(oci.ErrInvalid, "its query cannot be read")
	}
	for k, v := range values {
		if len(v) > 1 {
			return g, oci.Errorf(oci.ErrInvalid, "%s is there twice in its query", oci.Quote(k))
		}
		if err := g.option(k, v[0]); err != nil {
			return g, err
		}
	}
	return g, g.check()
}

// option reads a part of the query.
func (g *gitRef) option(key, value string) (err error) {
	yes := func() (bool, error) {
		if value == "" {
			return true, nil
		}
		b, err := strconv.ParseBool(value)
		if err != nil {
			err = oci.Errorf(oci.ErrInvalid, "%s is neither true nor false: %s", key, oci.Quote(value))
		}
		return b, err
	}
	set := func(to *string, value string) error {
		if *to != "" && *to != value {
			return oci.Errorf(oci.ErrInvalid, "it has two values for %s: %s and %s", key, oci.Quote(*to), oci.Quote(value))
		}
		*to = value
		return nil
	}
	switch key {
	case "ref":
		return set(&g.ref, value)
	case "branch":
		return set(&g.ref, "refs/heads/"+strings.TrimPrefix(value, "refs/heads/"))
	case "tag":
		return set(&g.ref, "refs/tags/"+strings.TrimPrefix(value, "refs/tags/"))
	case "subdir":
		return set(&g.subdir, value)
	case "checksum", "commit":
		return set(&g.checksum, value)
	case "keep-git-dir":
		g.keep, err = yes()
	case "submodules":
		g.submodules, err = yes()
	default:
		err = oci.Errorf(oci.ErrInvalid, "its query has %s, which means nothing", oci.Quote(key))
	}
	return err
}

var (
	commitForm = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	sumForm    = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
)

// check refuses what git could misunderstand.
func (g *gitRef) check() error {
	if strings.ContainsFunc(g.remote+g.ref+g.subdir, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return oci.Errorf(oci.ErrInvalid, "it has control characters")
	}
	if !scp.MatchString(g.remote) {
		u, err := url.Parse(g.remote)
		if err != nil || u.Scheme != "file" && (u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-")) || strings.HasPrefix(u.User.Username(), "-") ||
			strings.HasPrefix(strings.TrimLeft(u.Path, "/"), "-") {
			return oci.Errorf(oci.ErrInvalid, "it is no URL of a repository")
		}
	}
	bad := strings.HasPrefix(g.ref, "-") || strings.Contains(g.ref, "..") || strings.Contains(g.ref, "@{") || strings.ContainsAny(g.ref, " ~^:?*[\\") ||
		strings.HasSuffix(g.ref, "/") || strings.HasSuffix(g.ref, ".lock")
	switch {
	case bad:
		return oci.Errorf(oci.ErrInvalid, "%s is no name of a branch, tag or commit", oci.Quote(g.ref))
	case g.checksum != "" && !sumForm.MatchString(g.checksum):
		return oci.Errorf(oci.ErrInvalid, "checksum %s: want at least 7 digits of a commit", oci.Quote(g.checksum))
	}
	if g.subdir = path.Clean("/" + g.subdir)[1:]; g.subdir == "" {
		g.subdir = "."
	}
	return nil
}
