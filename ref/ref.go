// SPDX-License-Identifier: Apache-2.0

// Package ref parses and prints references: the names by which users mean an
// image, a repository or a registry.
//
//	ghcr.io/a/b:1                  a tag in a registry
//	ghcr.io/a/b@sha256:…           a digest in a registry
//	ghcr.io/a/b:1@sha256:…         the digest; the tag is a comment
//	busybox                        docker.io/library/busybox:latest, as Docker reads it
//	docker://ghcr.io/a/b:1         skopeo's spelling of the first
//	oci:DIR  oci:DIR:NAME  oci:DIR@sha256:…   an OCI layout directory
package ref

import (
	"errors"
	"strings"

	"github.com/distribution/reference"

	"github.com/dray-tools/dray/oci"
)

// The schemes: kinds of stores.
const (
	Registry = "docker"
	Layout   = "oci"
)

// later are skopeo's schemes that no store is there for yet: read as names
// they would quietly mean repositories of Docker Hub.
var later = []string{"oci-archive", "docker-archive", "dir", "docker-daemon", "containers-storage", "ostree", "sif", "tarball"}

// A Ref is a parsed reference. Exactly one of Repository and Path is set,
// except that a registry as a whole has only a Host.
type Ref struct {
	Scheme     string     // Registry or Layout
	Host       string     // of a registry, as Docker names it: docker.io, ghcr.io, 127.0.0.1:5000
	Repository string     // within the registry: library/busybox
	Path       string     // of a layout
	Name       string     // a tag; in a layout any name; "" if not given
	Digest     oci.Digest // "" if not given
}

// Parse reads a reference to an image. A reference to a registry with neither
// tag nor digest means the tag latest. ErrInvalid if it cannot be one; the
// error quotes s.
func Parse(s string) (Ref, error) {
	r, err := ParseAny(s)
	if err == nil && r.Scheme == Registry && r.Name == "" && r.Digest == "" {
		r.Name = "latest"
	}
	return r, err
}

// ParseRepository reads a reference to a repository: no tag, no digest.
func ParseRepository(s string) (Ref, error) {
	r, err := ParseAny(s)
	if err == nil && (r.Name != "" || r.Digest != "") {
		return Ref{}, invalid(s, errors.New("want a repository, without tag or digest"))
	}
	return r, err
}

// ParseHost reads the name of a registry: HOST or HOST:PORT.
func ParseHost(s string) (Ref, error) {
	host := strings.TrimPrefix(strings.TrimPrefix(s, "docker://"), "https://")
	host = strings.TrimSuffix(host, "/")
	if host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io" {
		host = "docker.io"
	}
	named, err := reference.ParseNormalizedNamed(host + "/x/x")
	if err != nil || reference.Domain(named) != host || reference.Path(named) != "x/x" {
		return Ref{}, invalid(s, errors.New("want the host name of a registry"))
	}
	return Ref{Scheme: Registry, Host: host}, nil
}

// ParseAny reads a reference and adds nothing: without a tag Name is empty.
func ParseAny(s string) (Ref, error) {
	scheme, rest, found := strings.Cut(s, ":")
	switch {
	case found && scheme == Layout:
		return parseLayout(s, rest)
	case found && scheme == Registry && strings.HasPrefix(rest, "//"):
		return parseRegistry(s, rest[2:])
	}
	for _, l := range later {
		if found && scheme == l {
			return Ref{}, oci.Errorf(oci.ErrUnsupported, "reference %s: dray has no store %s: yet", oci.Quote(s), l)
		}
	}
	return parseRegistry(s, s)
}

func parseRegistry(s, name string) (Ref, error) {
	if strings.Contains(name, "://") {
		return Ref{}, invalid(s, errors.New("want HOST/REPOSITORY[:TAG], without "+name[:strings.Index(name, "://")+3]))
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Ref{}, invalid(s, err)
	}
	r := Ref{Scheme: Registry, Host: reference.Domain(named), Repository: reference.Path(named)}
	if t, ok := named.(reference.Tagged); ok {
		r.Name = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		if r.Digest, err = oci.ParseDigest(string(d.Digest())); err != nil {
			return Ref{}, invalid(s, err)
		}
	}
	return r, nil
}

func parseLayout(s, rest string) (Ref, error) {
	r := Ref{Scheme: Layout, Path: rest}
	if at := strings.LastIndex(rest, "@"); at >= 0 && !inPath(rest[at+1:]) {
		d, err := oci.ParseDigest(rest[at+1:])
		if err != nil {
			return Ref{}, invalid(s, err)
		}
		r.Path, r.Digest = rest[:at], d
	}
	drive := 0 // C:\dir:name
	if len(r.Path) > 2 && r.Path[1] == ':' && (r.Path[2] == '\\' || r.Path[2] == '/') {
		drive = 2
	}
	if i := strings.Index(r.Path[drive:], ":"); i >= 0 {
		r.Path, r.Name = r.Path[:drive+i], r.Path[drive+i+1:]
		if r.Name == "" {
			return Ref{}, invalid(s, errors.New("the name after the directory is empty"))
		}
	}
	if r.Path == "" {
		return Ref{}, invalid(s, errors.New("no directory given"))
	}
	for _, c := range r.Path + r.Name {
		if c < ' ' || c == 0x7f {
			return Ref{}, invalid(s, errors.New("control character"))
		}
	}
	return r, nil
}

// inPath reports whether what follows an @ goes on as a path does, as in
// /home/me@example.org/images.
func inPath(s string) bool {
	i := strings.IndexAny(s, `:/\`)
	return i >= 0 && s[i] != ':'
}

func invalid(s string, err error) error {
	return oci.Errorf(oci.ErrInvalid, "reference %s: %w", oci.Quote(s), err)
}

// Target is what a store should Resolve: the digest if there is one, else the
// name.
func (r Ref) Target() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return r.Name
}

// Repo is the reference without tag and digest.
func (r Ref) Repo() Ref {
	r.Name, r.Digest = "", ""
	return r
}

// WithTag is the reference with another name and no digest.
func (r Ref) WithTag(name string) Ref {
	r.Name, r.Digest = name, ""
	return r
}

// WithDigest is the repository at a digest.
func (r Ref) WithDigest(d oci.Digest) Ref {
	r.Name, r.Digest = "", d
	return r
}

// String prints the reference so that Parse reads it back.
func (r Ref) String() string {
	s := r.Host
	switch {
	case r.Scheme == Layout:
		s = Layout + ":" + r.Path
	case r.Repository != "":
		s += "/" + r.Repository
	}
	if r.Name != "" {
		s += ":" + r.Name
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}
