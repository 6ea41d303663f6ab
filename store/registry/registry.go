// SPDX-License-Identifier: Apache-2.0

// Package registry keeps images in registries: a client of the OCI
// distribution specification, version 1.1, and of the Docker registries that
// came before it.
//
// Open a [Registry] once a host and run: its repositories share what they
// learn about the host.
package registry

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// A Mirror is a place where a repository can be read.
type Mirror struct {
	Endpoint   transport.Endpoint
	Repository string
}

// Options say how a registry is reached. Client is required.
type Options struct {
	Client *transport.Client
	// Mirrors lists where a repository may be read, best first; nil or an
	// empty list: the registry itself. Only reading single manifests and blobs
	// uses it, see Primary.
	Mirrors func(repository string, byDigest bool) ([]Mirror, error)
	// StateDir keeps the sessions of unfinished uploads, so that another
	// process can go on with them; "": they are not kept.
	StateDir string
	// ChunkSize is the size in bytes of chunks for registries that limit
	// bodies; 0: 16 MiB.
	ChunkSize int64
	Log       *slog.Logger // nil: nothing
}

// A Registry is one host. It is safe for concurrent use.
type Registry struct {
	endpoint transport.Endpoint
	o        Options

	backoff time.Duration // before the second attempt, see pause
	sizes   partSizes
	memory  *memory

	mu    sync.Mutex
	repos map[string]*state
	tags  map[string]turn // of fallback indexes, by repository and tag

	noReferrers  atomic.Bool  // the host has no referrers API
	noCrossMount atomic.Bool  // the host refuses mounts
	noSelfMount  atomic.Bool  // the host refuses them from the repository itself
	noStream     atomic.Bool  // the host wants to know the length of a body
	noParts      atomic.Bool  // the host sends a blob whole or not at all
	fast         atomic.Bool  // one connection is enough, the last time it was measured
	chunked      atomic.Bool  // the host has refused a body as too large
	chunk        atomic.Int64 // size in bytes of the next chunks
}

var _ oci.Catalog = (*Registry)(nil)

// New opens a registry. It sends nothing.
func New(e transport.Endpoint, o Options) *Registry {
	if o.ChunkSize == 0 {
		o.ChunkSize = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Registry{endpoint: e, o: o, backoff: 50 * time.Millisecond, sizes: defaultSizes, memory: shared, repos: map[string]*state{}, tags: map[string]turn{}}
	g.chunk.Store(o.ChunkSize)
	return g
}

// Repository opens a repository to read and to write.
func (g *Registry) Repository(_ context.Context, name string) (oci.Store, error) {
	return g.Repo(name)
}

// Repo is Repository with its own type.
func (g *Registry) Repo(name string) (*Repo, error) {
	if !oci.IsRepository(name) {
		return nil, oci.Errorf(oci.ErrInvalid, "%s cannot be the name of a repository", oci.Quote(name))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.repos[name]
	if s == nil {
		s = newState()
		g.repos[name] = s
	}
	return &Repo{g: g, name: name, s: s}, nil
}

// A Repo is one repository. It is an oci.Store with all abilities.
type Repo struct {
	g    *Registry
	name string
	s    *state

	confirm bool
	primary bool // what is there is asked at the registry itself alone
}

var _ interface {
	oci.Store
	oci.Lister
	oci.Referrer
	oci.Deleter
	oci.Untagger
	oci.Ranger
	oci.Publisher
	oci.Locator
	oci.Mirrored
	oci.Mover
	oci.Streamer
} = (*Repo)(nil)

// ForReading announces that the repository will be read: credentials are asked
// for that alone, and what HEAD does not find is asked for with GET, as some
// registries need.
func (r *Repo) ForReading() *Repo {
	r.g.o.Client.Expect(r.g.endpoint, r.pull()...)
	c := *r
	c.confirm = true
	return &c
}

// ForWriting announces that the repository will be written, so that the first
// token serves for that too. It is Primary as well.
func (r *Repo) ForWriting() *Repo {
	r.g.o.Client.Expect(r.g.endpoint, r.push()...)
	return r.Primary()
}

// Primary is the repository at the registry itself: no mirror is asked what tags
// mean or what is there. Bytes that a digest names may still come from one.
func (r *Repo) Primary() *Repo {
	c := *r
	c.primary = true
	return &c
}

// Locate tells the host as the user named it, and the repository.
func (r *Repo) Locate() (host, repository string) { return r.g.endpoint.Host, r.name }

// Mirrored implements oci.Mirrored.
func (r *Repo) Mirrored() bool { return r.mirrored(true) || r.mirrored(false) }

func (r *Repo) pull() []transport.Scope {
	return []transport.Scope{{Repository: r.name, Actions: "pull"}}
}

func (r *Repo) push() []transport.Scope {
	return []transport.Scope{{Repository: r.name, Actions: "pull,push"}}
}

func (r *Repo) path(rest string) string { return "/v2/" + r.name + rest }

// place is a manifest or blob of the repository, for errors.
func (r *Repo) place(name string) string {
	sep := ":"
	if _, err := oci.ParseDigest(name); err == nil {
		sep = "@"
	}
	return r.g.endpoint.Host + "/" + r.name + sep + name
}

// do sends a request to the registry itself (not to a mirror).
func (r *Repo) do(ctx context.Context, q transport.Request) (*http.Response, error) {
	q.Endpoint = r.g.endpoint
	return r.g.o.Client.Do(ctx, &q)
}
