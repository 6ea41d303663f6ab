// SPDX-License-Identifier: Apache-2.0

// Package wrap has stores around stores.
package wrap

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// maxCached is the size up to which content is kept.
const maxCached = 4 << 20

// Cache reads manifests, indexes and configs from a directory that has kept them,
// and keeps those that it reads. Processes can share it; what is broken there is
// read anew. Names are resolved by the source alone, and layers come from it.
func Cache(s oci.Source, dir string) oci.Source { return &cache{s, dir} }

type cache struct {
	oci.Source
	dir string
}

// Unwrap implements oci.Unwrapper.
func (c *cache) Unwrap() any { return c.Source }

func (c *cache) path(d oci.Digest) string {
	return filepath.Join(c.dir, d.Algorithm().String()+"-"+d.Encoded())
}

// Open implements oci.Source.
func (c *cache) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if _, err := oci.ParseDigest(string(d.Digest)); err != nil || d.Size > maxCached || !oci.IsManifest(d.MediaType) && !oci.IsConfig(d.MediaType) {
		return c.Source.Open(ctx, d)
	}
	if raw := c.kept(d); raw != nil {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	raw, err := oci.ReadAll(ctx, c.Source, d, maxCached)
	if err != nil {
		return nil, err
	}
	c.keep(d.Digest, raw)
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// A name is what a name meant when it was looked up last.
type name struct {
	MediaType string     `json:"mediaType"`
	Digest    oci.Digest `json:"digest"`
}

// Get implements oci.Getter. What a digest means is not asked again; a tag is, but
// with a small request where it can be expected that it means what it did.
func (c *cache) Get(ctx context.Context, tag string) (*oci.Manifest, error) {
	note := filepath.Join(c.dir, "names", oci.FromBytes([]byte(c.place()+"\n"+tag)).Encoded())
	if was, ok := readName(note); ok && c.place() != "" {
		d := oci.Descriptor{MediaType: was.MediaType, Digest: was.Digest}
		if string(was.Digest) != tag {
			now, err := c.Resolve(ctx, tag)
			if err != nil {
				return nil, err
			}
			d = now
		}
		if raw := c.kept(d); raw != nil {
			if m, err := oci.ParseManifest(d.MediaType, raw); err == nil {
				m.Descriptor.Digest = d.Digest
				return m, nil
			}
		}
	}
	m, err := oci.Get(ctx, c.Source, tag)
	if err != nil {
		return nil, err
	}
	c.keep(m.Descriptor.Digest, m.Raw)
	if raw, err := json.Marshal(name{m.Descriptor.MediaType, m.Descriptor.Digest}); err == nil {
		_ = disk.Keep(note, func(w io.Writer) error { _, err := w.Write(raw); return err })
	}
	return m, nil
}

// place names the repository; "" of what is no registry's.
func (c *cache) place() string {
	if l, ok := oci.As[oci.Locator](c.Source); ok {
		if host, repo := l.Locate(); host != "" {
			return host + "/" + repo
		}
	}
	return ""
}

func readName(path string) (n name, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return n, false
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil || json.Unmarshal(raw, &n) != nil || !oci.IsManifest(n.MediaType) {
		return n, false
	}
	_, err = oci.ParseDigest(string(n.Digest))
	return n, err == nil
}

// kept is the content of a digest that is kept.
func (c *cache) kept(d oci.Descriptor) []byte {
	f, err := os.Open(c.path(d.Digest))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxCached+1))
	if err != nil || d.Size > 0 && int64(len(raw)) != d.Size || d.Digest.Algorithm().FromBytes(raw) != d.Digest {
		return nil
	}
	return raw
}

func (c *cache) keep(d oci.Digest, raw []byte) {
	_ = disk.Keep(c.path(d), func(w io.Writer) error { _, err := w.Write(raw); return err }) // else it is read again
}
