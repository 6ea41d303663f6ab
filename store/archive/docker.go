// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"sync"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A dockerItem is one image of manifest.json.
type dockerItem struct {
	Config       string
	RepoTags     []string
	Layers       []string
	LayerSources map[oci.Digest]oci.Descriptor `json:",omitempty"` // by diff ID
}

// A dockerImage is an image whose manifest is made, or found, when it is
// needed: that may take hashing its layers.
type dockerImage struct {
	dockerItem
	legacy bool   // of Docker before 1.10: Config is the ID of its uppermost layer
	config []byte // nil: it is the member Config

	mu  sync.Mutex
	d   oci.Descriptor
	err error
}

// parseDocker reads manifest.json, and index.json if it is there as well.
func (c *contents) parseDocker() error {
	raw, err := c.members.document(manifestName, maxDocument)
	if err != nil {
		return err
	}
	var items []dockerItem
	if err := decode(manifestName, raw, &items, "Config", "RepoTags", "Layers", "LayerSources", "Parent"); err != nil {
		return err
	}
	nodes := 0
	for i, item := range items {
		most := max(len(item.Layers), len(item.RepoTags), len(item.LayerSources))
		if nodes += 1 + len(item.Layers) + len(item.RepoTags) + len(item.LayerSources); nodes > oci.MaxNodes || most > oci.MaxFanOut {
			return oci.Errorf(oci.ErrInvalid, "%s has more than %d images, names and layers, or more than %d of one image", manifestName, oci.MaxNodes, oci.MaxFanOut)
		}
		c.addDocker(&dockerImage{dockerItem: item}, i)
	}
	if c.members.has(layoutName) && c.members.has(indexName) {
		entries := c.entries
		err = c.parseIndex()
		c.entries = entries // index.json only serves to find the manifests
	}
	c.legacy = c.index == nil
	return err
}

// addDocker makes an entry for each name of an image.
func (c *contents) addDocker(image *dockerImage, at int) {
	for _, tag := range image.RepoTags {
		e := &entry{name: tag, image: image, at: at}
		if full, ok := dockerName(tag); ok {
			e.name = full
		}
		c.entries = append(c.entries, e)
	}
	if len(image.RepoTags) == 0 {
		c.entries = append(c.entries, &entry{image: image, at: at})
	}
}

// settle tells the manifest of an entry.
func (c *contents) settle(ctx context.Context, e *entry) (oci.Descriptor, error) {
	if e.image == nil {
		return e.d, e.err
	}
	i := e.image
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.d.Digest == "" && i.err == nil {
		d, err := c.dockerManifest(ctx, i)
		if err != nil && ctx.Err() != nil {
			return oci.Descriptor{}, err
		}
		i.d, i.err = d, oci.Wrap("", "image "+oci.Quote(i.Config), err)
	}
	return i.d, i.err
}

// dockerManifest finds the manifest of an image in index.json, or makes one:
// Docker's schema 2, the same for the same archive.
func (c *contents) dockerManifest(ctx context.Context, i *dockerImage) (oci.Descriptor, error) {
	if i.legacy && i.config == nil {
		if err := c.upgrade(ctx, i); err != nil {
			return oci.Descriptor{}, err
		}
	}
	raw, at := i.config, section(i.config)
	if raw == nil {
		var err error
		if at, err = c.members.open(i.Config); err != nil {
			return oci.Descriptor{}, err
		}
		if raw, err = c.document(i.Config, oci.MaxConfig); err != nil {
			return oci.Descriptor{}, err
		}
	}
	config := oci.Descriptor{MediaType: oci.MediaDockerConfig, Digest: oci.FromBytes(raw), Size: int64(len(raw))}
	if m := c.native(ctx, config.Digest, i.Layers); m != nil {
		return m.Descriptor, nil
	}
	var parsed struct {
		RootFS struct {
			DiffIDs []oci.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := decode("config", raw, &parsed, "rootfs", "diff_ids"); err != nil {
		return oci.Descriptor{}, err
	}
	ids := parsed.RootFS.DiffIDs
	if len(ids) != len(i.Layers) {
		return oci.Descriptor{}, oci.Errorf(oci.ErrInvalid, "config has %d diff IDs for %d layers", len(ids), len(i.Layers))
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaDockerManifest, Config: config, Layers: make([]oci.Descriptor, len(ids))}
	err := oci.Parallel(ctx, len(ids), func(ctx context.Context, n int) error {
		var err error
		m.Layers[n], err = c.dockerLayer(ctx, i, i.Layers[n], ids[n])
		return err
	})
	if err != nil {
		return oci.Descriptor{}, err
	}
	doc, err := json.Marshal(m)
	if err != nil {
		return oci.Descriptor{}, err
	}
	c.add(config.Digest, at)
	d := oci.Descriptor{MediaType: oci.MediaDockerManifest, Digest: oci.FromBytes(doc), Size: int64(len(doc))}
	c.add(d.Digest, section(doc))
	return d, nil
}

// document reads a small member. One archive has us read only so many bytes of
// them: many images can have one config.
func (c *contents) document(name string, limit int64) ([]byte, error) {
	raw, err := c.members.document(name, limit)
	if c.parsed.Add(int64(len(raw))) > oci.MaxGraph {
		err = oci.Errorf(oci.ErrInvalid, "more than %d bytes of configs", oci.MaxGraph)
	}
	return raw, err
}

// A packed is the digest of a member, which is found out once.
type packed struct {
	mu sync.Mutex
	d  oci.Digest
}

// hash computes the sha256 digest of a member.
func (c *contents) hash(ctx context.Context, name string, r *io.SectionReader) (oci.Digest, error) {
	c.mu.Lock()
	if c.hashes == nil {
		c.hashes = map[string]*packed{}
	}
	p := c.hashes[path.Clean(name)]
	if p == nil {
		p = &packed{}
		c.hashes[path.Clean(name)] = p
	}
	c.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.d != "" {
		return p.d, nil
	}
	select { // each has a large buffer
	case c.hashing <- struct{}{}:
		defer func() { <-c.hashing }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	h := sha256.New()
	if _, err := copyTo(ctx, h, again(r)); err != nil {
		return "", err
	}
	p.d = oci.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	return p.d, nil
}

// add makes bytes known under their digest; the first that claim it count.
func (c *contents) add(d oci.Digest, r *io.SectionReader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made[d] == nil {
		c.made[d] = r
	}
}

// dockerLayer describes a layer. A plain tar is known by the diff ID that the
// config gives it, which shows when it is read; a packed one is hashed.
func (c *contents) dockerLayer(ctx context.Context, i *dockerImage, name string, id oci.Digest) (oci.Descriptor, error) {
	if _, err := oci.ParseDigest(string(id)); err != nil {
		return oci.Descriptor{}, err
	}
	source, foreign := i.LayerSources[id]
	foreign = foreign && oci.CheckDescriptor(source) == nil && len(source.URLs) > 0
	r, err := c.members.open(name)
	if errors.Is(err, oci.ErrNotFound) && foreign { // to be had from its URLs
		return source, nil
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	var head [6]byte
	n, err := r.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return oci.Descriptor{}, err
	}
	d := oci.Descriptor{Digest: id, Size: r.Size()}
	switch kind := layer.Sniff(head[:n]); kind {
	case layer.None:
		d.MediaType = oci.MediaDockerPlain
	case layer.Gzip, layer.Zstd:
		d.MediaType = layer.MediaType(oci.MediaDockerPlain, kind)
		if d.Digest, err = c.hash(ctx, name, r); err != nil {
			return oci.Descriptor{}, err
		}
	default:
		return oci.Descriptor{}, oci.Errorf(oci.ErrUnsupported, "layer %s is packed with %s, which no manifest can say", oci.Quote(name), kind)
	}
	if foreign && source.Digest == d.Digest && source.Size == d.Size {
		d = source
	}
	c.add(d.Digest, r)
	return d, nil
}

// native finds a manifest in index.json that is exactly this image: the same
// config, and as its layers the same members.
func (c *contents) native(ctx context.Context, config oci.Digest, layers []string) *oci.Manifest {
	for _, m := range c.natives(ctx) {
		same := m.Config.Digest == config && len(m.Layers) == len(layers) && c.members.has(blobName(config))
		for n := 0; same && n < len(layers); n++ {
			same = path.Clean(layers[n]) == blobName(m.Layers[n].Digest)
		}
		if same {
			return m
		}
	}
	return nil
}

// natives lists the image manifests that index.json leads to, and that are
// there; docker save leaves out those of other platforms.
func (c *contents) natives(ctx context.Context) []*oci.Manifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index == nil || c.read {
		return c.list
	}
	raw := c.index.values["manifests"]
	var level []oci.Descriptor
	_ = json.Unmarshal(raw, &level)
	seen := map[oci.Digest]bool{}
	for depth, bytes := 0, 0; depth <= oci.MaxDepth && len(level) > 0; depth++ {
		var next []oci.Descriptor
		for _, d := range level {
			if ctx.Err() != nil {
				return nil
			}
			if seen[d.Digest] || oci.CheckDescriptor(d) != nil || !oci.IsManifest(d.MediaType) || len(seen) > oci.MaxNodes || bytes > oci.MaxGraph {
				continue
			}
			seen[d.Digest] = true
			r, err := c.members.regular(blobName(d.Digest))
			if err != nil {
				continue
			}
			m, err := parseManifest(d, r)
			if err != nil {
				continue
			}
			bytes += len(m.Raw)
			next = append(next, m.Manifests...)
			if m.Config != nil {
				c.list = append(c.list, m)
			}
		}
		level = next
	}
	c.read = true
	return c.list
}
