// SPDX-License-Identifier: Apache-2.0

package check

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"path"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// names are the paths of a layer, as hashes with a secret seed: 16 bytes each,
// however long they are. That two of the five million that a layer may have
// are taken for one happens once in a million runs.
type names map[uint64]mark

// A mark is what is at a path: a hash of it, with its kind in the low bits.
type mark uint64

const kindBits = 0xf

func (m mark) kind() layer.Kind { return layer.Kind(m & kindBits) }

// Limits for what is kept until the end.
const (
	maxNames = 16 << 20 // of all layers
	maxLinks = 8 << 20  // bytes of the names of links of one layer
)

type hardLink struct{ name, target string }

// A namer reads the entries of a layer.
type namer struct {
	seed      maphash.Seed
	h         maphash.Hash
	names     names
	links     []hardLink
	linkBytes int
	found     []Finding
	buf       []byte

	sum     hash.Hash // of a file's content; nil if the layer has no table of contents
	lines   []line
	entries int
}

func newNamer(seed maphash.Seed) *namer {
	n := &namer{seed: seed, names: names{}, buf: make([]byte, 64<<10)}
	n.h.SetSeed(seed)
	return n
}

// readAll reads a layer to its end or to the first error.
func (n *namer) readAll(r *layer.Reader) error {
	for {
		e, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := n.mark(e, r)
		if err != nil {
			return oci.Wrap("", oci.Quote(e.Name), err)
		}
		if e.Kind == layer.Link {
			n.link(e)
		}
		n.duplicate(e, m)
		n.line(e)
	}
}

// line notes an entry for the comparison with a table of contents.
func (n *namer) line(e *layer.Entry) {
	if n.entries++; n.sum == nil || len(n.lines) == maxLines {
		return
	}
	l := lineOf(&n.h, e)
	if e.Kind == layer.File {
		n.sum.Sum(l.sum[:0])
	}
	n.lines = append(n.lines, l)
}

// mark reads the content of an entry. Times are not part of the mark: entries
// that differ only in them are the same to any reader.
func (n *namer) mark(e *layer.Entry, r io.Reader) (mark, error) {
	n.h.Reset()
	n.h.WriteString(e.Link)
	if h := e.Header; h != nil && e.Kind != layer.Whiteout && e.Kind != layer.Opaque {
		for _, v := range []int64{h.Mode & 0o7777, int64(h.Uid), int64(h.Gid), h.Devmajor, h.Devminor, e.Size} {
			_, _ = n.h.Write(binary.LittleEndian.AppendUint64(n.buf[:0], uint64(v)))
		}
	}
	if e.Kind == layer.File {
		if n.sum != nil {
			n.sum.Reset()
		}
		for {
			k, err := r.Read(n.buf)
			_, _ = n.h.Write(n.buf[:k])
			if n.sum != nil {
				_, _ = n.sum.Write(n.buf[:k])
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return 0, err
			}
		}
	}
	return mark(n.h.Sum64()&^kindBits | uint64(e.Kind)), nil
}

// duplicate notes a path, and finds those that were there before (image-spec,
// layer.md: a layer must not have two entries for one path). Directories
// and equal entries come out the same for all readers; of others some take the
// first, some the last.
func (n *namer) duplicate(e *layer.Entry, m mark) {
	k := key(&n.h, e.Kind, e.Name)
	old, twice := n.names[k]
	n.names[k] = m
	switch {
	case !twice:
	case old == m, old.kind() == layer.Dir && e.Kind == layer.Dir:
		n.add(Warning, CodeDuplicate, e.Name, "is there twice")
	default:
		n.add(Error, CodeDuplicate, e.Name, "is there twice, with different content")
	}
}

// link finds hard links whose target does not come before them in the layer:
// lower layers have to have it.
func (n *namer) link(e *layer.Entry) {
	m, ok := n.names[key(&n.h, layer.File, e.Link)]
	switch {
	case ok && m.kind() == layer.Dir:
		n.add(Error, CodeHardLink, e.Name, fmt.Sprintf("hard link to %s, which is a directory", oci.Quote(shown(e.Link))))
	case !ok && len(n.links) < maxPerLayer && n.linkBytes+len(e.Name)+len(e.Link) <= maxLinks:
		n.linkBytes += len(e.Name) + len(e.Link)
		n.links = append(n.links, hardLink{e.Name, e.Link})
	}
}

func (n *namer) add(s Severity, code, name, text string) {
	switch k := len(n.found); {
	case k > maxPerLayer:
		return
	case k == maxPerLayer:
		code, name, text = CodeLimit, "", "there is more to find in this layer"
	}
	n.found = append(n.found, Finding{Severity: s, Code: code, Path: shown(name), Text: text})
}

// shown is a name in a layer as a path from the root; "" if there is none.
func shown(name string) string {
	if name == "" {
		return ""
	}
	return cut(path.Join("/", name))
}

// key is the hash of a path. Whiteouts are apart from what is there.
func key(h *maphash.Hash, k layer.Kind, name string) uint64 {
	h.Reset()
	switch k {
	case layer.Whiteout:
		_ = h.WriteByte('w')
	case layer.Opaque:
		_ = h.WriteByte('o')
	default:
		_ = h.WriteByte('n')
	}
	_, _ = h.WriteString(name)
	return h.Sum64()
}
