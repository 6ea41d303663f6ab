// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

// An Adopter is a store that can take over a file by renaming it. The file has
// been verified against d, and was not synced to the disk. If it fails, the
// file must still be there; after ErrUnsupported it is copied with Put.
type Adopter interface {
	Adopt(ctx context.Context, path string, d oci.Descriptor) (oci.How, error)
}

// startUpload answers POST: a mount, an upload in one request, or the start of
// one in several (distribution-spec, "Pushing blobs").
func (c *call) startUpload() error {
	q := c.at.query
	if q.Has("mount") {
		if mounted, err := c.mount(q.Get("mount"), q.Get("from")); mounted || err != nil {
			return err
		}
	}
	alg, err := algorithm(q.Get("digest-algorithm"))
	if err != nil {
		return err
	}
	want := oci.Digest("")
	if q.Has("digest") && !c.Quirks.NoMonolithicPost && !q.Has("mount") {
		if want, err = parseDigest(q.Get("digest")); err != nil {
			return err
		}
		alg = want.Algorithm()
	}
	s, err := c.uploads.start(c.at.name, alg, clientOf(c.r))
	if err != nil {
		return err
	}
	if want == "" {
		if n := c.Quirks.ChunkMinLength; n > 0 {
			c.w.Header().Set("Oci-Chunk-Min-Length", strconv.FormatInt(n, 10))
		}
		c.progress(s)
		c.w.WriteHeader(http.StatusAccepted)
		return nil
	}
	if err := s.take(); err != nil {
		return err
	}
	defer s.give()
	defer c.uploads.end(s) // nobody knows its id
	if _, err := c.receive(s); err != nil {
		return err
	}
	return c.keep(s, want)
}

func algorithm(name string) (digest.Algorithm, error) {
	switch name {
	case "", "sha256":
		return digest.SHA256, nil
	case "sha512":
		return digest.SHA512, nil
	}
	return "", answer(http.StatusBadRequest, codeDigestInvalid, "unknown digest algorithm "+oci.Quote(name)+", want sha256 or sha512")
}

// mount takes the blob over from a repository that the client may read, or
// from any such one. It is no error if that does not work, the client will
// then send it.
func (c *call) mount(what, from string) (bool, error) {
	d, err := oci.ParseDigest(what)
	if err != nil || c.Quirks.NoMount {
		return false, nil
	}
	c.at.digest = d
	if _, err := c.statBlob(); err == nil {
		c.created(d)
		return true, nil
	}
	if c.Quirks.RejectCrossMount {
		return false, answer(http.StatusForbidden, codeDenied, "mounting from another repository is not allowed")
	}
	ok := false
	if from != "" {
		ok, err = c.mountFrom(d, from)
	} else if !c.Quirks.NoAnonymousMount {
		ok, err = c.mountAny(d)
	}
	if ok {
		c.created(d)
	}
	return ok, err
}

// mountAny looks through all repositories.
func (c *call) mountAny(d oci.Digest) (bool, error) {
	for name, err := range c.catalog.Repositories(c.r.Context()) {
		if err != nil {
			return false, err
		}
		if ok, err := c.mountFrom(d, name); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// mountFrom tells nothing of a repository that the client may not read.
func (c *call) mountFrom(d oci.Digest, from string) (bool, error) {
	name, err := checkName(from)
	if err != nil || c.authorize(Access{name, Pull}) != nil {
		return false, nil
	}
	source, err := c.catalog.Repository(c.r.Context(), name)
	if err != nil {
		return false, nil
	}
	ctx := c.r.Context()
	have, err := source.Stat(ctx, oci.Descriptor{MediaType: octets, Digest: d})
	if err == nil {
		_, err = c.repo.Put(ctx, oci.From(source, have), name)
	}
	if errors.Is(err, oci.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// created answers that a blob is there.
func (c *call) created(d oci.Digest) {
	if !c.Quirks.NoDigestHeader {
		c.w.Header().Set("Docker-Content-Digest", string(d))
	}
	c.w.Header().Set("Location", "/v2/"+c.at.name+"/blobs/"+string(d))
	c.w.WriteHeader(http.StatusCreated)
}

// progress tells where to go on, and how much is there. The header cannot tell
// nothing from one byte; a client that guesses wrong gets a 416.
func (c *call) progress(s *session) {
	h := c.w.Header()
	h.Set("Location", "/v2/"+c.at.name+"/blobs/uploads/"+s.id)
	h.Set("Range", "0-"+strconv.FormatInt(max(0, s.spool.size.Load()-1), 10))
	h.Set("Docker-Upload-Uuid", s.id)
}

// uploadStatus answers GET of an upload, also while somebody writes it.
func (c *call) uploadStatus() error {
	s, err := c.uploads.find(c.at.name, c.at.upload)
	if err != nil {
		return err
	}
	c.progress(s)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// patchUpload answers PATCH: the next chunk, or a stream of unknown length.
func (c *call) patchUpload() error {
	s, err := c.claim()
	if err != nil {
		return err
	}
	defer s.give()
	if short, err := c.receive(s); err != nil {
		return err
	} else if short {
		return c.badChunk(s, "the chunk is shorter than OCI-Chunk-Min-Length")
	}
	c.progress(s)
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// finishUpload answers PUT: the last bytes, if any, and the digest of all.
func (c *call) finishUpload() error {
	want, err := parseDigest(c.at.query.Get("digest"))
	if err != nil {
		return err
	}
	s, err := c.claim()
	if err != nil {
		return err
	}
	defer s.give()
	if _, err := c.receive(s); err != nil {
		return err
	}
	if err = c.keep(s, want); err == nil || errors.Is(err, errWrongDigest) {
		c.uploads.end(s)
	}
	return err
}

// cancelUpload answers DELETE of an upload.
func (c *call) cancelUpload() error {
	s, err := c.claim()
	if err != nil {
		return err
	}
	defer s.give()
	c.uploads.end(s)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// claim finds the session and takes the turn; the caller gives it back.
func (c *call) claim() (*session, error) {
	s, err := c.uploads.find(c.at.name, c.at.upload)
	if err != nil {
		return nil, err
	}
	return s, s.take()
}

// receive appends the body to a session. What arrived of a body that breaks
// off stays, so that the client can go on from there. short says that a chunk
// was refused for its size.
func (c *call) receive(s *session) (short bool, err error) {
	defer c.uploads.touch(s)
	body := io.Reader(c.body())
	before, chunk := s.spool.size.Load(), int64(-1)
	if header := c.r.Header.Get("Content-Range"); header != "" {
		first, last, ok := parseContentRange(header)
		if !ok || first != before {
			return false, c.badChunk(s, "the chunk does not begin where the last one ended")
		}
		chunk = last - first + 1
		if c.r.ContentLength >= 0 && c.r.ContentLength != chunk {
			return false, answer(http.StatusBadRequest, codeSizeInvalid, "Content-Range and Content-Length disagree")
		}
		if c.r.Method == http.MethodPatch && chunk < c.Quirks.ChunkMinLength {
			return true, nil
		}
	}
	limit := c.bodyLimit(before)
	if c.r.ContentLength > limit || chunk > limit {
		return false, errTooLarge
	}
	n, err := s.spool.append(io.LimitReader(body, limit+1))
	switch {
	case isStorage(err):
		return false, err
	case n > limit:
		return false, errors.Join(s.spool.truncate(before), errTooLarge)
	case err != nil:
		return false, answer(http.StatusBadRequest, codeUploadInvalid, "the body ends early")
	case chunk >= 0 && n != chunk:
		return false, errors.Join(s.spool.truncate(before), answer(http.StatusBadRequest, codeSizeInvalid, "the body does not have the size of Content-Range"))
	}
	return false, nil
}

var (
	errTooLarge    = answer(http.StatusRequestEntityTooLarge, codeSizeInvalid, "the blob is too large")
	errWrongDigest = errors.New("wrong digest")
)

// bodyLimit is how many bytes the body may have if that many are there.
func (c *call) bodyLimit(before int64) int64 {
	limit := int64(1<<63 - 2)
	if c.Limits.Blob > 0 {
		limit = max(0, c.Limits.Blob-before)
	}
	if c.Quirks.MaxBody > 0 {
		limit = min(limit, c.Quirks.MaxBody)
	}
	return limit
}

// badChunk answers 416 with what the client needs to go on.
func (c *call) badChunk(s *session, message string) error {
	c.progress(s)
	return answer(http.StatusRequestedRangeNotSatisfiable, codeUploadInvalid, message)
}

// keep moves a whole upload into the repository if it is what the client says.
func (c *call) keep(s *session, want oci.Digest) error {
	got, err := s.spool.digest(want.Algorithm())
	if err != nil {
		return err
	}
	if got != want {
		return errors.Join(errWrongDigest, answer(http.StatusBadRequest, codeDigestInvalid, "what was sent has the digest "+string(got)))
	}
	ctx, d := c.r.Context(), oci.Descriptor{MediaType: octets, Digest: want, Size: s.spool.size.Load()}
	err = oci.ErrUnsupported
	if a, ok := oci.As[Adopter](c.repo); ok && s.spool.path != "" {
		_, err = a.Adopt(ctx, s.spool.path, d)
	}
	if errors.Is(err, oci.ErrUnsupported) {
		_, err = c.repo.Put(ctx, &spooled{d, s.spool})
	}
	if err != nil {
		return err
	}
	c.created(want)
	return nil
}

// spooled is an upload as a blob.
type spooled struct {
	d oci.Descriptor
	s *spool
}

func (b *spooled) Descriptor() oci.Descriptor { return b.d }

func (b *spooled) Open(context.Context) (io.ReadCloser, error) { return b.s.open() }

// body is the request's body. A client that sends nothing for Limits.Stall is
// dropped.
func (c *call) body() io.Reader {
	return &patient{c.r.Body, http.NewResponseController(c.w), c.Limits.Stall}
}

type patient struct {
	r     io.Reader
	conn  *http.ResponseController
	stall time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(p.stall)) // unknown to test recorders
	n, err := p.r.Read(b)
	if err != nil {
		_ = p.conn.SetReadDeadline(time.Time{}) // what follows may take its time
	}
	return n, err
}
