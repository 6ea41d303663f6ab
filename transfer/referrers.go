// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

// A loader reads the graphs of a plan. It lists the tags of a source once,
// however many images come from it.
type loader struct {
	o    Options
	mu   sync.Mutex
	tags map[place]*tagList
}

type tagList struct {
	once sync.Once
	set  map[string]bool
	err  error
}

// The suffixes by which cosign names what it keeps beside an image.
var suffixes = []string{".sig", ".att", ".sbom"}

// A companion is a manifest that refers to another one: by its subject, or by
// its tag.
type companion struct {
	d   oci.Descriptor
	of  oci.Digest // what it refers to; "": whatever it says
	tag string
	bad string // why it is left out, if so
}

// referrers adds to a root what refers to its manifests, and what refers to
// that, each once. A new index has nothing that refers to it yet.
func (l *loader) referrers(ctx context.Context, r *root) error {
	known := map[oci.Digest]bool{r.desc.Digest: r.image.New}
	var level []oci.Descriptor // what has not been asked about
	found := func(t *oci.Tree) {
		for _, m := range t.Manifests {
			if !known[m.Descriptor.Digest] {
				known[m.Descriptor.Digest] = true
				level = append(level, m.Descriptor)
			}
		}
	}
	found(r.tree)
	var nodes atomic.Int64
	for picked := map[oci.Digest]bool{}; len(level) > 0; {
		list, err := l.about(ctx, r.job, level)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(c companion) bool {
			again := known[c.d.Digest] || picked[c.d.Digest]
			picked[c.d.Digest] = true
			return again && c.tag == ""
		})
		level = nil
		along := make([]*root, len(list))
		err = oci.Parallel(ctx, len(list), func(ctx context.Context, i int) (err error) {
			along[i], err = l.companion(ctx, r, &list[i], &nodes)
			return err
		})
		if err != nil {
			return err
		}
		for i, a := range along {
			if a == nil {
				r.image.Notes = append(r.image.Notes, "referrer "+string(list[i].d.Digest)+" is left out: "+list[i].bad)
				continue
			}
			found(a.tree)
			r.along = append(r.along, a)
		}
	}
	if tags, _ := l.tagsOf(ctx, r.job.From); tags == nil {
		r.image.Notes = append(r.image.Notes, "the source cannot list its tags: signatures that are kept under tags are left out")
	}
	if r.image.New {
		r.image.Notes = append(r.image.Notes, "what refers to the whole index is left out: the smaller index is another one")
	}
	return nil
}

// companion reads the graph of what comes along with a root, and looks up what
// its tag means at the destination. It is nil, with the reason in c, if the
// source lists what is not there, as a stale fallback tag does, or what refers
// to something else.
func (l *loader) companion(ctx context.Context, r *root, c *companion, nodes *atomic.Int64) (*root, error) {
	a := &root{job: r.job, from: r.from, to: r.to, image: r.image, tag: c.tag, desc: c.d}
	var err error
	a.tree, err = oci.Graph{Root: c.d, Source: r.job.From}.Load(ctx, nil)
	if errors.Is(err, oci.ErrNotFound) {
		_, err := r.job.From.Stat(ctx, c.d)
		if errors.Is(err, oci.ErrNotFound) {
			c.bad = "it is listed but not there"
			return nil, nil
		}
	}
	if err != nil {
		return nil, oci.Wrap("referrer", string(c.d.Digest), err)
	}
	if s := a.tree.Root().Subject; c.of != "" && c.tag == "" && (s == nil || s.Digest != c.of) {
		c.bad = "it refers to something else"
		return nil, nil
	}
	if nodes.Add(int64(len(a.tree.Manifests)+len(a.tree.Blobs))) > oci.MaxNodes {
		return nil, oci.Errorf(oci.ErrInvalid, "%s has referrers with more than %d parts", r.image.Digest, oci.MaxNodes)
	}
	a.dropForeign(l.o.Foreign)
	if c.tag == "" {
		return a, nil
	}
	have, err := r.job.To.Resolve(ctx, c.tag)
	switch {
	case errors.Is(err, oci.ErrNotFound):
		return a, nil
	case have.Digest == c.d.Digest:
		a.skip = unchanged
	case l.o.NoClobber:
		a.skip = kept
	}
	return a, err
}

// about finds what refers to some manifests, in the API form and in the tag
// form.
func (l *loader) about(ctx context.Context, j *Job, list []oci.Descriptor) ([]companion, error) {
	tags, err := l.tagsOf(ctx, j.From)
	if err != nil {
		return nil, err
	}
	found := make([][]companion, len(list))
	err = oci.Parallel(ctx, len(list), func(ctx context.Context, i int) (err error) {
		found[i], err = l.aboutOne(ctx, j, list[i], tags)
		return err
	})
	return slices.Concat(found...), err
}

func (l *loader) aboutOne(ctx context.Context, j *Job, d oci.Descriptor, tags map[string]bool) (out []companion, err error) {
	if ref, ok := oci.As[oci.Referrer](j.From); ok {
		for x, err := range ref.Referrers(ctx, d, "") {
			if errors.Is(err, oci.ErrUnsupported) {
				break
			}
			if err != nil {
				return nil, err
			}
			if out = append(out, companion{d: x, of: d.Digest}); len(out) > oci.MaxNodes {
				return nil, oci.Errorf(oci.ErrInvalid, "%s has more than %d referrers", d.Digest, oci.MaxNodes)
			}
		}
	}
	alg, hex, _ := strings.Cut(string(d.Digest), ":")
	for _, suffix := range suffixes {
		tag := alg + "-" + hex + suffix
		if !tags[tag] {
			continue
		}
		x, err := j.From.Resolve(ctx, tag)
		if err != nil {
			return nil, err
		}
		out = append(out, companion{d: x, of: d.Digest, tag: tag})
	}
	return out, nil
}

// tagsOf is the set of a source's tags; empty if it cannot list them.
func (l *loader) tagsOf(ctx context.Context, s oci.Source) (map[string]bool, error) {
	lister, ok := oci.As[oci.Lister](s)
	if !ok {
		return nil, nil
	}
	at := locate(s)
	l.mu.Lock()
	t := l.tags[at]
	if t == nil {
		t = &tagList{}
		l.tags[at] = t
	}
	l.mu.Unlock()
	t.once.Do(func() {
		set := map[string]bool{}
		for tag, err := range lister.Tags(ctx) {
			if err != nil && !errors.Is(err, oci.ErrUnsupported) {
				t.err = err
			}
			if err != nil {
				return
			}
			set[tag] = true
		}
		t.set = set
	})
	return t.set, t.err
}
