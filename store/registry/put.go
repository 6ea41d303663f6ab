// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// Put stores a blob or a manifest. Requests that tell nothing new are not
// sent: there is no HEAD for what the run knows to be missing, and a mount
// request that the registry does not grant is the upload's first request.
func (r *Repo) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	d := b.Descriptor()
	if err := oci.CheckDescriptor(d); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	f := r.s.known(d)
	if f.present(d.Size) {
		return oci.Existed, nil
	}
	if oci.IsManifest(d.MediaType) {
		return oci.Sent, r.Publish(ctx, b)
	}
	how, err := r.putBlob(ctx, b, from, f)
	return how, oci.Wrap("", r.place(string(d.Digest)), err)
}

func (r *Repo) putBlob(ctx context.Context, b oci.Blob, from []string, f fact) (how oci.How, err error) {
	d := b.Descriptor()
	s := r.saved(d)
	defer s.release()
	reading, cancel := context.WithCancel(context.WithValue(ctx, onward{}, true))
	c := &cursor{ctx: reading, b: b}
	defer c.close()
	defer cancel()
	if s.location != nil { // an upload that another process began
		how, err = r.upload(ctx, c, s)
	} else {
		how, err = r.begin(ctx, c, from, f, s)
	}
	switch {
	case err != nil:
		return 0, err
	case how == oci.Existed:
		r.s.learn(d, told, d.Size)
	default:
		r.s.learn(d, done, d.Size)
	}
	return how, nil
}

// begin finds the shortest way for the blob to get into the repository.
func (r *Repo) begin(ctx context.Context, c *cursor, from []string, f fact, s *session) (oci.How, error) {
	d := c.b.Descriptor()
	if f.suspect {
		from = nil
	}
	if f.presence != missing && len(from) == 0 {
		if !f.suspect && r.looksEmpty(ctx) {
			// No tags, so most likely no blobs. If an interrupted copy has left
			// some, a mount from the repository itself finds them at no cost.
			from = []string{r.name}
		} else if there, err := r.has(ctx, d); there || err != nil {
			return oci.Existed, err
		}
	}
	if len(from) == 0 || from[0] == r.name {
		c.ahead() // it will be sent
	}
	if mounted, err := r.mountAny(ctx, d, from, s); err != nil || mounted == r.name {
		return oci.Existed, err
	} else if mounted != "" {
		return oci.Mounted, nil
	}
	if s.location == nil {
		if err := r.start(ctx, d, s); err != nil {
			return 0, err
		}
	}
	return r.upload(ctx, c, s)
}

// has asks the registry itself for a blob. One of another size is not the
// blob, and may be replaced by it.
func (r *Repo) has(ctx context.Context, d oci.Descriptor) (bool, error) {
	size, err := r.statAt(ctx, r.home(), d)
	if isKind(err, oci.ErrNotFound) {
		return false, nil
	}
	if err == nil && size >= 0 && size != d.Size {
		r.g.o.Log.Warn("registry has a blob of another size, sending it again", "blob", d.Digest, "size", size, "want", d.Size)
		return false, nil
	}
	return err == nil, err
}

// mountAny asks for the blob of one repository after the other and returns
// the one that it was mounted from; "" if none, and then there may be an upload
// session.
func (r *Repo) mountAny(ctx context.Context, d oci.Descriptor, from []string, s *session) (string, error) {
	for _, repo := range from {
		if !oci.IsRepository(repo) || r.g.noCrossMount.Load() || repo == r.name && r.g.noSelfMount.Load() {
			continue
		}
		if s.location != nil { // another repository may have it
			r.cancel(ctx, s)
		}
		if mounted, err := r.mount(ctx, d, repo, s); mounted || err != nil {
			return repo, err
		}
	}
	return "", nil
}

// mount asks for a blob of another repository. If it is not granted, the
// answer is an upload session (distribution-spec, "Mounting a blob from
// another repository"), or nothing usable.
func (r *Repo) mount(ctx context.Context, d oci.Descriptor, from string, s *session) (bool, error) {
	scopes := r.push()
	if from != r.name {
		scopes = append(scopes, transport.Scope{Repository: from, Actions: "pull"})
	}
	q := transport.Request{Method: http.MethodPost, Path: r.path("/blobs/uploads/"),
		Query: algorithm(d, url.Values{"mount": {string(d.Digest)}, "from": {from}}), Scopes: scopes,
		Accept: []int{http.StatusCreated, http.StatusAccepted}}
	resp, err := r.do(ctx, q)
	var status *transport.Error
	switch {
	case err == nil:
	case errors.As(err, &status) && status.Status < 500 && status.Status != http.StatusTooManyRequests:
		// Some registries answer a mount they do not grant with an error, as
		// Harbor and Docker Hub have done (go-containerregistry 1393, 1741).
		if status.Status == http.StatusMethodNotAllowed {
			r.g.noCrossMount.Store(true)
		} else if from == r.name { // it may only dislike to be asked for what it does not have
			r.g.noSelfMount.Store(true)
		}
		return false, nil
	default:
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return true, nil
	}
	_ = r.opened(resp, s) // without a usable Location an upload is started anew
	return false, nil
}

// start opens an upload session.
func (r *Repo) start(ctx context.Context, d oci.Descriptor, s *session) error {
	s.location, s.offset = nil, 0
	resp, err := r.do(ctx, transport.Request{Method: http.MethodPost, Path: r.path("/blobs/uploads/"),
		Query: algorithm(d, url.Values{}), Scopes: r.push(), Accept: []int{http.StatusAccepted}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return r.opened(resp, s)
}

// opened notes the session that an answer offers.
func (r *Repo) opened(resp *http.Response, s *session) error {
	u, err := r.g.o.Client.Location(resp)
	if err != nil {
		return err
	}
	s.location, s.offset, s.minChunk = u, 0, 0
	if n, err := parseInt(resp.Header.Get("OCI-Chunk-Min-Length")); err == nil {
		s.minChunk = n
	}
	return nil
}

// algorithm adds the one of the digest, where it is not the one that
// registries expect.
func algorithm(d oci.Descriptor, q url.Values) url.Values {
	if d.Digest != "" && d.Digest.Algorithm() != "sha256" {
		q.Set("digest-algorithm", string(d.Digest.Algorithm()))
	}
	return q
}
