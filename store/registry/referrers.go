// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// Referrers asks the referrers API, and where the registry has none reads the
// fallback tag (distribution-spec, "Listing Referrers", "Referrers Tag
// Schema").
func (r *Repo) Referrers(ctx context.Context, d oci.Descriptor, artifactType string) iter.Seq2[oci.Descriptor, error] {
	return func(yield func(oci.Descriptor, error) bool) {
		list, err := r.referrers(ctx, d, artifactType)
		if err != nil {
			yield(oci.Descriptor{}, oci.Wrap("", r.place(string(d.Digest)), err))
			return
		}
		seen := map[oci.Digest]bool{}
		for _, x := range list {
			if seen[x.Digest] || artifactType != "" && x.ArtifactType != artifactType {
				continue
			}
			seen[x.Digest] = true
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (r *Repo) referrers(ctx context.Context, d oci.Descriptor, artifactType string) ([]oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil {
		return nil, err
	}
	if !r.g.noReferrers.Load() {
		list, err := r.referrersAPI(ctx, d, artifactType)
		var status *transport.Error
		switch {
		case err == nil:
			return list, nil
		case errors.As(err, &status) && slices.Contains([]int{400, 404, 405, 501}, status.Status), isKind(err, errNoAPI):
			r.g.noReferrers.Store(true)
		default:
			return nil, err
		}
	}
	m, err := r.fallback(ctx, d.Digest)
	if isKind(err, oci.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m.Manifests, nil
}

// errNoAPI is an answer that is not one of the referrers API.
var errNoAPI = errors.New("not an answer of the referrers API")

func (r *Repo) referrersAPI(ctx context.Context, d oci.Descriptor, artifactType string) ([]oci.Descriptor, error) {
	query := url.Values{}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	var all []oci.Descriptor
	seen := map[oci.Digest]bool{}
	for pages := 0; pages < maxPages; pages++ {
		resp, err := r.do(ctx, transport.Request{Method: http.MethodGet, Path: r.path("/referrers/" + string(d.Digest)), Query: query,
			Scopes: r.pull(), Header: http.Header{"Accept": {oci.MediaIndex}}, Accept: []int{http.StatusOK}})
		if err != nil {
			return nil, err
		}
		var page struct {
			Manifests []oci.Descriptor `json:"manifests"`
		}
		ok := mediaType(resp) == oci.MediaIndex
		if ok {
			err = readJSON(ctx, resp, oci.MaxManifest, &page)
		}
		resp.Body.Close()
		if !ok {
			return nil, errNoAPI
		}
		if err != nil {
			return nil, err
		}
		before := len(seen)
		for _, x := range page.Manifests {
			if err := oci.CheckDescriptor(x); err != nil {
				return nil, err
			}
			seen[x.Digest] = true
			all = append(all, x)
		}
		next, err := nextPage(resp)
		if err != nil || next == nil {
			return all, err
		}
		if len(seen) == before {
			break
		}
		query = next
	}
	return nil, oci.Errorf(oci.ErrInvalid, "list of referrers does not end")
}

// fallbackTag is the tag of the index that stands for the referrers API.
func fallbackTag(d oci.Digest) string {
	alg, hex, _ := strings.Cut(string(d), ":")
	return alg[:min(len(alg), 32)] + "-" + hex[:min(len(hex), 64)]
}

// fallback reads the fallback index. A tag of that name that is not an index
// is an error: it must not be overwritten.
func (r *Repo) fallback(ctx context.Context, subject oci.Digest) (*oci.Manifest, error) {
	m, err := r.get(ctx, Mirror{r.g.endpoint, r.name}, fallbackTag(subject))
	if err != nil {
		return nil, err
	}
	if !m.IsIndex() {
		return nil, oci.Errorf(oci.ErrInvalid, "tag %s is not an index of referrers", fallbackTag(subject))
	}
	return m, nil
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
	entry := d
	entry.Annotations, entry.ArtifactType = m.Annotations, m.ArtifactType
	if entry.ArtifactType == "" && m.Config != nil {
		entry.ArtifactType = m.Config.MediaType
	}
	return r.editFallback(ctx, m.Subject.Digest, func(list []oci.Descriptor) ([]oci.Descriptor, bool) {
		if slices.ContainsFunc(list, func(x oci.Descriptor) bool { return x.Digest == d.Digest }) {
			return list, false
		}
		return append(list, entry), true
	})
}

// unlink takes a deleted manifest out of the fallback index.
func (r *Repo) unlink(ctx context.Context, m *oci.Manifest) error {
	err := r.editFallback(ctx, m.Subject.Digest, func(list []oci.Descriptor) ([]oci.Descriptor, bool) {
		n := len(list)
		list = slices.DeleteFunc(list, func(x oci.Descriptor) bool { return x.Digest == m.Descriptor.Digest })
		return list, len(list) != n
	})
	return err
}

// fallbackLocks keep the writers of this process apart.
var fallbackLocks sync.Map // host/repo:tag -> *sync.Mutex

// editFallback changes the fallback index. HTTP offers writers of other
// processes little to keep apart: where the registry gives an ETag the write
// is conditional, and afterwards the index is read again until the change is
// seen to be in it.
func (r *Repo) editFallback(ctx context.Context, subject oci.Digest, edit func([]oci.Descriptor) ([]oci.Descriptor, bool)) error {
	tag := fallbackTag(subject)
	lock, _ := fallbackLocks.LoadOrStore(r.place(tag), &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	for try := 1; try <= downloadAttempts; try++ {
		var list []oci.Descriptor
		m, err := r.fallback(ctx, subject)
		switch {
		case err == nil:
			list = m.Manifests
		case !isKind(err, oci.ErrNotFound):
			return err
		}
		list, changed := edit(list)
		if !changed {
			return nil
		}
		raw, err := json.Marshal(fallbackIndex{2, oci.MediaIndex, list})
		if err != nil {
			return err
		}
		b := oci.Bytes(oci.MediaIndex, raw)
		if err := r.putFallback(ctx, b.Descriptor(), raw, tag, m); err != nil {
			return err
		}
		if try > 1 {
			if err := pause(ctx, try); err != nil {
				return err
			}
		}
	}
	return oci.Errorf(oci.ErrBusy, "other writers keep changing the referrers of %s", subject)
}

type fallbackIndex struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType"`
	Manifests     []oci.Descriptor `json:"manifests"`
}

// putFallback writes the index unless it is no longer the one that was read.
// A refused condition is no error: the caller looks again in any case.
func (r *Repo) putFallback(ctx context.Context, d oci.Descriptor, raw []byte, tag string, old *oci.Manifest) error {
	h := http.Header{"Content-Type": {d.MediaType}}
	if old != nil {
		h.Set("If-Match", `"`+string(old.Descriptor.Digest)+`"`)
	}
	_, err := r.putManifest(ctx, d, raw, tag, nil, h)
	var status *transport.Error
	if errors.As(err, &status) && status.Status == http.StatusPreconditionFailed {
		return nil
	}
	return err
}
