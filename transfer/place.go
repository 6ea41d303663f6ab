// SPDX-License-Identifier: Apache-2.0

package transfer

import "github.com/dray-tools/dray/oci"

// A place is a repository, comparable. Stores that cannot tell where they are
// are places of their own.
type place struct {
	host, repo string
	store      any
}

func locate(s any) place {
	if l, ok := oci.As[oci.Locator](s); ok {
		if host, repo := l.Locate(); host != "" {
			return place{host: host, repo: repo}
		}
	}
	return place{store: s}
}

// origin is where content of a graph comes from: the place of the source, or
// of that of its parts which has it. made says that no place has it yet.
func (r *root) origin(d oci.Descriptor) (at place, made bool) {
	if r.image.New && d.Digest == r.image.Digest { // an index that lost children on the way
		return place{}, true
	}
	from := r.part(d)
	if from == nil {
		return place{}, true
	}
	return locate(from), false
}

// part is the source that has the content; nil: none has.
func (r *root) part(d oci.Descriptor) oci.Source {
	from := r.job.From
	for from != nil {
		c, ok := oci.As[oci.Composite](from)
		if !ok {
			break
		}
		from = c.Part(d.Digest)
	}
	return from
}

func (r *root) made(d oci.Descriptor) bool {
	_, made := r.origin(d)
	return made
}

// fresh reports whether a blob is new and so small that sending it costs no
// more than asking for it.
func (r *root) fresh(d oci.Descriptor) bool { return d.Size < smallBlob && r.made(d) }

// stays reports whether content comes from where it goes to, and so is there.
// Places that are written as a whole are asked nevertheless, as are those that
// have mirrors, which may have answered in their stead; and layers that are kept
// by reference need not be anywhere.
func (r *root) stays(d oci.Descriptor) bool {
	at, made := r.origin(d)
	_, whole := oci.As[oci.Committer](r.job.To)
	if made || at != r.to || whole || oci.IsForeign(d) {
		return false
	}
	m, ok := oci.As[oci.Mirrored](r.part(d))
	return !ok || !m.Mirrored()
}

// sibling is another repository of the host that content goes to, from which it
// comes; "" if it comes from elsewhere.
func (r *root) sibling(d oci.Descriptor) string {
	if at, made := r.origin(d); !made && at.host == r.to.host && at != r.to {
		return at.repo
	}
	return ""
}
