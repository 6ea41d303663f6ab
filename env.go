// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/dray-tools/dray/internal/credential"
	"github.com/dray-tools/dray/internal/registries"
	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/store"
	"github.com/dray-tools/dray/store/registry"
)

// Credential proves who the user is. The zero value is nobody.
type Credential = transport.Credential

// Env is what crosses everything a run does. The zero value works: anonymous,
// with the system's certificates and nothing kept on disk. [System.Env] makes
// one of what Docker and Podman are configured with.
type Env struct {
	Log       *slog.Logger // nil: nothing
	UserAgent string       // "": dray and its version

	// Credentials looks up what the user has for a repository of a host.
	Credentials func(ctx context.Context, host, repository string) (Credential, error)
	// TLS gives the settings for a host; nil, or a nil result: the default.
	TLS func(host string) (*tls.Config, error)
	// Proxy is as in http.Transport; nil: none.
	Proxy func(*http.Request) (*url.URL, error)
	// TrustedRealms are hosts of token services outside of a registry's own
	// site that may see its credentials.
	TrustedRealms []string
	// Registries is the user's registries.conf; nil: none.
	Registries *registries.Config
	// CacheDir keeps what makes an interrupted run go on where it was; "": nothing is kept.
	CacheDir string
	// TempDir is for files that go at the end of the run; "": the system's.
	TempDir string
	// In and Out are what the path "-" of an archive reads and writes.
	In  io.Reader
	Out io.Writer
	// Docker says where the Docker engine is.
	Docker Docker
	// RatePerHost limits the requests a second to each host; 0: no limit.
	RatePerHost float64
}

// Docker is where a Docker engine is, as the environment of its own client
// says it. The zero value is the local one.
type Docker struct {
	Host      string // DOCKER_HOST: unix:///var/run/docker.sock, tcp://host:2375
	CertPath  string // DOCKER_CERT_PATH: a directory with ca.pem, cert.pem and key.pem
	TLSVerify bool   // DOCKER_TLS_VERIFY
}

// A System is what a program tells of the machine that it runs on.
type System struct {
	Getenv func(string) string // os.Getenv
	UID    int                 // os.Getuid()
	GOOS   string              // runtime.GOOS
	In     io.Reader           // what "-" reads; may be nil
	Out    io.Writer           // what "-" writes; may be nil
	Log    *slog.Logger

	// If not empty, used in the place of what the environment says.
	AuthFile, CertDir string
}

// Env reads what Docker and Podman are configured with.
func (s System) Env() (Env, error) {
	warn := func(text string) { s.Log.Warn(text) }
	paths := registries.DefaultPaths(s.Getenv, s.UID, s.GOOS)
	if s.CertDir != "" {
		paths.CertDir = s.CertDir
	}
	conf, err := registries.Load(paths, registries.Options{Warn: warn})
	if err != nil {
		return Env{}, err
	}
	return Env{
		Log:         s.Log,
		Credentials: s.Credentials().Lookup,
		TLS:         registries.OpenCerts(paths, registries.Options{Warn: warn}).TLS,
		Proxy:       http.ProxyFromEnvironment,
		Registries:  conf,
		CacheDir:    cacheDir(s.Getenv, s.GOOS),
		TempDir:     s.Getenv("TMPDIR"),
		In:          s.In,
		Out:         s.Out,
		Docker:      Docker{Host: s.Getenv("DOCKER_HOST"), CertPath: s.Getenv("DOCKER_CERT_PATH"), TLSVerify: s.Getenv("DOCKER_TLS_VERIFY") != ""},
	}, nil
}

// Credentials opens the files and helpers that Docker and Podman keep
// credentials in.
func (s System) Credentials() *credential.Store {
	paths := credential.DefaultPaths(s.Getenv, s.UID, s.GOOS)
	if s.AuthFile != "" {
		paths.AuthFile = s.AuthFile
	}
	return credential.Open(paths, credential.Options{Warn: func(text string) { s.Log.Warn(text) }})
}

// cacheDir is where the system wants caches, with DRAY_CACHE before that.
func cacheDir(getenv func(string) string, goos string) string {
	home := getenv("HOME")
	switch {
	case getenv("DRAY_CACHE") != "":
		return getenv("DRAY_CACHE")
	case getenv("XDG_CACHE_HOME") != "":
		return filepath.Join(getenv("XDG_CACHE_HOME"), "dray")
	case goos == "windows" && getenv("LocalAppData") != "":
		return filepath.Join(getenv("LocalAppData"), "dray")
	case goos == "darwin" && home != "":
		return filepath.Join(home, "Library", "Caches", "dray")
	case home != "":
		return filepath.Join(home, ".cache", "dray")
	}
	return ""
}

// Side says how the registry of a reference is reached.
type Side struct {
	PlainHTTP   bool // http; loopback hosts need no such word
	InsecureTLS bool // https without verifying certificates
}

// A Client does the verbs of one run: its calls share connections, tokens,
// limits and what they learn about hosts. It is safe for concurrent use.
type Client struct {
	env  Env
	http *transport.Client

	mu      sync.Mutex
	hosts   map[transport.Endpoint]*registry.Registry
	closers []io.Closer
}

// New starts a run. Close ends it.
func New(env Env) *Client {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	if env.UserAgent == "" {
		env.UserAgent = "dray/" + Version()
	}
	return &Client{env: env, hosts: map[transport.Endpoint]*registry.Registry{}, http: transport.New(transport.Options{
		UserAgent: env.UserAgent, Log: env.Log, Credentials: env.Credentials, TLS: env.TLS, Proxy: env.Proxy,
		TrustedRealms: env.TrustedRealms, RatePerHost: env.RatePerHost,
	})}
}

// Close lets go of connections, files and temporary files.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.closers {
		x.Close()
	}
	c.closers = nil
	c.http.Close()
}

// open finds the store of a reference.
func (c *Client) open(r ref.Ref, s Side, write bool) (oci.Store, error) {
	st, err := store.Open(r, write, store.Env{
		Registry: func(r ref.Ref) (*registry.Registry, error) { return c.registry(r, s) },
		In:       c.env.In, Out: c.env.Out, TempDir: c.env.TempDir,
		LookPath: exec.LookPath, DockerHost: c.env.Docker.Host, DockerCerts: c.env.Docker.CertPath, DockerVerify: c.env.Docker.TLSVerify,
	})
	if x, ok := st.(io.Closer); ok && err == nil {
		c.closeLater(x)
	}
	return st, err
}

// closeLater makes Close close x.
func (c *Client) closeLater(x io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closers = append(c.closers, x)
}

// registry finds the registry of a reference, one object a run.
func (c *Client) registry(r ref.Ref, s Side) (*registry.Registry, error) {
	e := transport.Endpoint{Host: r.Host, PlainHTTP: s.PlainHTTP, InsecureTLS: s.InsecureTLS}
	if c.env.Registries != nil {
		p, err := c.env.Registries.Primary(r.Host, r.Repository)
		if err != nil {
			return nil, err
		}
		e.InsecureTLS = e.InsecureTLS || p.Insecure
		e.PlainHTTP = e.PlainHTTP || p.Insecure
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.hosts[e]; g != nil {
		return g, nil
	}
	g := registry.New(e, registry.Options{Client: c.http, StateDir: c.env.CacheDir, Log: c.env.Log, Mirrors: c.mirrors(e)})
	c.hosts[e] = g
	return g, nil
}

// mirrors reads registries.conf for a host.
func (c *Client) mirrors(e transport.Endpoint) func(string, bool) ([]registry.Mirror, error) {
	if c.env.Registries == nil {
		return nil
	}
	return func(repository string, byDigest bool) ([]registry.Mirror, error) {
		list, err := c.env.Registries.Endpoints(e.Host, repository, byDigest)
		if err != nil {
			return nil, err
		}
		out := make([]registry.Mirror, len(list))
		for i, m := range list {
			at := transport.Endpoint{Host: m.Host, PlainHTTP: m.Insecure, InsecureTLS: m.Insecure}
			if m.Host == e.Host {
				at = e
			}
			out[i] = registry.Mirror{Endpoint: at, Repository: m.Repository}
		}
		return out, nil
	}
}
