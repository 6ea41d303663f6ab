// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Config is what registries.conf says. The zero value and nil say nothing.
// It is safe for concurrent use.
type Config struct {
	tables []table // each prefix once
}

// table is one [[registry]].
type table struct {
	prefix  string // lower case, may begin with "*."
	file    string
	blocked bool
	primary place // location empty: not rewritten
	mirrors []place
}

type place struct {
	location string
	insecure bool
	noTag    bool // digests only
	noDigest bool // tags only
}

// An Endpoint is where a repository can be reached.
type Endpoint struct {
	Host       string // docker.io, ghcr.io, 127.0.0.1:5000
	Repository string
	// Insecure means https without verifying the certificate, and http if
	// there is no https.
	Insecure bool
}

// Endpoints lists where an image of a repository is to be read, best first:
// the mirrors that serve it, and last the registry itself under its location.
// byDigest tells whether the image is named by digest. The repository of
// docker.io may be given in its short form (busybox for library/busybox).
// ErrDenied, naming the file, if the repository is blocked; ErrInvalid if it
// cannot be one or is rewritten to something that is none.
func (c *Config) Endpoints(host, repository string, byDigest bool) ([]Endpoint, error) {
	t, name, err := c.find(host, repository)
	if err != nil {
		return nil, err
	}
	var out []Endpoint
	for _, p := range append(t.mirrors[:len(t.mirrors):len(t.mirrors)], t.primary) {
		if byDigest && p.noDigest || !byDigest && p.noTag {
			continue
		}
		e, err := t.rewrite(name, p)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Primary is where a repository is to be written, listed or deleted: never a
// mirror and never rewritten, as with Podman and skopeo. Errors as those of
// Endpoints.
func (c *Config) Primary(host, repository string) (Endpoint, error) {
	t, name, err := c.find(host, repository)
	if err != nil {
		return Endpoint{}, err
	}
	e := name.endpoint()
	e.Insecure = t.primary.insecure
	return e, nil
}

// named is a repository in full.
type named struct{ host, repository string }

func (n named) endpoint() Endpoint { return Endpoint{Host: n.host, Repository: n.repository} }

// full is what prefixes are compared with.
func (n named) full() string { return strings.ToLower(n.host) + "/" + n.repository }

func normalize(host, repository string) (named, error) {
	if err := checkHost(host); err != nil {
		return named{}, err
	}
	switch strings.ToLower(host) {
	case "docker.io", "index.docker.io":
		host = "docker.io"
		if !strings.Contains(repository, "/") && repository != "" {
			repository = "library/" + repository
		}
	}
	return named{host, repository}, nil
}

// find returns the table with the longest prefix that matches, or an empty
// one.
func (c *Config) find(host, repository string) (table, named, error) {
	name, err := normalize(host, repository)
	if err != nil {
		return table{}, name, err
	}
	var best table
	if c == nil {
		return best, name, nil
	}
	for _, t := range c.tables {
		if t.match(name.full()) >= 0 && len(t.prefix) > len(best.prefix) {
			best = t
		}
	}
	if best.blocked {
		return table{}, name, oci.Errorf(oci.ErrDenied, "%s is blocked in %s", oci.Quote(name.full()), best.file)
	}
	return best, name, nil
}

// match returns how many bytes of full the prefix covers, or -1. A prefix
// ends where full has a slash or ends too; *.domain covers any host below the
// domain. A prefix without a port is not for another port: containers/image
// lets it match and says not to rely on that.
func (t table) match(full string) int {
	end := len(t.prefix)
	if wild, ok := strings.CutPrefix(t.prefix, "*"); ok {
		domain, path, _ := strings.Cut(wild, "/")
		host, rest, _ := strings.Cut(full, "/")
		if !strings.HasSuffix(host, domain) || len(host) == len(domain) || !strings.HasPrefix(rest, path) {
			return -1
		}
		if end = len(host); path != "" {
			end += 1 + len(path)
		}
	} else if !strings.HasPrefix(full, t.prefix) {
		return -1
	}
	if end == len(full) || full[end] == '/' {
		return end
	}
	return -1
}

// rewrite replaces what the prefix covers by a location.
func (t table) rewrite(name named, p place) (Endpoint, error) {
	if p.location == "" {
		e := name.endpoint()
		e.Insecure = p.insecure
		return e, nil
	}
	full := p.location + name.full()[t.match(name.full()):]
	host, repository, _ := strings.Cut(full, "/")
	to, err := normalize(host, repository)
	if err == nil && (repository == "" && name.repository != "") {
		err = oci.Errorf(oci.ErrInvalid, "%s names no repository", oci.Quote(full))
	}
	if err != nil {
		return Endpoint{}, oci.Errorf(oci.ErrInvalid, "%s: location %s for %s: %w", t.file, oci.Quote(p.location), oci.Quote(t.prefix), err)
	}
	e := to.endpoint()
	e.Insecure = p.insecure
	return e, nil
}
