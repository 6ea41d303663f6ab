// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

var acceptManifests = http.Header{"Accept": {strings.Join(oci.ManifestTypes[:], ", ") + ", */*;q=0.1"}}

func isKind(err, kind error) bool { return errors.Is(err, kind) }

// Resolve asks for a tag or digest with HEAD, and with GET where the registry
// does not answer HEAD in full.
func (r *Repo) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	_, err := oci.ParseDigest(name)
	byDigest := err == nil
	if !byDigest && !validTag(name) {
		return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "%s cannot be a tag", oci.Quote(name))
	}
	d, err := first(r, byDigest, func(m Mirror) (oci.Descriptor, error) { return r.resolveAt(ctx, m, name) })
	if err == nil && byDigest && string(d.Digest) != name {
		err = oci.Errorf(oci.ErrCorrupt, "registry answers with digest %s", d.Digest)
	}
	if !byDigest {
		r.s.resolved(err == nil)
	}
	if err == nil && r.g.o.Mirrors == nil {
		r.s.learn(d.Digest, true)
	}
	return d, oci.Wrap("", r.place(name), err)
}

func (r *Repo) resolveAt(ctx context.Context, m Mirror, name string) (oci.Descriptor, error) {
	q := r.read(m, http.MethodHead, "/manifests/"+name)
	q.Header = acceptManifests
	resp, err := r.g.o.Client.Do(ctx, q)
	if err == nil {
		resp.Body.Close()
		if d, ok := describe(resp); ok {
			return d, nil
		}
	} else if !(isKind(err, oci.ErrUnsupported) || r.confirm && isKind(err, oci.ErrNotFound)) {
		return oci.Descriptor{}, err
	}
	manifest, err := r.get(ctx, m, name)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return manifest.Descriptor, nil
}

// describe makes a descriptor of an answer's headers, if they are all there.
func describe(resp *http.Response) (oci.Descriptor, bool) {
	d, err := oci.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	mt := mediaType(resp)
	return oci.Descriptor{MediaType: mt, Digest: d, Size: resp.ContentLength}, err == nil && resp.ContentLength > 0 && oci.IsManifest(mt)
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
func (r *Repo) get(ctx context.Context, m Mirror, name string) (*oci.Manifest, error) {
	q := r.read(m, http.MethodGet, "/manifests/"+name)
	q.Header = acceptManifests
	resp, err := r.g.o.Client.Do(ctx, q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(resp.Body, oci.MaxManifest+1)); err != nil {
		return nil, busy(ctx, err)
	}
	mt := mediaType(resp)
	if !oci.IsManifest(mt) && strings.HasPrefix(mt, "text/") {
		return nil, oci.Errorf(oci.ErrInvalid, "not a registry's answer: it is %s, not a manifest", oci.Quote(mt))
	}
	manifest, err := oci.ParseManifest(mt, buf.Bytes())
	if err != nil {
		return nil, err
	}
	want, err := oci.ParseDigest(name)
	if err != nil { // a tag
		return manifest, nil
	}
	if got := want.Algorithm().FromBytes(buf.Bytes()); got != want {
		return nil, oci.Errorf(oci.ErrCorrupt, "content has digest %s, want %s", got, want)
	}
	manifest.Descriptor.Digest = want
	return manifest, nil
}

// Stat asks for a blob or manifest with HEAD, unless the run knows already
// that it is not there.
func (r *Repo) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return d, err
	}
	if has, known := r.s.known(d.Digest); known && (d.Size > 0 || !has) {
		if !has {
			return d, oci.Wrap("", r.place(string(d.Digest)), oci.ErrNotFound)
		}
		return d, nil
	}
	if r.looksEmpty(ctx) {
		return d, oci.Wrap("", r.place(string(d.Digest)), oci.ErrNotFound)
	}
	size, err := first(r, true, func(m Mirror) (int64, error) { return r.statAt(ctx, m, d) })
	if err == nil || isKind(err, oci.ErrNotFound) {
		r.s.learn(d.Digest, err == nil)
	}
	if err == nil && d.Size > 0 && size != d.Size && size >= 0 {
		err = oci.Errorf(oci.ErrCorrupt, "registry has %d bytes, want %d", size, d.Size)
	}
	if err != nil {
		return d, oci.Wrap("", r.place(string(d.Digest)), err)
	}
	d.Size = size
	return d, nil
}

func (r *Repo) statAt(ctx context.Context, m Mirror, d oci.Descriptor) (int64, error) {
	q := r.read(m, http.MethodHead, kindPath(d))
	q.Header = acceptManifests
	resp, err := r.g.o.Client.Do(ctx, q)
	if err == nil {
		resp.Body.Close()
		if resp.ContentLength >= 0 || d.Size > 0 {
			return resp.ContentLength, nil
		}
	} else if !isKind(err, oci.ErrUnsupported) {
		return 0, err
	}
	if oci.IsManifest(d.MediaType) {
		manifest, err := r.get(ctx, m, string(d.Digest))
		if err != nil {
			return 0, err
		}
		return manifest.Descriptor.Size, nil
	}
	q = r.read(m, http.MethodGet, kindPath(d))
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
	b := &download{ctx: ctx, r: r, d: d, end: d.Size}
	if err := b.open(); err != nil {
		return nil, oci.Wrap("", r.place(string(d.Digest)), err)
	}
	return oci.Verify(b, d), nil
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
	if err := b.open(); err != nil {
		return nil, oci.Wrap("", r.place(string(d.Digest)), err)
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

// mirrors lists where to read, best first.
func (r *Repo) mirrors(byDigest bool) ([]Mirror, error) {
	if r.g.o.Mirrors != nil {
		if list, err := r.g.o.Mirrors(r.name, byDigest); err != nil || len(list) > 0 {
			return list, err
		}
	}
	return []Mirror{{Endpoint: r.g.endpoint, Repository: r.name}}, nil
}

// first tries one place after the other. What the last one says counts, and
// wrong content counts at once.
func first[T any](r *Repo, byDigest bool, try func(Mirror) (T, error)) (T, error) {
	var out T
	places, err := r.mirrors(byDigest)
	for i, m := range places {
		if out, err = try(m); err == nil || errors.Is(err, context.Canceled) {
			break
		}
		if i < len(places)-1 {
			r.g.o.Log.Warn("mirror does not help, trying the next", "mirror", m.Endpoint.Host+"/"+m.Repository, "error", err)
		}
	}
	return out, err
}

// busy makes a failed read one that is worth another try, unless the context
// has ended.
func busy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if isKind(err, oci.ErrBusy) || isKind(err, oci.ErrCorrupt) {
		return err
	}
	return oci.Errorf(oci.ErrBusy, "connection lost: %w", err)
}

// contentRange reads "bytes FIRST-LAST/SIZE" (RFC 9110, 14.4); size is -1
// for "*".
func contentRange(s string) (first, last, size int64, ok bool) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, false
	}
	first, err1 := parseInt(a)
	last, err2 := parseInt(b)
	size, err3 := int64(-1), error(nil)
	if total != "*" {
		size, err3 = parseInt(total)
	}
	return first, last, size, err1 == nil && err2 == nil && err3 == nil && first <= last && (size < 0 || last < size)
}

// parseInt reads plain decimal digits: no sign, no blanks.
func parseInt(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}
