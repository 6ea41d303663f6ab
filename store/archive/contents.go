// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/oci"
)

// The members of an archive that are not blobs.
const (
	layoutName       = "oci-layout"
	indexName        = "index.json"
	manifestName     = "manifest.json" // Docker's list of images
	repositoriesName = "repositories"  // the list of Docker before 1.10

	layoutContent = `{"imageLayoutVersion":"1.0.0"}`
)

// contents are what an archive holds at one moment. The zero value holds
// nothing.
type contents struct {
	file    *file
	members *members
	index   *document // nil if there is no index.json that counts
	entries []*entry
	legacy  bool // to be written anew in any case

	mu   sync.Mutex // guards what follows, and the entries' images
	made map[oci.Digest]*io.SectionReader
	list []*oci.Manifest // the image manifests that index.json leads to
	read bool            // list is filled

	hashes  map[string]*packed // by member
	hashing chan struct{}      // a slot for each at a time
	parsed  atomic.Int64       // bytes of documents

	manifests manifests
}

func (c *contents) close() { c.file.close() }

// empty reports that there is no archive yet.
func (c *contents) empty() bool { return c.file == nil }

// parse finds out what the file holds.
func (a *Archive) parse(ctx context.Context, f *file) (*contents, error) {
	m, err := scan(ctx, f, f.size)
	if err != nil {
		return nil, err
	}
	c := &contents{file: f, members: m, made: map[oci.Digest]*io.SectionReader{}, hashing: make(chan struct{}, 8)}
	switch docker := m.has(manifestName) || m.has(repositoriesName); {
	case a.o.Kind == OCI && docker && a.o.Write:
		err = oci.Errorf(oci.ErrInvalid, "it is a Docker archive: write it as docker-archive:")
	case a.o.Kind == OCI && docker && !m.has(indexName):
		err = oci.Errorf(oci.ErrInvalid, "it is a Docker archive: read it as docker-archive:")
	case a.o.Kind == OCI:
		err = c.parseLayout()
	case m.has(manifestName):
		err = c.parseDocker()
	case m.has(repositoriesName):
		err = c.parseLegacy()
	case m.has(indexName):
		err = oci.Errorf(oci.ErrInvalid, "it is an OCI archive: use oci-archive:")
	default:
		err = oci.Errorf(oci.ErrInvalid, "it has no member %s: not a Docker archive", manifestName)
	}
	for i := 0; err == nil && a.o.Write && i < len(c.entries); i++ { // what is there has to be known to be kept
		switch e := c.entries[i]; {
		case e.err != nil:
			err = oci.Errorf(oci.ErrUnsupported, "what its entry @%d leads to cannot be known, and would be lost: %v", e.at, e.err)
		case e.image != nil:
			e.d, err = c.settle(ctx, e)
			e.image = nil
		}
	}
	return c, err
}

// blobName is the member of a blob.
func blobName(d oci.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// find gives the bytes of a blob, not verified. ErrNotFound if it is not there.
func (c *contents) find(ctx context.Context, d oci.Digest) (*io.SectionReader, error) {
	if c.empty() {
		return nil, notHere(d)
	}
	if r := c.known(d); r != nil {
		return r, nil
	}
	for _, e := range c.entries { // it may be in an image of a Docker archive that was not asked for
		if e.image == nil {
			continue
		}
		if _, err := c.settle(ctx, e); err != nil && ctx.Err() != nil {
			return nil, err
		}
		if r := c.known(d); r != nil {
			return r, nil
		}
	}
	r, err := c.members.regular(blobName(d))
	if errors.Is(err, oci.ErrNotFound) {
		err = notHere(d)
	}
	return r, err
}

func (c *contents) known(d oci.Digest) *io.SectionReader {
	c.mu.Lock()
	r := c.made[d]
	c.mu.Unlock()
	if r != nil {
		return r
	}
	if r == nil {
		r, _ = c.members.regular(blobName(d))
	}
	return r
}

// blobs lists the members that are blobs, in byte order. ErrUnsupported if one
// has a digest that cannot be checked.
func (c *contents) blobs() (out []oci.Digest, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.members.byName)) {
		rest, ok := strings.CutPrefix(name, "blobs/")
		if !ok || c.members.byName[name].link != "" {
			continue
		}
		alg, hex, _ := strings.Cut(rest, "/")
		d, err := oci.ParseDigest(alg + ":" + hex)
		if err != nil {
			return nil, oci.Errorf(oci.ErrUnsupported, "member %s may belong to an image and cannot be kept: %v", oci.Quote(name), err)
		}
		out = append(out, d)
	}
	return out, nil
}

func notHere(d oci.Digest) error { return oci.Errorf(oci.ErrNotFound, "no blob %s", d) }

func parseManifest(d oci.Descriptor, r *io.SectionReader) (*oci.Manifest, error) {
	if sized(d) && r.Size() != d.Size {
		return nil, wrongSize(d, r.Size())
	}
	if d.Size = r.Size(); d.Size > oci.MaxManifest {
		return nil, oci.Errorf(oci.ErrInvalid, "%s has %d bytes, more than a manifest may have", d.Digest, d.Size)
	}
	raw, err := io.ReadAll(oci.Verify(io.NopCloser(again(r)), d))
	if err != nil {
		return nil, err
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	if err != nil {
		return nil, oci.Wrap("", string(d.Digest), err)
	}
	m.Descriptor.Digest = d.Digest
	return m, nil
}

func wrongSize(d oci.Descriptor, size int64) error {
	return oci.Errorf(oci.ErrCorrupt, "%s has %d bytes, want %d", d.Digest, size, d.Size)
}

// sized reports whether the descriptor tells a size: zero is one only for the
// blob without bytes.
func sized(d oci.Descriptor) bool {
	return d.Size > 0 || d.Digest == d.Digest.Algorithm().FromBytes(nil)
}

// again reads a section from its start, whoever else reads it.
func again(r *io.SectionReader) *io.SectionReader { return io.NewSectionReader(r, 0, r.Size()) }

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// parseLayout reads an OCI layout.
func (c *contents) parseLayout() error {
	raw, err := c.members.document(layoutName, maxDocument)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "not an OCI archive: %w", err)
	}
	var v struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := decode(layoutName, raw, &v, "imageLayoutVersion"); err != nil {
		return err
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return oci.Errorf(oci.ErrUnsupported, "OCI layout version %s, want 1.x", oci.Quote(v.Version))
	}
	return c.parseIndex()
}

// parseIndex reads index.json.
func (c *contents) parseIndex() error {
	raw, err := c.members.document(indexName, maxDocument)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "not an OCI archive: %w", err)
	}
	c.index, c.entries, err = parseIndex(raw)
	return err
}
