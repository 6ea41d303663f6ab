// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

var tagRE = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

func validTag(s string) bool { return tagRE.MatchString(s) }

// Put stores a blob or a manifest. Requests that tell nothing new are not
// sent: there is no HEAD for what the run knows to be missing, and a mount
// request that the registry does not grant is the upload's first request.
func (r *Repo) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	d := b.Descriptor()
	if err := oci.CheckDescriptor(d); err != nil {
		return 0, err
	}
	how, err := r.put(ctx, b, from)
	if err == nil {
		r.s.learn(d.Digest, true)
	}
	return how, oci.Wrap("", r.place(string(d.Digest)), err)
}

func (r *Repo) put(ctx context.Context, b oci.Blob, from []string) (oci.How, error) {
	d := b.Descriptor()
	has, known := r.s.known(d.Digest)
	if has {
		return oci.Existed, nil
	}
	if oci.IsManifest(d.MediaType) {
		return oci.Sent, r.Publish(ctx, b)
	}
	if s := r.saved(d); s != nil { // an upload that another process began
		defer s.release()
		if s.location != nil {
			return oci.Sent, r.upload(ctx, b, s)
		}
		return r.begin(ctx, b, from, known, s)
	}
	return r.begin(ctx, b, from, known, &session{})
}

// begin finds the shortest way for the blob to get into the repository.
func (r *Repo) begin(ctx context.Context, b oci.Blob, from []string, missing bool, s *session) (oci.How, error) {
	d := b.Descriptor()
	if !missing && len(from) == 0 {
		if !r.looksEmpty(ctx) {
			switch _, err := r.statAt(ctx, Mirror{r.g.endpoint, r.name}, d); {
			case err == nil:
				return oci.Existed, nil
			case !isKind(err, oci.ErrNotFound):
				return 0, err
			}
		} else {
			// No tags, so most likely no blobs. If an interrupted copy has left
			// some, a mount from the repository itself finds them at no cost.
			from = []string{r.name}
		}
	}
	for i, repo := range from {
		if r.g.noCrossMount.Load() {
			break
		}
		mounted, err := r.mount(ctx, d, repo, s)
		if err != nil {
			return 0, err
		}
		if mounted && repo == r.name {
			return oci.Existed, nil
		}
		if mounted {
			return oci.Mounted, nil
		}
		if s.location != nil && i < len(from)-1 { // another repository may have it
			r.cancel(ctx, s)
		}
	}
	if s.location == nil {
		if err := r.start(ctx, d, s); err != nil {
			return 0, err
		}
	}
	return oci.Sent, r.upload(ctx, b, s)
}

// mount asks for a blob of another repository. If it is not granted, the
// answer is an upload session (distribution-spec, "Mounting a blob from
// another repository"), or nothing usable.
func (r *Repo) mount(ctx context.Context, d oci.Descriptor, from string, s *session) (bool, error) {
	scopes := r.push()
	if from != r.name {
		scopes = append(scopes, transport.Scope{Repository: from, Actions: "pull"})
	}
	resp, err := r.do(ctx, transport.Request{Method: http.MethodPost, Path: r.path("/blobs/uploads/"),
		Query: url.Values{"mount": {string(d.Digest)}, "from": {from}}, Scopes: scopes,
		Accept: []int{http.StatusCreated, http.StatusAccepted}})
	var status *transport.Error
	switch {
	case err == nil:
	case errors.As(err, &status) && status.Status < 500 && status.Status != http.StatusTooManyRequests:
		// Some registries answer a mount they do not grant with an error, as
		// Harbor and Docker Hub have done (go-containerregistry 1393, 1741).
		r.g.noCrossMount.Store(status.Status == http.StatusMethodNotAllowed || from == r.name)
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
	q := transport.Request{Method: http.MethodPost, Path: r.path("/blobs/uploads/"), Scopes: r.push(), Accept: []int{http.StatusAccepted}}
	if alg := d.Digest.Algorithm(); alg != "sha256" {
		q.Query = url.Values{"digest-algorithm": {string(alg)}}
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return r.opened(resp, s)
}

// Publish stores a manifest under its names, one request each, or under its
// digest if there are none.
func (r *Repo) Publish(ctx context.Context, b oci.Blob, names ...string) error {
	for _, n := range names {
		if !validTag(n) {
			return oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(n))
		}
	}
	d := b.Descriptor()
	raw, err := readBlob(ctx, b)
	if err != nil {
		return err
	}
	targets, query := names, url.Values(nil)
	if len(names) == 0 || d.Digest.Algorithm() != "sha256" {
		targets = []string{string(d.Digest)} // a tag alone would get a sha256 digest
		if len(names) > 0 {
			query = url.Values{"tag": names}
		}
	}
	for _, t := range targets {
		resp, err := r.putManifest(ctx, d, raw, t, query, http.Header{"Content-Type": {d.MediaType}})
		if err != nil {
			return oci.Wrap("", r.place(t), err)
		}
		for _, n := range query["tag"] {
			if !slices.Contains(resp.Header.Values("OCI-Tag"), n) {
				return oci.Wrap("", r.place(n), oci.Errorf(oci.ErrUnsupported, "registry cannot tag a manifest whose digest is %s", d.Digest.Algorithm()))
			}
		}
		if err := r.link(ctx, d, raw, resp); err != nil {
			return oci.Wrap("", r.place(t), err)
		}
	}
	r.s.learn(d.Digest, true)
	return nil
}

func (r *Repo) putManifest(ctx context.Context, d oci.Descriptor, raw []byte, target string, query url.Values, h http.Header) (*http.Response, error) {
	resp, err := r.do(ctx, transport.Request{Method: http.MethodPut, Path: r.path("/manifests/" + target), Query: query,
		Scopes: r.push(), Header: h, Size: int64(len(raw)),
		Body: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }})
	var status *transport.Error
	if errors.As(err, &status) && status.Has("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN") {
		return nil, oci.Errorf(oci.ErrNotFound, "registry misses something that the manifest needs: %w", err)
	}
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != string(d.Digest) && d.Digest.Algorithm() == "sha256" {
		return nil, oci.Errorf(oci.ErrCorrupt, "registry has stored digest %s, want %s", oci.Quote(got), d.Digest)
	}
	return resp, nil
}

// Tag gives a name to a manifest that is there.
func (r *Repo) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	m, err := r.get(ctx, Mirror{r.g.endpoint, r.name}, string(d.Digest))
	if err != nil {
		return oci.Wrap("", r.place(string(d.Digest)), err)
	}
	return r.Publish(ctx, m.Blob(), name)
}

// readBlob reads a manifest that is about to be sent.
func readBlob(ctx context.Context, b oci.Blob) ([]byte, error) {
	d := b.Descriptor()
	if d.Size > oci.MaxManifest {
		return nil, oci.Errorf(oci.ErrInvalid, "manifest has %d bytes, more than %d", d.Size, oci.MaxManifest)
	}
	rc, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(oci.Verify(rc, d))
}
