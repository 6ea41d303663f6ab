// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"strings"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// A loader reads the graphs of a plan. It lists the tags of a source once,
// however many images come from it.
type loader struct {
	o    Options
	mu   sync.Mutex
	tags map[oci.Source]*tagList
}

type tagList struct {
	once sync.Once
	set  map[string]bool
	err  error
}

// The suffixes by which cosign names what it keeps beside an image.
var companions = []string{".sig", ".att", ".sbom"}

// referrers adds to a root what refers to its manifests, and what refers to
// that, each once. A new index has nothing that refers to it yet.
func (l *loader) referrers(ctx context.Context, r *root) error {
	seen := map[oci.Digest]bool{}
	queue := append([]*oci.Manifest(nil), r.tree.Manifests...)
	for _, m := range queue {
		seen[m.Descriptor.Digest] = true
	}
	if r.image.New {
		queue = queue[:len(queue)-1]
	}
	for nodes := 0; len(queue) > 0; {
		m := queue[0]
		queue = queue[1:]
		found, err := l.about(ctx, r.job, m.Descriptor)
		if err != nil {
			return err
		}
		for _, f := range found {
			if seen[f.d.Digest] && f.tag == "" {
				continue
			}
			seen[f.d.Digest] = true
			tree, err := oci.Graph{Root: f.d, Source: r.job.From}.Load(ctx, nil)
			if err != nil {
				return oci.Wrap("referrer", string(f.d.Digest), err)
			}
			if nodes += len(tree.Manifests) + len(tree.Blobs); nodes > oci.MaxNodes {
				return oci.Errorf(oci.ErrInvalid, "%s has referrers with more than %d parts", r.image.Digest, oci.MaxNodes)
			}
			a := &root{job: r.job, tag: f.tag, tree: tree, image: r.image}
			a.dropForeign(l.o.Foreign)
			r.along = append(r.along, a)
			queue = append(queue, tree.Root())
		}
	}
	return nil
}

type companion struct {
	d   oci.Descriptor
	tag string
}

// about finds what refers to one manifest, in the API form and in the tag form.
func (l *loader) about(ctx context.Context, j *Job, d oci.Descriptor) ([]companion, error) {
	var out []companion
	if ref, ok := oci.As[oci.Referrer](j.From); ok {
		for x, err := range ref.Referrers(ctx, d, "") {
			if err != nil {
				return nil, err
			}
			out = append(out, companion{d: x})
		}
	}
	tags, err := l.tagsOf(ctx, j.From)
	if err != nil {
		return nil, err
	}
	alg, hex, _ := strings.Cut(string(d.Digest), ":")
	for _, suffix := range companions {
		name := alg + "-" + hex + suffix
		if !tags[name] {
			continue
		}
		x, err := j.From.Resolve(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, companion{d: x, tag: name})
	}
	return out, nil
}

// tagsOf is the set of a source's tags; empty if it cannot list them.
func (l *loader) tagsOf(ctx context.Context, s oci.Source) (map[string]bool, error) {
	lister, ok := oci.As[oci.Lister](s)
	if !ok {
		return nil, nil
	}
	l.mu.Lock()
	t := l.tags[s]
	if t == nil {
		t = &tagList{}
		l.tags[s] = t
	}
	l.mu.Unlock()
	t.once.Do(func() {
		t.set = map[string]bool{}
		for name, err := range lister.Tags(ctx) {
			if err != nil {
				t.err = err
				return
			}
			t.set[name] = true
		}
	})
	return t.set, t.err
}
