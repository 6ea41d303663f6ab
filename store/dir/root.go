// SPDX-License-Identifier: Apache-2.0

package dir

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"github.com/dray-tools/dray/oci"
)

// Admit implements oci.Admitter. A directory holds one image: Stat is
// ErrUnsupported once manifests were admitted that are no single graph, as an
// image and what refers to it are not. That is not known before, because the
// children of an index come first. Commit and Abort forget what was admitted.
func (d *Dir) Admit(ctx context.Context, m *oci.Manifest, _ oci.Source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.admitted) > oci.MaxNodes {
		return oci.Errorf(oci.ErrUnsupported, "dir: holds one image, of at most %d manifests", oci.MaxNodes)
	}
	d.admitted[m.Descriptor.Digest] = m
	return nil
}

// admissible checks that what was admitted is one image, and does not refer to
// the one that it would replace.
func (d *Dir) admissible(ctx context.Context) error {
	d.mu.Lock()
	all := maps.Clone(d.admitted)
	d.mu.Unlock()
	tops := roots(maps.Keys(all), all)
	for _, top := range tops {
		subject := all[top].Subject
		if subject == nil {
			continue
		}
		here := all[subject.Digest] != nil
		if !here {
			f, _, err := d.find(ctx, *subject)
			if err != nil && !errors.Is(err, oci.ErrNotFound) && !errors.Is(err, oci.ErrCorrupt) {
				return err
			}
			if here = err == nil; here {
				f.Close()
			}
		}
		if here {
			return oci.Errorf(oci.ErrUnsupported, "%s: dir: holds one image; referrers cannot go with it: %s refers to %s", d.path, top, subject.Digest)
		}
	}
	if len(tops) > 1 {
		return oci.Errorf(oci.ErrUnsupported, "%s: dir: holds one image, not both %s and %s", d.path, tops[0], tops[1])
	}
	return nil
}

// theRoot finds the manifest that will be manifest.json.
func (d *Dir) theRoot() (oci.Digest, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	tops := roots(maps.Keys(d.roots), d.manifest)
	if len(tops) > 1 {
		return "", oci.Errorf(oci.ErrInvalid, "a directory holds one image, not both %s and %s", tops[0], tops[1])
	}
	return tops[0], nil
}

// roots lists, in order, those of the manifests that are not below another one.
func roots(list iter.Seq[oci.Digest], all map[oci.Digest]*oci.Manifest) []oci.Digest {
	below := map[oci.Digest]bool{}
	var walk func(oci.Digest)
	walk = func(d oci.Digest) {
		m := all[d]
		if m == nil {
			return
		}
		for _, c := range m.Children() {
			if !below[c.Digest] {
				below[c.Digest] = true
				if oci.IsManifest(c.MediaType) {
					walk(c.Digest)
				}
			}
		}
	}
	tops := slices.Sorted(list)
	for _, d := range tops {
		walk(d)
	}
	return slices.DeleteFunc(tops, func(d oci.Digest) bool { return below[d] })
}
