// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

var acceptManifests = http.Header{"Accept": {strings.Join(oci.ManifestTypes[:], ", ") + ", */*;q=0.1"}}

func isKind(err, kind error) bool { return errors.Is(err, kind) }

// Resolve asks for a tag or digest with HEAD, and with GET where the registry
// does not answer HEAD in full.
func (r *Repo) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	want, err := oci.ParseDigest(name)
	if err != nil && !oci.IsTag(name) {
		return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(name))
	}
	places, err := r.asked(want != "")
	if err != nil {
		return oci.Descriptor{}, oci.Wrap("", r.place(name), err)
	}
	d, err := first(ctx, r, places, func(m Mirror) (oci.Descriptor, error) {
		d, err := r.resolveAt(ctx, m, name, want)
		if err == nil && r.own(m) {
			r.s.learn(d, told, d.Size)
		}
		if want == "" && r.own(m) && (err == nil || isKind(err, oci.ErrNotFound)) {
			r.s.resolved(err == nil)
		}
		return d, err
	})
	return d, oci.Wrap("", r.place(name), err)
}

// resolveAt asks one place; want is the digest, if that is what was named.
func (r *Repo) resolveAt(ctx context.Context, m Mirror, name string, want oci.Digest) (oci.Descriptor, error) {
	q := r.read(m, http.MethodHead, "/manifests/"+name)
	q.Header = acceptManifests
	resp, err := r.g.o.Client.Do(ctx, q)
	if err == nil {
		resp.Body.Close()
		if d, ok, err := describe(resp, want); ok || err != nil {
			r.saw(m, name, d.Digest, resp)
			return d, err
		}
	} else if !(isKind(err, oci.ErrUnsupported) || r.confirm && isKind(err, oci.ErrNotFound)) {
		return oci.Descriptor{}, err
	}
	manifest, resp, err := r.get(ctx, m, name)
	if err != nil {
		return oci.Descriptor{}, err
	}
	r.saw(m, name, manifest.Descriptor.Digest, resp)
	return manifest.Descriptor, nil
}

// describe makes a descriptor of an answer's headers, if they are all there.
// Those of schema 1 are not believed: signed manifests have another digest
// than their bytes.
func describe(resp *http.Response, want oci.Digest) (d oci.Descriptor, ok bool, err error) {
	digest, bad := oci.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	if want != "" {
		if bad == nil && digest != want && digest.Algorithm() == want.Algorithm() {
			return d, false, oci.Errorf(oci.ErrCorrupt, "registry answers with digest %s", digest)
		}
		digest, bad = want, nil
	}
	d = oci.Descriptor{MediaType: mediaType(resp), Digest: digest, Size: resp.ContentLength}
	old := d.MediaType == oci.MediaSchema1 || d.MediaType == oci.MediaSchema1Signed
	return d, bad == nil && d.Size > 0 && d.Size <= oci.MaxManifest && oci.IsManifest(d.MediaType) && !old, nil
}

func mediaType(resp *http.Response) string {
	mt, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mt
}

// get reads a manifest by a tag or a digest. What it is called is computed from
// its bytes, not taken from headers.
func (r *Repo) get(ctx context.Context, m Mirror, name string) (*oci.Manifest, *http.Response, error) {
	raw, resp, err := r.raw(ctx, m, name)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := oci.ParseManifest(mediaType(resp), raw)
	if err != nil {
		return nil, nil, err
	}
	if want, err := oci.ParseDigest(name); err == nil {
		manifest.Descriptor.Digest = want
	} else if told, err := oci.ParseDigest(resp.Header.Get("Docker-Content-Digest")); err == nil && told.Algorithm().FromBytes(raw) == told {
		manifest.Descriptor.Digest = told // perhaps not sha256
	}
	return manifest, resp, nil
}

// raw reads the bytes of a manifest. By digest they are the right ones.
func (r *Repo) raw(ctx context.Context, m Mirror, name string) ([]byte, *http.Response, error) {
	q := r.read(m, http.MethodGet, "/manifests/"+name)
	q.Header = acceptManifests
	resp, raw, err := r.fetch(ctx, q, oci.MaxManifest)
	if err != nil {
		return nil, nil, err
	}
	if mt := mediaType(resp); !oci.IsManifest(mt) && strings.HasPrefix(mt, "text/") {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "not a registry's answer: it is %s, not a manifest", oci.Quote(mt))
	}
	if want, err := oci.ParseDigest(name); err == nil {
		if got := want.Algorithm().FromBytes(raw); got != want {
			return nil, nil, oci.Errorf(oci.ErrCorrupt, "content has digest %s, want %s", got, want)
		}
	}
	return raw, resp, nil
}

// fetch reads a small answer whole, and asks again for one that breaks off.
func (r *Repo) fetch(ctx context.Context, q *transport.Request, limit int64) (*http.Response, []byte, error) {
	for failed := 1; ; failed++ {
		resp, err := r.g.o.Client.Do(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		var buf bytes.Buffer // grows as bytes arrive: a length is a claim
		n, err := io.Copy(&buf, io.LimitReader(resp.Body, limit+1))
		resp.Body.Close()
		switch {
		case err == nil && n > limit:
			return nil, nil, oci.Errorf(oci.ErrInvalid, "answer has more than %d bytes", limit)
		case err == nil:
			return resp, buf.Bytes(), nil
		case ctx.Err() != nil || failed >= downloadAttempts:
			return nil, nil, busy(ctx, err)
		}
		if err := r.g.pause(ctx, failed); err != nil {
			return nil, nil, err
		}
	}
}

// Stat asks for a blob or manifest with HEAD, unless the run knows already.
func (r *Repo) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return d, err
	}
	if ctx.Err() != nil {
		return d, context.Cause(ctx)
	}
	size, err := r.stat(ctx, d)
	switch {
	case err != nil:
	case size < 0 && d.Size <= 0:
		err = oci.Errorf(oci.ErrUnsupported, "registry does not tell the size")
	case size >= 0 && d.Size > 0 && size != d.Size:
		err = oci.Errorf(oci.ErrCorrupt, "registry has %d bytes, want %d", size, d.Size)
	case size >= 0:
		d.Size = size
	}
	return d, oci.Wrap("", r.place(string(d.Digest)), err)
}

func (r *Repo) stat(ctx context.Context, d oci.Descriptor) (int64, error) {
	switch f := r.s.known(d); {
	case f.presence == missing && !r.mirrored(true):
		return 0, oci.ErrNotFound
	case f.presence >= told && (f.size >= 0 || d.Size > 0):
		return f.size, nil
	}
	if !r.confirm && !r.mirrored(true) && r.looksEmpty(ctx) {
		return 0, oci.ErrNotFound
	}
	places, err := r.asked(true)
	if err != nil {
		return 0, err
	}
	return first(ctx, r, places, func(m Mirror) (int64, error) {
		size, err := r.statAt(ctx, m, d)
		if r.own(m) && err == nil {
			r.s.learn(d, told, size)
		} else if r.own(m) && isKind(err, oci.ErrNotFound) {
			r.s.learn(d, missing, 0)
		}
		return size, err
	})
}

// statAt asks one place for the size, which is -1 if it does not tell.
func (r *Repo) statAt(ctx context.Context, m Mirror, d oci.Descriptor) (int64, error) {
	q := r.read(m, http.MethodHead, kindPath(d))
	q.Header = acceptManifests
	resp, err := r.g.o.Client.Do(ctx, q)
	if err == nil {
		resp.Body.Close()
		if resp.ContentLength >= 0 || d.Size > 0 {
			return resp.ContentLength, nil
		}
	} else if !(isKind(err, oci.ErrUnsupported) || r.confirm && isKind(err, oci.ErrNotFound)) {
		return 0, err
	}
	if oci.IsManifest(d.MediaType) {
		raw, _, err := r.raw(ctx, m, string(d.Digest))
		return int64(len(raw)), err
	}
	q = r.read(m, http.MethodGet, kindPath(d))
	q.Large = true
	if resp, err = r.g.o.Client.Do(ctx, q); err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.ContentLength, nil
}

// Open reads a blob or a manifest. A download that breaks off goes on from
// there, at the next mirror if need be.
func (r *Repo) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if err := oci.CheckDescriptor(d); err != nil {
		return nil, err
	}
	if oci.IsManifest(d.MediaType) {
		return r.openManifest(ctx, d)
	}
	rc, err := r.download(&download{ctx: ctx, r: r, d: d, end: d.Size})
	if err != nil {
		return nil, err
	}
	return oci.Verify(rc, d), nil
}

// openManifest reads a manifest whole, so that a place with wrong bytes is
// passed over like one that has none.
func (r *Repo) openManifest(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	places, err := r.mirrors(true)
	if err != nil {
		return nil, oci.Wrap("", r.place(string(d.Digest)), err)
	}
	raw, err := first(ctx, r, places, func(m Mirror) ([]byte, error) {
		raw, _, err := r.raw(ctx, m, string(d.Digest))
		if err == nil && int64(len(raw)) != d.Size {
			err = oci.Errorf(oci.ErrCorrupt, "manifest has %d bytes, want %d", len(raw), d.Size)
		}
		return raw, err
	})
	if err != nil {
		return nil, oci.Wrap("", r.place(string(d.Digest)), err)
	}
	return oci.Bytes(d.MediaType, raw, d.Digest).Open(ctx)
}

// OpenRange reads a part of a blob; see oci.Ranger.
func (r *Repo) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if err := oci.CheckDescriptor(d); err != nil {
		return nil, err
	}
	offset = min(max(offset, 0), d.Size)
	b := &download{ctx: ctx, r: r, d: d, off: offset, end: d.Size, partial: true}
	if length >= 0 && length < d.Size-offset {
		b.end = offset + length
	}
	if b.off == b.end {
		return http.NoBody, nil
	}
	return r.download(b)
}

// download begins a download: as one, or in parts if it is large.
func (r *Repo) download(b *download) (io.ReadCloser, error) {
	if r.g.parallel(b.ctx, b.end-b.off) {
		p := &parts{ctx: b.ctx, r: r, d: b.d, pos: b.off, end: b.end, partial: b.partial}
		if err := p.open(); err != nil {
			return nil, err
		}
		return p, nil
	}
	if err := b.begin(); err != nil {
		return nil, oci.Wrap("", r.place(string(b.d.Digest)), err)
	}
	return b, nil
}

// read starts a request at a place where the repository can be read.
func (r *Repo) read(m Mirror, method, rest string) *transport.Request {
	return &transport.Request{Endpoint: m.Endpoint, Method: method, Path: "/v2/" + m.Repository + rest,
		Scopes: []transport.Scope{{Repository: m.Repository, Actions: "pull"}}}
}

func kindPath(d oci.Descriptor) string {
	if oci.IsManifest(d.MediaType) {
		return "/manifests/" + string(d.Digest)
	}
	return "/blobs/" + string(d.Digest)
}
