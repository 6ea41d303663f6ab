// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
)

// maxTags is how many tag parameters one push may have. The specification
// wants at least ten.
const maxTags = 100

// getManifest answers GET and HEAD of a manifest. Accept is not asked: a
// manifest is what it is, and nothing is converted.
func (c *call) getManifest() error {
	d, err := c.resolve()
	if err != nil {
		return err
	}
	c.describe(d.Digest)
	if matches(c.r.Header.Get("If-None-Match"), d.Digest) {
		return &httpError{status: http.StatusNotModified}
	}
	c.w.Header().Set("Content-Type", d.MediaType)
	if c.r.Method == http.MethodHead {
		c.w.Header().Set("Content-Length", strconv.FormatInt(d.Size, 10))
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	raw, err := oci.ReadAll(c.r.Context(), c.repo, d, oci.MaxManifest)
	if err != nil {
		return orUnknown(err, codeManifestUnknown)
	}
	return c.send(bytes.NewReader(raw), http.StatusOK, int64(len(raw)))
}

// resolve finds the manifest that the path names.
func (c *call) resolve() (oci.Descriptor, error) {
	name := c.at.tag
	if name == "" {
		name = string(c.at.digest)
	}
	d, err := c.repo.Resolve(c.r.Context(), name)
	if err == nil && !oci.IsManifest(d.MediaType) { // a store may resolve any digest
		err = oci.Errorf(oci.ErrNotFound, "%s: not found among the manifests", name)
	}
	return d, orUnknown(err, codeManifestUnknown)
}

// putManifest answers PUT of a manifest, by tag or by digest with or without
// tag parameters (distribution-spec, "Pushing Manifests").
func (c *call) putManifest() error {
	tags, err := c.newTags()
	if err != nil {
		return err
	}
	m, err := c.readManifest()
	if err != nil {
		return err
	}
	if err := c.checkChildren(m); err != nil {
		return err
	}
	if err := c.publish(m, tags); err != nil {
		return err
	}
	h := c.w.Header()
	c.describe(m.Descriptor.Digest)
	h.Set("Location", "/v2/"+c.at.name+"/manifests/"+string(m.Descriptor.Digest))
	if _, ok := oci.As[oci.Referrer](c.repo); ok && m.Subject != nil && !c.Quirks.NoReferrersAPI {
		h.Set("Oci-Subject", string(m.Subject.Digest))
	}
	for _, t := range tags {
		h.Add("Oci-Tag", t)
	}
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// newTags are the tag of the path and those of the query.
func (c *call) newTags() ([]string, error) {
	var tags []string
	if c.at.tag != "" {
		tags = append(tags, c.at.tag)
	}
	if c.Quirks.NoTagParam {
		return tags, nil
	}
	for _, t := range c.at.query["tag"] {
		if !oci.IsTag(t) {
			return nil, answer(http.StatusBadRequest, codeTagInvalid, oci.Quote(t)+" cannot be a tag")
		}
		tags = append(tags, t)
	}
	if len(tags) > maxTags {
		return nil, answer(http.StatusRequestURITooLong, codeTagInvalid, fmt.Sprintf("more than %d tags", maxTags))
	}
	return tags, nil
}

// readManifest reads the body and checks it against the headers and the path.
func (c *call) readManifest() (*oci.Manifest, error) {
	tooLarge := answer(http.StatusRequestEntityTooLarge, codeSizeInvalid, fmt.Sprintf("a manifest may have %d bytes", oci.MaxManifest))
	if c.r.ContentLength > oci.MaxManifest {
		return nil, tooLarge
	}
	raw, err := io.ReadAll(io.LimitReader(c.body(), oci.MaxManifest+1))
	if err != nil {
		return nil, answer(http.StatusBadRequest, codeManifestInvalid, "the body ends early")
	}
	if len(raw) > oci.MaxManifest {
		return nil, tooLarge
	}
	header, mediaType := c.r.Header.Get("Content-Type"), ""
	if header != "" {
		if mediaType, _, err = mime.ParseMediaType(header); err != nil {
			return nil, answer(http.StatusBadRequest, codeManifestInvalid, "Content-Type is malformed")
		}
	}
	m, err := oci.ParseManifest(mediaType, raw)
	if err != nil {
		return nil, answer(http.StatusBadRequest, codeManifestInvalid, err.Error())
	}
	if own := m.Descriptor.MediaType; !oci.IsManifest(own) || mediaType != "" && mediaType != own {
		return nil, answer(http.StatusBadRequest, codeManifestInvalid,
			fmt.Sprintf("the manifest is %s, Content-Type says %s", oci.Quote(own), oci.Quote(mediaType)))
	}
	if c.at.digest != "" {
		if got := c.at.digest.Algorithm().FromBytes(raw); got != c.at.digest {
			return nil, answer(http.StatusBadRequest, codeDigestInvalid, fmt.Sprintf("the manifest has the digest %s", got))
		}
		m.Descriptor.Digest = c.at.digest
	} else {
		m.Descriptor.Digest = digest.FromBytes(raw)
	}
	return m, nil
}

// checkChildren checks that what a manifest needs is in its repository.
func (c *call) checkChildren(m *oci.Manifest) error {
	if m.IsIndex() && !c.Strict || !m.IsIndex() && c.Sparse {
		return nil
	}
	missing := &httpError{status: http.StatusBadRequest}
	seen := map[oci.Digest]bool{}
	for _, d := range m.Children() {
		if seen[d.Digest] || oci.IsForeign(d) || len(d.URLs) > 0 {
			continue
		}
		seen[d.Digest] = true
		want := d.Size
		if !m.IsIndex() {
			d.MediaType = octets // a blob, whatever it calls itself
		}
		have, err := c.repo.Stat(c.r.Context(), d)
		switch {
		case errors.Is(err, oci.ErrNotFound):
			missing.entries = append(missing.entries, errorEntry{codeManifestBlobUnknown, "what the manifest refers to is not here",
				map[string]string{"digest": string(d.Digest)}})
		case err != nil:
			return err
		case have.Size != want:
			missing.entries = append(missing.entries, errorEntry{codeManifestInvalid,
				fmt.Sprintf("%s has %d bytes, the manifest says %d", d.Digest, have.Size, want), nil})
		}
		if len(missing.entries) == 100 {
			break
		}
	}
	if len(missing.entries) > 0 {
		return missing
	}
	return nil
}

// publish stores the manifest and its tags if the preconditions hold.
func (c *call) publish(m *oci.Manifest, tags []string) error {
	ctx := c.r.Context()
	if len(tags) == 0 {
		_, err := c.repo.Put(ctx, m.Blob())
		return err
	}
	lock := c.lock()
	lock.Lock()
	defer lock.Unlock()
	if err := c.precondition(); err != nil {
		return err
	}
	return oci.Publish(ctx, c.repo, m.Blob(), tags...)
}

// lock is what a change of the repository's tags holds, so that nothing comes
// between a precondition and the change.
func (c *call) lock() *sync.Mutex {
	h := fnv.New32a()
	_, _ = io.WriteString(h, c.at.name)
	return &c.naming[h.Sum32()%uint32(len(c.naming))]
}

// precondition checks If-Match and If-None-Match against what the tag of the
// path means now (RFC 9110, section 13).
func (c *call) precondition() error {
	match, none := c.r.Header.Get("If-Match"), c.r.Header.Get("If-None-Match")
	if c.at.tag == "" || match == "" && none == "" {
		return nil
	}
	now, err := c.repo.Resolve(c.r.Context(), c.at.tag)
	missing := errors.Is(err, oci.ErrNotFound)
	if err != nil && !missing {
		return err
	}
	if match != "" && (missing || !matches(match, now.Digest)) || none != "" && !missing && matches(none, now.Digest) {
		return answer(http.StatusPreconditionFailed, codeDenied, "the tag means something else now")
	}
	return nil
}

// deleteManifest answers DELETE: by digest the manifest with its tags, by tag
// the tag alone (distribution-spec, "Content Management").
func (c *call) deleteManifest() error {
	if c.at.tag != "" {
		return c.deleteTag()
	}
	del, ok := oci.As[oci.Deleter](c.repo)
	if !ok {
		return oci.ErrUnsupported
	}
	d, err := c.resolve()
	if err != nil {
		return err
	}
	if err := del.Delete(c.r.Context(), d); err != nil {
		return orUnknown(err, codeManifestUnknown)
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (c *call) deleteTag() error {
	u, ok := oci.As[oci.Untagger](c.repo)
	if !ok || c.Quirks.NoTagDelete {
		return oci.ErrUnsupported
	}
	lock := c.lock()
	lock.Lock()
	defer lock.Unlock()
	if err := c.precondition(); err != nil {
		return err
	}
	if err := u.Untag(c.r.Context(), c.at.tag); err != nil {
		return orUnknown(err, codeManifestUnknown)
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}
