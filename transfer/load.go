// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

// A root is one graph on its way into a plan: a job's own, or a referrer.
type root struct {
	job      *Job
	from, to place
	image    *Image
	tag      string         // at the destination, "" for none
	desc     oci.Descriptor // what will be there
	tree     *oci.Tree
	foreign  []oci.Descriptor // layers that stay where their URLs say
	along    []*root          // referrers that go with it, before its tag
	skip     string           // why nothing has to be done, if so
	publish  bool             // without a name, and no root of the destination yet
}

// Why a step is skipped.
const (
	exists    = "exists"
	unchanged = "unchanged"
	foreign   = "foreign"
	kept      = "kept"
	sent      = "sent" // no skip: by the caller
)

// load resolves a job at both ends at the same time and reads its manifests.
func (l *loader) load(ctx context.Context, j *Job) (*root, error) {
	r := &root{job: j, from: locate(j.From), to: locate(j.To), tag: j.Tag, image: &Image{From: j.FromRef, To: j.ToRef}}
	var have oci.Descriptor
	var haveErr error
	var wg sync.WaitGroup
	if j.Tag != "" {
		wg.Go(func() { have, haveErr = j.To.Resolve(ctx, j.Tag) })
	}
	d, err := j.From.Resolve(ctx, j.Name)
	wg.Wait()
	if err != nil {
		return r, err
	}
	if haveErr != nil && !errors.Is(haveErr, oci.ErrNotFound) {
		return r, haveErr
	}
	r.desc, r.image.Digest = d, d.Digest
	if len(l.o.Platforms) > 0 || j.Single && oci.IsIndex(d.MediaType) {
		err = l.narrow(ctx, r, d)
	} else if have.Digest != d.Digest || l.o.Referrers {
		if haveErr != nil && !r.made(d) && !r.stays(d) { // this would be asked next; a registry remembers the answer
			wg.Go(func() { _, haveErr = j.To.Stat(ctx, d) })
		}
		r.tree, err = oci.Graph{Root: d, Source: j.From}.Load(ctx, nil)
		wg.Wait()
		if err == nil && haveErr != nil && !errors.Is(haveErr, oci.ErrNotFound) && !errors.Is(haveErr, oci.ErrCorrupt) {
			err = haveErr
		}
	}
	if err != nil {
		return r, err
	}
	if r.tree != nil {
		r.image.Platforms = platforms(r.tree.Root())
		r.dropForeign(l.o.Foreign)
	}
	if j.Want != "" && j.Want != r.image.Digest {
		return r, oci.Errorf(oci.ErrInvalid, "it is %s, the destination asks for %s", r.image.Digest, j.Want)
	}
	if now := have.Digest; j.Tag != "" && j.Expect != "" && now != j.Expect && now != r.image.Digest {
		return r, oci.Wrap("", j.ToRef, oci.Moved(now))
	}
	if j.Tag == "" {
		if err := r.nameless(ctx); err != nil {
			return r, err
		}
	}
	return r, l.beside(ctx, r, have.Digest)
}

// beside reads what goes with a root, unless what the tag means there, have, is
// to be kept.
func (l *loader) beside(ctx context.Context, r *root, have oci.Digest) error {
	if have == r.image.Digest {
		r.image.Unchanged, r.skip = true, unchanged
	} else if l.o.NoClobber && have != "" {
		r.image.Kept, r.skip = true, kept
		return nil
	}
	if l.o.Referrers {
		if err := l.referrers(ctx, r); err != nil {
			return err
		}
	}
	if r.job.AlongKnown && r.skip == unchanged {
		return nil
	}
	return l.along(ctx, r)
}

// along reads what the caller wants to go along with a root.
func (l *loader) along(ctx context.Context, r *root) error {
	var nodes atomic.Int64
	for _, a := range r.job.Along {
		c := companion{d: a.Descriptor, tag: a.Tag}
		x, err := l.companion(ctx, r, &c, &nodes)
		if err == nil && x == nil {
			err = oci.Errorf(oci.ErrNotFound, "%s: %s", a.Descriptor.Digest, c.bad)
		}
		if err != nil {
			return err
		}
		r.along = append(r.along, x)
	}
	return nil
}

// nameless finds out what it means at the destination to have no name.
func (r *root) nameless(ctx context.Context) error {
	if keeper, ok := oci.As[oci.Rooter](r.job.To); ok {
		rooted, err := keeper.Rooted(ctx, r.desc)
		if err != nil {
			return err
		}
		r.publish = !rooted
	}
	if w, ok := oci.As[oci.Replacer](r.job.To); ok {
		if old, ok := w.Replaced(ctx, r.desc); ok {
			r.image.Notes = append(r.image.Notes, "the image without a name there, "+string(old.Digest)+", gives way to it")
		}
	}
	return nil
}

// dropForeign takes layers out of what is moved that are kept by reference.
func (r *root) dropForeign(copyThem bool) {
	if copyThem {
		return
	}
	r.tree.Blobs = slices.DeleteFunc(r.tree.Blobs, func(d oci.Descriptor) bool {
		if oci.IsForeign(d) {
			r.foreign = append(r.foreign, d)
		}
		return oci.IsForeign(d)
	})
	switch n := len(r.foreign); {
	case n == 1:
		r.image.Notes = append(r.image.Notes, "foreign layer "+string(r.foreign[0].Digest)+" is not copied: it stays where its URLs say")
	case n > 1:
		r.image.Notes = append(r.image.Notes, fmt.Sprintf("%d foreign layers are not copied: they stay where their URLs say", n))
	}
}

// narrow reads only what the platforms ask for. The root of what remains is a
// new index, unless nothing was left out.
func (l *loader) narrow(ctx context.Context, r *root, d oci.Descriptor) error {
	top, err := oci.Fetch(ctx, r.job.From, d)
	if err != nil {
		return err
	}
	if !top.IsIndex() {
		if err := l.checkImage(ctx, r.job.From, top); err != nil {
			return err
		}
		r.tree, err = oci.Graph{Root: d, Source: r.job.From}.Load(ctx, nil)
		return err
	}
	if len(top.Raw) <= oci.MaxData {
		d.Data = top.Raw // read once is enough
	}
	keep, err := Choose(top, l.o.Platforms)
	if err != nil {
		return err
	}
	if child, ok := single(top, keep); ok && r.job.Single {
		return r.take(ctx, d, child)
	}
	if !slices.Contains(keep, false) {
		r.tree, err = oci.Graph{Root: d, Source: r.job.From}.Load(ctx, nil)
		return err
	}
	small, err := oci.FilterIndex(top, func(i int) bool { return keep[i] })
	if err != nil {
		return err
	}
	kept := map[oci.Digest]bool{}
	for _, c := range small.Manifests {
		kept[c.Digest] = true
	}
	// Only children of the root are asked about: Choose has refused nested indexes.
	r.tree, err = oci.Graph{Root: d, Source: r.job.From}.Load(ctx, func(c oci.Descriptor) bool { return kept[c.Digest] })
	if err != nil {
		return err
	}
	r.tree.Manifests[len(r.tree.Manifests)-1] = small
	r.desc = small.Descriptor
	r.image.New, r.image.Source, r.image.Digest = true, d.Digest, small.Descriptor.Digest
	return nil
}

// single finds the only image among the children that are kept, attestations
// aside.
func single(top *oci.Manifest, keep []bool) (child oci.Descriptor, ok bool) {
	n := 0
	for i, d := range top.Manifests {
		if keep[i] && d.Annotations["vnd.docker.reference.digest"] == "" && (d.Platform == nil || d.Platform.OS != "unknown") {
			child = d
			n++
		}
	}
	return child, n == 1
}

// take makes one child of an index the root.
func (r *root) take(ctx context.Context, index, child oci.Descriptor) (err error) {
	r.desc, r.image.Digest, r.image.Source = child, child.Digest, index.Digest
	r.tree, err = oci.Graph{Root: child, Source: r.job.From}.Load(ctx, nil)
	if err == nil && child.Platform != nil {
		r.image.Notes = append(r.image.Notes, "the image for "+oci.FormatPlatform(*child.Platform)+" of index "+string(index.Digest))
	}
	return err
}

// Choose tells which children of an index the platforms ask for: those that
// match, and the attestations about them. ErrNotFound if one of the platforms
// is not there, ErrUnsupported if the index holds others; without platforms all
// are chosen.
func Choose(m *oci.Manifest, want []oci.Platform) ([]bool, error) {
	keep := make([]bool, len(m.Manifests))
	for i := range keep {
		keep[i] = len(want) == 0
	}
	kept := map[string]bool{}
	for _, p := range want {
		found := false
		for i, d := range m.Manifests {
			if oci.IsIndex(d.MediaType) {
				return nil, oci.Errorf(oci.ErrUnsupported, "index holds another index (%s): platforms cannot be chosen from it", d.Digest)
			}
			if d.Platform != nil && oci.MatchPlatform(p, *d.Platform) {
				keep[i], found, kept[string(d.Digest)] = true, true, true
			}
		}
		if !found {
			return nil, oci.Errorf(oci.ErrNotFound, "index has no %s; it has %s", oci.FormatPlatform(p), strings.Join(platforms(m), ", "))
		}
	}
	for i, d := range m.Manifests {
		if kept[d.Annotations["vnd.docker.reference.digest"]] { // BuildKit's attestations
			keep[i] = true
		}
	}
	return keep, nil
}

// platforms lists what an index says its children are for.
func platforms(m *oci.Manifest) []string {
	var out []string
	for _, d := range m.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			out = append(out, oci.FormatPlatform(*d.Platform))
		}
	}
	return out
}

// checkImage compares a single image's config with the platforms.
func (l *loader) checkImage(ctx context.Context, src oci.Source, m *oci.Manifest) error {
	var have oci.Platform
	if m.Config != nil && oci.IsConfig(m.Config.MediaType) {
		raw, err := oci.ReadAll(ctx, src, *m.Config, oci.MaxConfig)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &have); err != nil {
			return oci.Errorf(oci.ErrInvalid, "config %s: %w", m.Config.Digest, err)
		}
	}
	var want []string
	for _, p := range l.o.Platforms {
		if oci.MatchPlatform(p, have) {
			return nil
		}
		want = append(want, oci.FormatPlatform(p))
	}
	return oci.Errorf(oci.ErrNotFound, "image is for %s, not for %s", oci.FormatPlatform(have), strings.Join(want, ", "))
}
