// SPDX-License-Identifier: Apache-2.0

// Package dray moves and inspects container images with registry operations
// alone: no daemon, no root, no image on disk.
//
// It is the library behind the command of the same name: a [Client] has one
// method a verb, names in, values out. [Client.Plan] says what a copy would
// do, and the plan's Run does it; [Client.Copy] is both.
package dray

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime/debug"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/transfer"
)

// version is set by the linker in releases.
var version string

// Version is the version of this build of dray: of a release, of the module as
// a dependency, or "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "github.com/dray-tools/dray" && m.Version != "" && m.Version != "(devel)" {
				return m.Version
			}
		}
	}
	return "devel"
}

// A Pair is one thing to copy and where to.
type Pair struct{ From, To string }

// CopyOptions are the transfer's own, how both ends are reached, and what is
// changed on the way.
type CopyOptions struct {
	transfer.Options
	From, To Side
	// Packing gives layers another compression; nil: they stay as they are,
	// except that those which are not compressed at all in an archive or engine
	// get gzip on their way to a registry or layout.
	Packing *layer.Packing
	// MediaTypes is "oci" or "docker": manifests and layers get media types of
	// that family; "": they stay.
	MediaTypes string
	// NoWork makes a Plan with Packing fail rather than read and compress layers
	// that have not been compressed like that before: for dry runs.
	NoWork bool
	// Packs, if given, is called when a layer begins to be read for its new
	// compression, with 0, and with the number of bytes each time some have been
	// read. Several goroutines call it.
	Packs func(d oci.Descriptor, n int)
}

// Plan finds out what copying the pairs would do. It writes nothing. A To
// without a tag means the tag latest in a registry and no name in a layout; a
// To with a digest wants just that digest.
func (c *Client) Plan(ctx context.Context, pairs []Pair, o CopyOptions) (*transfer.Plan, error) {
	if o.Referrers && (o.Packing != nil || o.MediaTypes != "") {
		return nil, oci.Errorf(oci.ErrInvalid, "signatures and SBOMs are about an image as it is: they cannot come along when its compression or media types change")
	}
	jobs := make([]transfer.Job, len(pairs))
	at := opening{map[string]oci.Store{}, map[string]oci.Source{}}
	for i, p := range pairs {
		j, err := c.job(at, p, o)
		if err != nil {
			return nil, err
		}
		jobs[i] = j
	}
	return transfer.Make(ctx, jobs, o.Options)
}

func (c *Client) job(at opening, p Pair, o CopyOptions) (j transfer.Job, err error) {
	from, err := ref.Parse(p.From)
	if err != nil {
		return j, err
	}
	to, err := ref.ParseAny(p.To)
	if err != nil {
		return j, err
	}
	if to.Scheme == ref.Registry && to.Name == "" && to.Digest == "" {
		to.Name = "latest"
	}
	j = transfer.Job{Name: from.Target(), Tag: to.Name, Want: to.Digest, FromRef: from.String(), ToRef: to.String()}
	switch to.Scheme {
	case ref.DockerArchive, ref.Daemon, ref.Podman:
		j.Single = true
	}
	if j.From, err = c.source(at, from, to, o); err != nil {
		return j, err
	}
	j.To, err = c.opened(at, "to ", to, o.To, true)
	return j, err
}

func (c *Client) opened(at opening, side string, r ref.Ref, s Side, write bool) (oci.Store, error) {
	key := side + r.Repo().String()
	if r.Scheme == ref.Daemon || r.Scheme == ref.Podman { // a store for each image
		key = side + r.String()
	}
	if st := at.stores[key]; st != nil {
		return st, nil
	}
	st, err := c.open(r, s, write)
	if err != nil {
		return nil, err
	}
	at.stores[key] = st
	return st, nil
}

// Copy copies one image, index or artifact and returns the digest that is at
// the destination afterwards.
func (c *Client) Copy(ctx context.Context, from, to string, o CopyOptions) (oci.Digest, error) {
	p, err := c.Plan(ctx, []Pair{{from, to}}, o)
	if err != nil {
		return "", err
	}
	return p.Images[0].Digest, p.Run(ctx)
}

// resolve opens the store of a reference and looks up what it names; with a
// platform, the child of that platform.
func (c *Client) resolve(ctx context.Context, name string, s Side, p *oci.Platform) (ref.Ref, oci.Store, oci.Descriptor, error) {
	r, err := ref.Parse(name)
	if err != nil {
		return r, nil, oci.Descriptor{}, err
	}
	st, err := c.open(r, s, false)
	if err != nil {
		return r, nil, oci.Descriptor{}, err
	}
	d, err := st.Resolve(ctx, r.Target())
	if err == nil && p != nil {
		d, err = child(ctx, st, d, *p)
		err = oci.Wrap("", r.String(), err)
	}
	return r, st, d, err
}

// child finds the manifest of a platform in an index. A single image is taken
// as it is if its config says that platform.
func child(ctx context.Context, s oci.Source, d oci.Descriptor, p oci.Platform) (oci.Descriptor, error) {
	m, err := oci.Fetch(ctx, s, d)
	if err != nil {
		return d, err
	}
	if !m.IsIndex() {
		have, err := platformOf(ctx, s, m)
		if err == nil && !oci.MatchPlatform(p, have) {
			err = oci.Errorf(oci.ErrNotFound, "image is for %s, not for %s", oci.FormatPlatform(have), oci.FormatPlatform(p))
		}
		return d, err
	}
	for _, x := range m.Manifests {
		if x.Platform != nil && oci.MatchPlatform(p, *x.Platform) {
			return x, nil
		}
	}
	return d, oci.Errorf(oci.ErrNotFound, "index has no %s; it has %s", oci.FormatPlatform(p), platforms(m))
}

// platforms names the platforms of an index, for an error.
func platforms(m *oci.Manifest) string {
	var all []oci.Platform
	for _, x := range m.Manifests {
		if x.Platform != nil {
			all = append(all, *x.Platform)
		}
	}
	return named(all)
}

// named names platforms, for an error.
func named(all []oci.Platform) string {
	var names []string
	for _, p := range all {
		if p.OS != "unknown" && p.OS != "" {
			names = append(names, oci.FormatPlatform(p))
		}
	}
	switch n := len(names); {
	case n == 0:
		return "manifests without a platform"
	case n > 12:
		names = append(names[:12], fmt.Sprintf("%d more", n-12))
	}
	return strings.Join(names, ", ")
}

// Manifest reads a manifest or index as it is; with a platform, that child's.
func (c *Client) Manifest(ctx context.Context, name string, s Side, p *oci.Platform) (*oci.Manifest, error) {
	_, st, d, err := c.resolve(ctx, name, s, p)
	if err != nil {
		return nil, err
	}
	return oci.Fetch(ctx, st, d)
}

// Config reads the config of an image as it is. An index needs a platform,
// unless it holds just one image.
func (c *Client) Config(ctx context.Context, name string, s Side, p *oci.Platform) ([]byte, error) {
	_, st, d, err := c.resolve(ctx, name, s, p)
	if err != nil {
		return nil, err
	}
	m, err := oci.Fetch(ctx, st, d)
	if err == nil && m.IsIndex() {
		if len(m.Manifests) != 1 {
			return nil, oci.Errorf(oci.ErrInvalid, "%s: an index has no config: choose one of its platforms: %s", name, platforms(m))
		}
		m, err = oci.Fetch(ctx, st, m.Manifests[0])
	}
	if err != nil {
		return nil, err
	}
	if m.Config == nil {
		return nil, oci.Errorf(oci.ErrNotFound, "%s: an artifact without config", name)
	}
	return oci.ReadAll(ctx, st, *m.Config, oci.MaxConfig)
}

// Blob opens a blob by REPOSITORY@DIGEST. The caller closes it.
func (c *Client) Blob(ctx context.Context, name string, s Side) (io.ReadCloser, oci.Descriptor, error) {
	r, err := ref.ParseAny(name)
	if err == nil && r.Digest == "" {
		err = oci.Errorf(oci.ErrInvalid, "%s: a blob is named by its digest: want REPOSITORY@DIGEST", oci.Quote(name))
	}
	if err != nil {
		return nil, oci.Descriptor{}, err
	}
	st, err := c.open(r, s, false)
	if err != nil {
		return nil, oci.Descriptor{}, err
	}
	d, err := st.Stat(ctx, oci.Descriptor{Digest: r.Digest})
	if err != nil {
		return nil, d, err
	}
	rc, err := st.Open(ctx, d)
	return rc, d, err
}

// Resolve tells what a reference means now; with a platform, that child.
func (c *Client) Resolve(ctx context.Context, name string, s Side, p *oci.Platform) (oci.Descriptor, error) {
	_, _, d, err := c.resolve(ctx, name, s, p)
	return d, err
}

// Tags lists the tags of a repository in byte order.
func (c *Client) Tags(ctx context.Context, name string, s Side) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r, err := ref.ParseRepository(name)
		if err == nil {
			var st oci.Store
			if st, err = c.open(r, s, false); err == nil {
				l, ok := oci.As[oci.Lister](st)
				if ok {
					l.Tags(ctx)(yield)
					return
				}
				err = oci.Errorf(oci.ErrUnsupported, "%s cannot list tags", oci.Quote(name))
			}
		}
		yield("", err)
	}
}

// Catalog lists the repositories of a registry, where it allows that.
func (c *Client) Catalog(ctx context.Context, host string, s Side) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r, err := ref.ParseHost(host)
		if err == nil {
			g, err2 := c.registry(r, s)
			if err = err2; err == nil {
				g.Repositories(ctx)(yield)
				return
			}
		}
		yield("", err)
	}
}

// Tag gives more names to what a reference means, in the same repository.
// ErrUnsupported for places whose own tools have to do that.
func (c *Client) Tag(ctx context.Context, name string, s Side, tags ...string) (oci.Descriptor, error) {
	r, err := ref.Parse(name)
	if err == nil && (r.Scheme == ref.Daemon || r.Scheme == ref.Podman || r.Scheme == ref.Dir) {
		err = oci.Errorf(oci.ErrUnsupported, "%s: dray gives no names there", oci.Quote(name))
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	st, err := c.open(r, s, true)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d, err := st.Resolve(ctx, r.Target())
	if err != nil {
		return d, err
	}
	m, err := oci.Fetch(ctx, st, d)
	if err != nil {
		return d, err
	}
	if err := oci.Publish(ctx, st, m.Blob(), tags...); err != nil {
		return d, err
	}
	if w, ok := oci.As[oci.Committer](st); ok {
		err = w.Commit(ctx)
	}
	return d, err
}

// Login verifies a credential with a registry. It stores nothing.
func (c *Client) Login(ctx context.Context, host string, s Side, cred Credential) error {
	r, err := ref.ParseHost(host)
	if err != nil {
		return err
	}
	return c.http.Login(ctx, transport.Endpoint{Host: r.Host, PlainHTTP: s.PlainHTTP, InsecureTLS: s.InsecureTLS}, cred)
}
