// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/dray-tools/dray/oci"
)

// dockerName is the full form of a Docker name: docker.io/library/busybox:1 of
// busybox:1. False if it is none, or a digest.
func dockerName(s string) (string, bool) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return "", false
	}
	if _, digested := named.(reference.Digested); digested {
		return "", false
	}
	return reference.TagNameOnly(named).String(), true
}

// shown is a name as users of the archive's kind write it.
func (a *Archive) shown(name string) string {
	if a.o.Kind == Docker {
		if named, err := reference.ParseNormalizedNamed(name); err == nil {
			return reference.FamiliarString(named)
		}
	}
	return name
}

// newName checks a name that an image is to get, and brings it into the form
// that the entries have.
func (a *Archive) newName(name string) (string, error) {
	_, digest := oci.ParseDigest(name)
	if a.o.Kind == Docker {
		full, ok := dockerName(name)
		if !ok || digest == nil {
			return "", oci.Errorf(oci.ErrInvalid, "name %s: a Docker archive wants NAME:TAG", oci.Quote(name))
		}
		return full, nil
	}
	switch {
	case name == "" || len(name) > 1024 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }):
		return "", oci.Errorf(oci.ErrInvalid, "name %s: want a tag or a reference", oci.Quote(name))
	case digest == nil || name[0] == '@':
		return "", oci.Errorf(oci.ErrInvalid, "name %s would mean something else", oci.Quote(name))
	}
	return name, nil
}

// lookup finds what a name means: the entries that are called so, else those
// for which it is another name.
func (a *Archive) lookup(list []*entry, name string) []*entry {
	if a.o.Kind == Docker {
		if full, ok := dockerName(name); ok {
			name = full
		}
	}
	var found []*entry
	for _, is := range []func(*entry) bool{
		func(e *entry) bool { return e.name == name },
		func(e *entry) bool { return e.short == name },
	} {
		for _, e := range list {
			if is(e) && name != "" {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	return found
}

// choose finds the only manifest that name means: a name, "@N", or nothing.
func (a *Archive) choose(ctx context.Context, c *contents, list []*entry, name string) (oci.Descriptor, error) {
	var found []*entry
	number, isNumber := strings.CutPrefix(name, "@")
	switch n, err := strconv.Atoi(number); {
	case isNumber && (err != nil || n < 0):
		return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "%s: want @ and the number of an image, from 0", oci.Quote(name))
	case isNumber:
		for _, e := range list {
			if e.at == n {
				found = append(found, e)
			}
		}
	case name == "":
		found = a.images(ctx, c, list)
	default:
		found = a.lookup(list, name)
	}
	if len(found) == 0 {
		return oci.Descriptor{}, oci.Errorf(oci.ErrNotFound, "no image %s; there %s", oci.Quote(name), a.candidates(list))
	}
	d, err := c.settle(ctx, found[0])
	if err != nil {
		return oci.Descriptor{}, err
	}
	for _, e := range found[1:] {
		if other, err := c.settle(ctx, e); err != nil {
			return oci.Descriptor{}, err
		} else if other.Digest != d.Digest {
			return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "say which image is meant; there %s", a.candidates(found))
		}
	}
	return d, nil
}

// images leaves out referrers, which only belong to an image.
func (a *Archive) images(ctx context.Context, c *contents, list []*entry) []*entry {
	if len(list) < 2 {
		return list
	}
	var out []*entry
	for _, e := range list {
		if !a.isReferrer(ctx, c, e) {
			out = append(out, e)
		}
	}
	return out
}

// isReferrer reports whether the entry is a manifest without a name that has a
// subject.
func (a *Archive) isReferrer(ctx context.Context, c *contents, e *entry) bool {
	if e.name != "" || e.image != nil || e.err != nil || !oci.IsManifest(e.d.MediaType) {
		return false
	}
	return a.subject(ctx, c, e.d) != ""
}

// subject tells what a manifest of the archive, or one that is to be in it,
// refers to; empty if to nothing.
func (a *Archive) subject(ctx context.Context, c *contents, d oci.Descriptor) oci.Digest {
	m := a.put(d.Digest)
	switch {
	case m == nil:
		return c.subject(ctx, d)
	case m.Subject == nil:
		return ""
	}
	return m.Subject.Digest
}

// candidates lists entries for a message, at most ten.
func (a *Archive) candidates(list []*entry) string {
	var names []string
	for _, e := range list {
		text := oci.Quote(a.shown(e.name))
		if e.name == "" {
			text = "@" + strconv.Itoa(e.at)
		}
		if names = append(names, text); len(names) == 10 {
			names = append(names, "…")
			break
		}
	}
	switch {
	case len(names) == 0:
		return "is none"
	case len(names) == 1:
		return "is only " + names[0]
	}
	return "are " + strings.Join(names, ", ")
}

// manifest reads a manifest of the archive, or one that is to be in it.
func (a *Archive) manifest(ctx context.Context, c *contents, d oci.Descriptor) (*oci.Manifest, error) {
	if m := a.put(d.Digest); m != nil {
		return m, nil
	}
	m, err := c.manifest(ctx, d)
	if err != nil && errors.Is(err, oci.ErrInvalid) && d.MediaType == "" {
		err = oci.Errorf(oci.ErrNotFound, "no manifest %s, that is a blob", d.Digest)
	}
	return m, err
}

// sortedNames are the names of the entries, each once.
func (a *Archive) sortedNames(list []*entry) []string {
	var out []string
	for _, e := range list {
		if e.name != "" {
			out = append(out, a.shown(e.name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
