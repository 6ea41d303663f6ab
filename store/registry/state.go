// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// state is what a run has learnt about a repository.
type state struct {
	probe turn // held while it is found out whether the repository is empty

	mu     sync.Mutex
	fresh  bool // a tag was missing: the repository may be empty
	filled bool // it holds something
	empty  bool // it has no tags, other than those of this run
	facts  map[content]fact
	tags   map[string]version
}

func newState() *state {
	return &state{probe: newTurn(), facts: map[content]fact{}, tags: map[string]version{}}
}

// content is a blob or a manifest: registries keep the two apart, even if
// their bytes are equal.
type content struct {
	manifest bool
	digest   oci.Digest
}

func contentOf(d oci.Descriptor) content { return content{oci.IsManifest(d.MediaType), d.Digest} }

// presence says whether a repository has something, and who says so.
type presence int

const (
	unknown presence = iota
	missing
	told // the registry has been asked
	done // it has been mounted or sent
)

type fact struct {
	presence
	size    int64 // bytes; -1: not known
	suspect bool  // the registry has contradicted itself: it is not asked to mount this
}

// present reports whether the content is there with that size.
func (f fact) present(size int64) bool { return f.presence >= told && (f.size < 0 || f.size == size) }

func (s *state) known(d oci.Descriptor) fact {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.facts[contentOf(d)]
}

func (s *state) learn(d oci.Descriptor, p presence, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := contentOf(d)
	s.facts[k] = fact{presence: p, size: size, suspect: s.facts[k].suspect}
	s.filled = s.filled || p >= told
}

// doubt forgets that the children of a manifest are there, because the
// registry has refused it for want of one. What was mounted or sent is asked
// for again; what the registry only said to have will be sent.
func (s *state) doubt(m *oci.Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range m.Children() {
		k := contentOf(d)
		if !m.IsIndex() { // config and layers are blobs, whatever they call themselves
			k.manifest = false
		}
		f := fact{suspect: true}
		if s.facts[k].presence == told {
			f.presence = missing
		}
		s.facts[k] = f
	}
}

// resolved notes what asking for a tag told about the repository as a whole.
func (s *state) resolved(found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filled = s.filled || found
	s.empty = s.empty && !found
	s.fresh = s.fresh || !found
}

// looksEmpty asks, once a run and only after a tag was missing, whether the
// repository has any tags: one request instead of one for each blob.
func (r *Repo) looksEmpty(ctx context.Context) bool {
	s := r.s
	if s.probe.take(ctx) != nil {
		return false
	}
	defer s.probe.give()
	s.mu.Lock()
	ask := s.fresh && !s.filled && !s.empty
	empty := s.empty
	s.mu.Unlock()
	if !ask {
		return empty
	}
	any := false
	for _, err := range r.page(ctx, r.path("/tags/list"), 1, r.push(), "tags") {
		any = !isKind(err, oci.ErrNotFound)
		break
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	s.fresh = false
	s.empty = !any
	s.filled = s.filled || any
	return s.empty
}

// A turn is a lock that can be waited for until a context ends.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }
