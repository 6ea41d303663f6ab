// SPDX-License-Identifier: Apache-2.0

// Package ref parses and prints references: the names by which users mean an
// image, a repository or a registry.
//
//	ghcr.io/a/b:1                  a tag in a registry
//	ghcr.io/a/b@sha256:…           a digest in a registry
//	ghcr.io/a/b:1@sha256:…         the digest; the tag is a comment
//	busybox                        docker.io/library/busybox:latest, as Docker reads it
//	docker://ghcr.io/a/b:1         skopeo's spelling of the first
//	oci:DIR  oci:DIR:NAME  oci:DIR:@N  oci:DIR@sha256:…   an OCI layout directory
//	oci-archive:FILE[:NAME]        an OCI layout in a tar; - is stdin or stdout
//	docker-archive:FILE[:NAME]     what docker save writes
//	dir:DIR                        skopeo's directory of one image
//	docker-daemon:NAME             an image of a Docker engine
//	containers-storage:NAME        an image of Podman and its relatives
package ref

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/dray-tools/dray/oci"
)

// The schemes: kinds of stores, named as skopeo names them.
const (
	Registry      = "docker"
	Layout        = "oci"
	OCIArchive    = "oci-archive"
	DockerArchive = "docker-archive"
	Dir           = "dir"
	Daemon        = "docker-daemon"
	Podman        = "containers-storage"
)

// never are schemes of other tools that dray has no store for: read as names
// they would quietly mean repositories of Docker Hub.
var never = map[string]string{
	"ostree": "", "sif": "", "tarball": "", "atomic": "",
	"ocidir": "; oci:DIR:NAME is a layout", "docker-tar": "; docker-archive:FILE is what docker save writes",
}

// A Ref is a parsed reference. Registries have a Repository (as a whole only a
// Host), files and directories a Path, engines only a Name.
type Ref struct {
	Scheme     string
	Host       string     // of a registry, as Docker names it: docker.io, ghcr.io, 127.0.0.1:5000
	Repository string     // within the registry: library/busybox
	Path       string     // of a file or directory; "-" is a pipe
	Name       string     // a tag; in files any name, or @N for the Nth image; in engines all of it; "" if not given
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
	if !found {
		return parseRegistry(s, s)
	}
	switch scheme {
	case Registry:
		if strings.HasPrefix(rest, "//") {
			return parseRegistry(s, rest[2:])
		}
	case Layout, OCIArchive, DockerArchive, Dir:
		return parseFile(s, scheme, rest)
	case Daemon, Podman:
		return parseEngine(s, scheme, rest)
	}
	if hint, ok := never[scheme]; ok {
		return Ref{}, oci.Errorf(oci.ErrUnsupported, "reference %s: dray has no store %s:%s", oci.Quote(s), scheme, hint)
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
	if bareHost(name) {
		return Ref{}, invalid(s, errors.New("a registry without a repository: want HOST/REPOSITORY[:TAG]"))
	}
	return r, nil
}

// bareHost reports whether what Docker would read as an image of Docker Hub
// with a number for its tag is the address of a registry.
func bareHost(name string) bool {
	host, port, ok := strings.Cut(name, ":")
	if !ok || strings.ContainsAny(name, "/@") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= 80 && (host == "localhost" || strings.Contains(host, "."))
}

// number is what means an image by its place: FILE:@N.
var number = regexp.MustCompile(`:@[0-9]{1,9}$`)

// parseFile reads PATH[:NAME|:@N][@DIGEST]; a directory of skopeo's kind has
// no names.
func parseFile(s, scheme, rest string) (Ref, error) {
	r := Ref{Scheme: scheme, Path: rest}
	if at := strings.LastIndex(rest, "@"); at >= 0 && !inPath(rest[at+1:]) && !number.MatchString(rest) {
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
	if i := strings.Index(r.Path[drive:], ":"); i >= 0 && scheme != Dir {
		r.Path, r.Name = r.Path[:drive+i], r.Path[drive+i+1:]
		if r.Name == "" {
			return Ref{}, invalid(s, errors.New("the name after the path is empty"))
		}
	}
	if r.Path == "" {
		return Ref{}, invalid(s, errors.New("no path given"))
	}
	return r, control(s)
}

// parseEngine reads what names an image of an engine, which is the engine's
// to understand.
func parseEngine(s, scheme, rest string) (Ref, error) {
	if rest == "" || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "//") {
		return Ref{}, invalid(s, errors.New("want the name of an image after "+scheme+":"))
	}
	return Ref{Scheme: scheme, Name: rest}, control(s)
}

func control(s string) error {
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return invalid(s, errors.New("control character"))
	}
	return nil
}

// Local reports whether the reference is to a file or directory of this
// machine.
func (r Ref) Local() bool { return r.Path != "" }

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
	case r.Scheme == Daemon, r.Scheme == Podman:
		return r.Scheme + ":" + r.Name
	case r.Path != "":
		s = r.Scheme + ":" + r.Path
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
