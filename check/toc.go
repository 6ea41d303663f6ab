// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// The annotations of zstd:chunked, which have had two prefixes.
const (
	chunkedNew      = "io.github.containers.zstd-chunked."
	chunkedOld      = "io.containers.zstd-chunked."
	chunkedChecksum = "manifest-checksum"
	chunkedPosition = "manifest-position"
)

const (
	maxTables = 8             // of one layer
	maxLines  = 1_000_000 + 1 // entries of a table, as layer.OpenTOC takes them, and the table itself
)

// tocNotes are the annotations of each form of table. Readers differ in which
// they look for first, so all are compared.
var tocNotes = [...][]string{{layer.AnnotationTOC}, {chunkedNew + chunkedChecksum, chunkedNew + chunkedPosition}, {chunkedOld + chunkedChecksum, chunkedOld + chunkedPosition}}

// table notes the tables of contents that a manifest gives a layer. Several
// manifests can give one layer different ones.
func (c *checker) table(p place, b *blob, d oci.Descriptor) {
	for _, keys := range tocNotes {
		if d.Annotations[keys[0]] == "" {
			continue
		}
		notes := map[string]string{}
		for _, k := range keys {
			notes[k] = d.Annotations[k]
		}
		if slices.ContainsFunc(b.tables, func(t oci.Descriptor) bool { return maps.Equal(t.Annotations, notes) }) {
			continue
		}
		if len(b.tables) == maxTables {
			c.add(Error, CodeTOC, p, "", fmt.Sprintf("manifests name more than %d tables of contents for it; the others were not compared", maxTables))
			return
		}
		b.tables = append(b.tables, oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: notes})
	}
}

// A line is an entry of a layer as far as it is compared with a table.
type line struct {
	name, link, attributes uint64 // hashes
	size                   int64
	mode                   uint16
	kind                   layer.Kind
	sum                    [32]byte // sha256 of the content of a file
}

// lineOf is an entry, without its content. What has no meaning is left out:
// the mode of a symlink, and all of a hard link but where it leads. So are
// times, of which tables have only the seconds.
func lineOf(h *maphash.Hash, e *layer.Entry) line {
	l := line{name: hashOf(h, e.Name), kind: e.Kind, size: e.Size}
	switch e.Kind {
	case layer.Whiteout, layer.Opaque:
		return l
	case layer.Symlink, layer.Link:
		l.link = hashOf(h, e.Link)
	}
	if e.Kind == layer.Link {
		return l
	}
	if e.Kind != layer.Symlink {
		l.mode = uint16(e.Header.Mode & 0o7777)
	}
	words := []string{}
	for k, v := range e.Header.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			words = append(words, k+"="+v)
		}
	}
	slices.Sort(words)
	var numbers []byte
	for _, v := range []int64{int64(e.Header.Uid), int64(e.Header.Gid), e.Header.Devmajor, e.Header.Devminor} {
		if e.Kind != layer.Char && e.Kind != layer.Block && len(numbers) == 16 {
			break // of others these numbers mean nothing
		}
		numbers = binary.LittleEndian.AppendUint64(numbers, uint64(v))
	}
	l.attributes = hashOf(h, append(words, string(numbers))...)
	return l
}

func hashOf(h *maphash.Hash, words ...string) uint64 {
	h.Reset()
	var n [8]byte
	for _, w := range words {
		binary.LittleEndian.PutUint64(n[:], uint64(len(w)))
		_, _ = h.Write(n[:])
		_, _ = h.WriteString(w)
	}
	return h.Sum64()
}

// differences names what a table says otherwise.
func (l *line) differences(t line, d oci.Digest) []string {
	var out []string
	note := func(what string, differs bool) {
		if differs {
			out = append(out, what)
		}
	}
	note("kind", l.kind != t.kind)
	note("link target", l.link != t.link)
	note("size", l.size != t.size)
	note("mode", l.mode != t.mode)
	note("owner, device or xattrs", l.attributes != t.attributes)
	if l.kind == layer.File && t.kind == layer.File {
		note("content", d != "" && d.Algorithm() == digest.SHA256 && d != digest.NewDigestFromBytes(digest.SHA256, l.sum[:]))
	}
	return out
}

// checkTables compares the tables of contents of a layer with what was read of
// its tar. Readers that use a table never see the tar, the others never see
// the table. Tables can be large: there is one in memory at a time.
func (c *checker) checkTables(ctx context.Context, b *blob) error {
	if b.scan == nil || b.scan.lines == nil { // a finding tells why
		return nil
	}
	c.tables.Lock()
	defer c.tables.Unlock()
	for _, d := range b.tables {
		t, err := layer.OpenTOC(ctx, ranged{oci.From(c.src, d)}, c.limits(d))
		switch {
		case err == nil:
			c.compareTable(b, t)
		case errors.Is(err, oci.ErrBusy) || ctx.Err() != nil:
			return err
		case errors.Is(err, oci.ErrUnsupported):
			c.add(Warning, CodeTOC, b.place, "", "it was not compared: "+err.Error())
		case layer.TOCFallback(err):
			c.add(Error, CodeTOC, b.place, "", err.Error())
		default:
			if err := c.fault(b.place, CodeTOC, err); err != nil {
				return err
			}
		}
	}
	b.scan.lines = nil
	return nil
}

// compareTable compares entry by entry: tables have them in the order of the
// layer.
func (c *checker) compareTable(b *blob, t *layer.TOC) {
	var h maphash.Hash
	h.SetSeed(c.seed)
	i, found := 0, 0
	add := func(name, text string) bool {
		if found++; found > maxPerLayer {
			name, text = "", "there is more to find in its table of contents"
		}
		c.add(Error, CodeTOC, b.place, shown(name), text)
		return found <= maxPerLayer
	}
	for e, err := range t.Entries() {
		switch {
		case err != nil:
			add("", "table of contents: "+err.Error())
			return
		case i >= len(b.scan.lines):
			add(e.Name, fmt.Sprintf("is in the table of contents; the layer ends after %d entries", i))
			return
		}
		l, want, d := &b.scan.lines[i], lineOf(&h, e), t.Digest(i)
		if l.name != want.name { // from here on all would differ
			add(e.Name, fmt.Sprintf("is entry %d of the table of contents; the layer has another name there", i+1))
			return
		}
		if what := l.differences(want, d); what != nil {
			if !add(e.Name, "differs between the layer and its table of contents: "+strings.Join(what, ", ")) {
				return
			}
		} else if e.Kind == layer.File && e.Size > 0 && (d == "" || d.Algorithm() != digest.SHA256) {
			if !add(e.Name, "has no sha256 in the table of contents: its content cannot be compared") {
				return
			}
		}
		i++
	}
	if i < b.scan.entries {
		add("", fmt.Sprintf("its table of contents has %d of %d entries", i, b.scan.entries))
	}
}

// limits are those of a layer.
func (c *checker) limits(d oci.Descriptor) layer.Limits {
	l := c.o.Limits
	if l.Bytes <= 0 {
		l.Bytes = max(64<<30, min(d.Size, 1<<60)*4)
	}
	return l
}

// A ranged blob can be read in its middle, also where that costs reading what
// comes before: other programs may have it in a place with ranges.
type ranged struct{ oci.Blob }

func (r ranged) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if b, ok := r.Blob.(oci.RangeBlob); ok {
		if rc, err := b.OpenRange(ctx, offset, length); !errors.Is(err, oci.ErrUnsupported) {
			return rc, err
		}
	}
	rc, err := r.Open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, rc, offset); err != nil {
		rc.Close()
		return nil, oci.Wrap("", string(r.Descriptor().Digest), err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(rc, length), rc}, nil
}
