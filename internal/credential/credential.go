// SPDX-License-Identifier: Apache-2.0

// Package credential finds, stores and erases the credentials of registries
// where Docker and Podman keep them: config.json, auth.json and credential
// helpers.
package credential

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// Paths say where credentials are kept; an empty one is skipped.
type Paths struct {
	AuthFile    string // --authfile: instead of all others; it must exist to be read
	EnvAuthFile string // REGISTRY_AUTH_FILE: instead of those below; it need not exist

	RuntimeAuth  string // Podman's $XDG_RUNTIME_DIR/containers/auth.json or /run/containers/UID/auth.json
	UserAuth     string // Podman's $XDG_CONFIG_HOME/containers/auth.json or ~/.config/containers/auth.json
	DockerConfig string // $DOCKER_CONFIG/config.json or ~/.docker/config.json
	DockerLegacy string // ~/.dockercfg
}

// DefaultPaths are the places that containers-auth.json(5) and Docker's manual
// give for an environment. AuthFile stays empty.
func DefaultPaths(getenv func(string) string, uid int, goos string) Paths {
	p := Paths{EnvAuthFile: getenv("REGISTRY_AUTH_FILE")}
	home := getenv("HOME")
	if goos == "windows" {
		home = getenv("USERPROFILE")
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		p.RuntimeAuth = filepath.Join(dir, "containers", "auth.json")
	} else if goos == "linux" {
		p.RuntimeAuth = filepath.Join("/run/containers", strconv.Itoa(uid), "auth.json")
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		p.UserAuth = filepath.Join(dir, "containers", "auth.json")
	} else if home != "" {
		p.UserAuth = filepath.Join(home, ".config", "containers", "auth.json")
	}
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		p.DockerConfig = filepath.Join(dir, "config.json")
	} else if home != "" {
		p.DockerConfig = filepath.Join(home, ".docker", "config.json")
	}
	if home != "" {
		p.DockerLegacy = filepath.Join(home, ".dockercfg")
	}
	return p
}

// place is a file to look into.
type place struct {
	path     string
	named    bool // by the user: what is wrong with it is an error
	required bool
	legacy   bool // .dockercfg: the whole document is what auths is elsewhere
}

// reading lists the files of a lookup, first hit first.
func (p Paths) reading() []place {
	switch {
	case p.AuthFile != "":
		return []place{{path: p.AuthFile, named: true, required: true}}
	case p.EnvAuthFile != "":
		return []place{{path: p.EnvAuthFile, named: true}}
	}
	var out []place
	for _, path := range []string{p.RuntimeAuth, p.UserAuth, p.DockerConfig} {
		if path != "" {
			out = append(out, place{path: path})
		}
	}
	if p.DockerLegacy != "" {
		out = append(out, place{path: p.DockerLegacy, legacy: true})
	}
	return out
}

// Options of a Store; the zero value works.
type Options struct {
	// Warn is told once about each thing that is wrong but does not stop the
	// work; it may be called from several goroutines. nil: nobody is told.
	Warn func(string)
	// LookPath finds the program of a helper; nil: exec.LookPath.
	LookPath func(file string) (string, error)
	// Env is the environment of helpers; nil: that of the process.
	Env []string
	// HelperTimeout ends a helper that does not answer; 0: 60 s.
	HelperTimeout time.Duration
	// Now tells the time, for how long the answer of a helper is kept; nil: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.LookPath == nil {
		o.LookPath = exec.LookPath
	}
	if o.HelperTimeout <= 0 {
		o.HelperTimeout = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Docker Hub as it is named here, and the key that Docker writes for it.
const (
	hub    = "docker.io"
	hubKey = "https://index.docker.io/v1/"
)

// canonical checks HOST[:PORT] and brings it into the one form that keys are
// compared in. What could end a line or a name is refused, so that it never
// gets to a helper (as in CVE-2020-5260).
func canonical(host string) (string, error) {
	bad := strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-:[]", r)
	})
	if bad || host == "" || len(host) > 255 || host[0] == '-' || host[0] == '.' {
		return "", oci.Errorf(oci.ErrInvalid, "%s is not the name of a registry", oci.Quote(host))
	}
	return alias(strings.ToLower(host)), nil
}

func alias(host string) string {
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return hub
	}
	return host
}

// writtenKey is the key under which Docker looks for a host.
func writtenKey(host string) string {
	if host == hub {
		return hubKey
	}
	return host
}

// normalKey brings a key of a file into the form HOST[:PORT][/PATH]. Besides
// that form there are URLs in the wild: https://host, https://host/v1/. The
// path of a URL that is not an API version is kept, because it narrows what
// the credential is for.
func normalKey(key string) string {
	s, isURL := strings.CutPrefix(key, "https://")
	if !isURL {
		s, isURL = strings.CutPrefix(key, "http://")
	}
	trimmed := strings.TrimRight(s, "/")
	host, path, _ := strings.Cut(trimmed, "/")
	host = strings.ToLower(host)
	if (path == "v1" || path == "v2") && (isURL || trimmed != s || host == "index.docker.io") {
		path = ""
	}
	if host = alias(host); path == "" {
		return host
	}
	return host + "/" + path
}

// scopes lists the keys that are for a repository, the narrowest first.
func scopes(host, repository string) []string {
	var out []string
	for name := strings.Trim(repository, "/"); name != ""; {
		out = append(out, host+"/"+name)
		i := strings.LastIndexByte(name, '/')
		name = name[:max(i, 0)]
	}
	return append(out, host)
}
