// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// fallbackTag is the tag of the index that stands for the referrers API.
func fallbackTag(d oci.Digest) string {
	alg, hex, _ := strings.Cut(string(d), ":")
	return alg[:min(len(alg), 32)] + "-" + hex[:min(len(hex), 64)]
}

// fallback reads the fallback index. A tag of that name that is not an index
// is an error: it must not be overwritten.
func (r *Repo) fallback(ctx context.Context, subject oci.Digest) (*oci.Manifest, *http.Response, error) {
	m, resp, err := r.get(ctx, r.home(), fallbackTag(subject))
	if err != nil {
		return nil, nil, err
	}
	if !m.IsIndex() {
		return nil, nil, oci.Errorf(oci.ErrInvalid, "tag %s is not an index of referrers", fallbackTag(subject))
	}
	return m, resp, nil
}

// link makes a manifest with a subject known to a registry that has no
// referrers API: the answer to its PUT lacks OCI-Subject then
// (distribution-spec, "Pushing Manifests with Subject").
func (r *Repo) link(ctx context.Context, d oci.Descriptor, raw []byte, resp *http.Response) error {
	if !strings.Contains(string(raw), `"subject"`) {
		return nil
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil || m.Subject == nil || resp.Header.Get("OCI-Subject") != "" {
		return err
	}
	r.g.noReferrers.Store(true)
	entry := oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: m.Annotations, ArtifactType: m.ArtifactType}
	if entry.ArtifactType == "" && m.Config != nil {
		entry.ArtifactType = m.Config.MediaType
	}
	return r.editFallback(ctx, m.Subject.Digest, func(index *oci.Manifest) ([]byte, error) { return addEntry(index, entry) })
}

// unlink takes a deleted manifest out of the fallback index.
func (r *Repo) unlink(ctx context.Context, m *oci.Manifest) error {
	return r.editFallback(ctx, m.Subject.Digest, func(index *oci.Manifest) ([]byte, error) {
		if index == nil || !hasEntry(index, m.Descriptor.Digest) {
			return nil, nil
		}
		index, err := oci.FilterIndex(index, func(i int) bool { return index.Manifests[i].Digest != m.Descriptor.Digest })
		if err != nil {
			return nil, err
		}
		return index.Raw, nil
	})
}

func hasEntry(index *oci.Manifest, d oci.Digest) bool {
	return slices.ContainsFunc(index.Manifests, func(x oci.Descriptor) bool { return x.Digest == d })
}

// addEntry appends to an index and keeps every byte of what was there. nil if
// the entry is there already.
func addEntry(index *oci.Manifest, entry oci.Descriptor) ([]byte, error) {
	if index == nil {
		return json.Marshal(fallbackIndex{2, oci.MediaIndex, []oci.Descriptor{entry}})
	}
	if hasEntry(index, entry.Digest) {
		return nil, nil
	}
	add, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	end, err := endOfManifests(index.Raw)
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) > 0 {
		add = append([]byte{','}, add...)
	}
	out := slices.Concat(index.Raw[:end], add, index.Raw[end:])
	_, err = oci.ParseManifest(index.Descriptor.MediaType, out) // it may have grown too large
	return out, err
}

type fallbackIndex struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType"`
	Manifests     []oci.Descriptor `json:"manifests"`
}

// endOfManifests finds the bracket that closes the member "manifests".
func endOfManifests(raw []byte) (int, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return 0, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return 0, err
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return 0, err
		}
		if key == "manifests" {
			return int(dec.InputOffset()) - 1, nil
		}
	}
	return 0, oci.Errorf(oci.ErrInvalid, "not an index: it has no manifests")
}

// tagTurn keeps the writers of a fallback index in this run apart.
func (r *Repo) tagTurn(tag string) turn {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	key := r.name + ":" + tag
	t := r.g.tags[key]
	if t == nil {
		t = newTurn()
		r.g.tags[key] = t
	}
	return t
}

// editFallback changes the fallback index; edit gets nil if there is none, and
// returns nil if there is nothing to change. HTTP offers writers of other
// processes little to keep apart: where the registry gives an ETag the write
// is conditional, and afterwards the index is read again until the change is
// seen to be in it.
func (r *Repo) editFallback(ctx context.Context, subject oci.Digest, edit func(*oci.Manifest) ([]byte, error)) error {
	tag := fallbackTag(subject)
	t := r.tagTurn(tag)
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	for try := 1; try <= downloadAttempts; try++ {
		index, resp, err := r.fallback(ctx, subject)
		if err != nil && !isKind(err, oci.ErrNotFound) {
			return err
		}
		raw, err := edit(index)
		if raw == nil || err != nil {
			return err
		}
		if try > 1 { // somebody else is writing
			if err := r.g.pause(ctx, try-1); err != nil {
				return err
			}
		}
		if err := r.putFallback(ctx, raw, tag, index, resp); err != nil {
			return err
		}
	}
	return oci.Errorf(oci.ErrBusy, "other writers keep changing the referrers of %s", subject)
}

// putFallback writes the index unless it is no longer the one that was read.
// A refused condition is no error: the caller looks again in any case.
func (r *Repo) putFallback(ctx context.Context, raw []byte, tag string, old *oci.Manifest, resp *http.Response) error {
	h, mediaType := http.Header{}, oci.MediaIndex
	if old == nil {
		h.Set("If-None-Match", "*")
	} else {
		mediaType = old.Descriptor.MediaType
		if etag := resp.Header.Get("ETag"); strings.HasPrefix(etag, `"`) { // a weak one never matches
			h.Set("If-Match", etag)
		}
	}
	_, err := r.putManifest(ctx, oci.Bytes(mediaType, raw).Descriptor(), raw, tag, nil, h)
	var status *transport.Error
	if errors.As(err, &status) && status.Status == http.StatusPreconditionFailed {
		return nil
	}
	return err
}
