// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A scan is what has to be known of a layer when its images are looked at.
type scan struct {
	sums  map[digest.Algorithm]oci.Digest // of the tar; empty if it could not be unpacked
	names names                           // nil if they are not known
	links []hardLink                      // to what the layer does not have before them

	lines   []line // for its tables of contents; nil without one
	entries int    // all, also those that are not in lines
}

// scanLayer reads a layer in one pass: it is unpacked, hashed and read as tar
// while its packed bytes are hashed in the reader below. Errors of that reader
// are not looked at here, they stay with it.
func (c *checker) scanLayer(b *blob, packed io.Reader) (*scan, []Finding) {
	s := &scan{}
	plain, kind, err := layer.Decompress(packed)
	if err != nil {
		return s, []Finding{{Severity: Error, Code: CodeUnpack, Text: err.Error()}}
	}
	defer plain.Close()
	var found []Finding
	if want, known := packing(b.d.MediaType); known && want != kind {
		found = append(found, Finding{Severity: Warning, Code: CodeMediaType, Text: fmt.Sprintf("its media type %s says %s, its bytes are %s", oci.Quote(b.d.MediaType), want, kind)})
	}
	limits := c.limits(b.d)
	t := &tarBytes{r: plain, left: limits.Bytes, sums: map[digest.Algorithm]hash.Hash{}}
	for _, a := range b.algs {
		if kind != layer.None || a != b.d.Digest.Algorithm() { // else the digest is the diff ID
			t.sums[a] = a.Hash()
		}
	}
	n := newNamer(c.seed)
	if len(b.tables) > 0 {
		n.sum = sha256.New()
	}
	r := layer.NewReader(t, limits)
	err = n.readAll(r)
	_, _ = io.Copy(io.Discard, t) // whatever the tar says, the diff ID is of all of it
	found = append(found, n.found...)
	switch {
	case errors.Is(t.err, errTooLarge):
		return s, append(found, Finding{Severity: Error, Code: CodeLimit, Text: fmt.Sprintf("it unpacks to more than %d bytes", limits.Bytes)})
	case t.err != io.EOF:
		return s, append(found, Finding{Severity: Error, Code: CodeUnpack, Text: t.err.Error()})
	case err != nil:
		found = append(found, Finding{Severity: Error, Code: CodeTar, Text: err.Error()})
	case t.last >= r.End():
		found = append(found, Finding{Severity: Warning, Code: CodeTrailing, Text: fmt.Sprintf("bytes follow the end of its tar at %d", r.End())})
	}
	s.sums = map[digest.Algorithm]oci.Digest{}
	if kind == layer.None {
		s.sums[b.d.Digest.Algorithm()] = b.d.Digest
	}
	for a, h := range t.sums {
		s.sums[a] = digest.NewDigest(a, h)
	}
	if err == nil {
		s.lines, s.entries = n.lines, n.entries
	}
	if err == nil && c.kept.Add(int64(len(n.names))) <= maxNames {
		s.names, s.links = n.names, n.links
	}
	return s, found
}

// packing is the compression that a media type names; not known for those that
// name none that dray knows.
func packing(mediaType string) (layer.Compression, bool) {
	for _, c := range []layer.Compression{layer.Gzip, layer.Zstd} {
		if strings.HasSuffix(mediaType, "+"+string(c)) || strings.HasSuffix(mediaType, "."+string(c)) {
			return c, true
		}
	}
	return layer.None, strings.HasSuffix(mediaType, ".tar")
}

var errTooLarge = errors.New("too large")

// tarBytes hashes and bounds what it hands out. Its error is sticky.
type tarBytes struct {
	r    io.Reader
	sums map[digest.Algorithm]hash.Hash
	left int64
	pos  int64
	last int64 // offset of the last byte that is not zero, to its block; -1 without one
	err  error
}

func (t *tarBytes) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if t.pos == 0 {
		t.last = -1
	}
	n, err := t.r.Read(p)
	if t.left -= int64(n); t.left < 0 {
		n, err = 0, errTooLarge
	}
	for _, h := range t.sums {
		h.Write(p[:n])
	}
	if i := lastBlock(p[:n]); i >= 0 {
		t.last = t.pos + int64(i)
	}
	t.pos += int64(n)
	t.err = err
	return n, err
}

var zeros [512]byte

// lastBlock is the offset of the last byte that is not zero; -1 if all are.
func lastBlock(p []byte) int {
	for len(p) > len(zeros) && bytes.Equal(p[len(p)-len(zeros):], zeros[:]) {
		p = p[:len(p)-len(zeros)]
	}
	return len(bytes.TrimRight(p, "\x00")) - 1
}
