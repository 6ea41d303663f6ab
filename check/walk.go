// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A walk goes from a root to all manifests, one level after the other. Unlike
// oci.Graph.Load it goes on where one of them is broken.
type walk struct {
	c         *checker
	seen      map[oci.Digest]oci.Descriptor
	platforms map[oci.Digest][]oci.Platform // what indexes say
	at        int
	bytes     int64 // of manifests
	next      []node
}

// A node is a manifest to read.
type node struct {
	place
	d oci.Descriptor
	m *oci.Manifest // nil: not to be had
}

func (c *checker) walk(ctx context.Context, root oci.Descriptor) error {
	w := &walk{c: c, seen: map[oci.Digest]oci.Descriptor{}, platforms: map[oci.Digest][]oci.Platform{}}
	if w.mention(place{digest: root.Digest}, root); len(w.next) == 0 { // whatever it calls itself, it is to be checked
		w.next = []node{{place: place{digest: root.Digest}, d: root}}
	}
	for depth := 0; len(w.next) > 0; depth++ {
		level := w.next
		w.next = nil
		if depth > oci.MaxDepth {
			c.add(Error, CodeLimit, level[0].place, "", fmt.Sprintf("indexes are nested more than %d deep", oci.MaxDepth))
			break
		}
		err := oci.Parallel(ctx, len(level), func(ctx context.Context, i int) (err error) {
			level[i].m, err = c.manifest(ctx, &level[i], depth == 0)
			return err
		})
		if err != nil {
			return err
		}
		for _, n := range level {
			if n.m == nil {
				continue
			}
			if !w.children(n) {
				w.next = nil
				break
			}
		}
	}
	for _, i := range c.images {
		i.claims = w.platforms[i.m.Descriptor.Digest]
	}
	return nil
}

// manifest reads one manifest and asks for its subject. It is nil if it could
// not be had, which is then a finding.
func (c *checker) manifest(ctx context.Context, n *node, isRoot bool) (*oci.Manifest, error) {
	d := n.d
	d.Data = nil // what is embedded does not show that the repository has it
	raw, err := oci.ReadAll(ctx, c.src, d, oci.MaxManifest)
	c.count(len(raw))
	switch {
	case err == nil:
	case isRoot && errors.Is(err, oci.ErrNotFound):
		return nil, err
	default:
		return nil, c.fault(n.place, CodeManifest, err)
	}
	m, err := oci.ParseManifest(d.MediaType, raw)
	switch {
	case errors.Is(err, oci.ErrCorrupt):
		c.add(Error, CodeData, n.place, "", err.Error())
		return nil, nil
	case err != nil:
		c.add(Error, CodeManifest, n.place, "", err.Error())
		return nil, nil
	}
	m.Descriptor.Digest = d.Digest // whatever the algorithm
	return m, c.subject(ctx, n.place, m)
}

func (c *checker) subject(ctx context.Context, p place, m *oci.Manifest) error {
	if m.Subject == nil {
		return nil
	}
	have, err := c.src.Stat(ctx, oci.Descriptor{MediaType: m.Subject.MediaType, Digest: m.Subject.Digest, Size: m.Subject.Size})
	switch {
	case errors.Is(err, oci.ErrNotFound):
		c.add(Note, CodeSubject, p, "", fmt.Sprintf("its subject %s is not in the repository", m.Subject.Digest))
		return nil
	case errors.Is(err, oci.ErrCorrupt) && !errors.Is(err, oci.ErrBusy), err == nil && have.Size != m.Subject.Size:
		c.add(Warning, CodeSubject, p, "", fmt.Sprintf("its subject %s does not have %d bytes", m.Subject.Digest, m.Subject.Size))
		return nil
	}
	return err
}

// mention notes what something leads to; a manifest that is new is to be read.
func (w *walk) mention(p place, d oci.Descriptor) (isNew bool) {
	if d.Platform != nil {
		p.platform = oci.FormatPlatform(*d.Platform)
		w.platforms[d.Digest] = append(w.platforms[d.Digest], *d.Platform)
	}
	old, again := w.seen[d.Digest]
	switch {
	case again && old.Size != d.Size:
		w.c.add(Error, CodeConflict, p, "", fmt.Sprintf("%s is mentioned with %d and with %d bytes", d.Digest, old.Size, d.Size))
	case again && old.MediaType != d.MediaType && (oci.IsManifest(d.MediaType) || oci.IsManifest(old.MediaType)):
		w.c.add(Error, CodeConflict, p, "", fmt.Sprintf("%s is mentioned as %s and as %s", d.Digest, oci.Quote(old.MediaType), oci.Quote(d.MediaType)))
	}
	if again {
		return false
	}
	w.seen[d.Digest] = d
	if oci.IsManifest(d.MediaType) {
		w.at++
		w.bytes += min(d.Size, oci.MaxGraph)
		w.next = append(w.next, node{place: place{w.at, d.Digest, p.platform, 0}, d: d})
	}
	return true
}

// children notes all that a manifest leads to; false ends the walk.
func (w *walk) children(n node) bool {
	c, m := w.c, n.m
	c.mix(n.place, m)
	if !m.IsIndex() {
		w.blobsOf(n)
	} else {
		c.stats.Indexes++
		c.crowded(n.place, m)
		for _, d := range m.Manifests {
			if w.mention(n.place, d) && !oci.IsManifest(d.MediaType) {
				c.blob(n.place, d)
			}
		}
	}
	if len(w.seen) > oci.MaxNodes || w.bytes > oci.MaxGraph {
		c.add(Error, CodeLimit, n.place, "", "it leads to more manifests and blobs than are checked")
		return false
	}
	return true
}

// blobsOf notes the blobs of an image or artifact.
func (w *walk) blobsOf(n node) {
	c, m := w.c, n.m
	i := &image{place: n.place, m: m}
	for k, d := range m.Children() {
		p := n.place
		p.digest = d.Digest
		w.mention(n.place, d)
		isConfig := m.Config != nil && k == 0
		if !isConfig {
			p.layer = len(i.layers) + 1
		}
		b := c.blob(p, d)
		if isConfig {
			i.config = b
		} else {
			i.layers = append(i.layers, b)
		}
	}
	if !isFileSystem(n.d, m) {
		c.stats.Artifacts++
		return
	}
	c.stats.Images++
	c.images = append(c.images, i)
	i.config.isConfig = true
	for k, b := range i.layers {
		d := m.Layers[k]
		switch {
		case oci.IsForeign(d):
			b.foreign = true
		case oci.IsLayer(d.MediaType):
			b.isLayer = true
			c.table(b.place, b, d)
		default:
			p := b.place
			p.at, p.platform, p.layer = n.at, n.platform, k+1
			c.add(Warning, CodeMediaType, p, "", fmt.Sprintf("%s is listed as a layer; it was checked by its digest only", oci.Quote(d.MediaType)))
		}
	}
}

// isFileSystem tells images from artifacts and attestations, which also use
// the media type of configs.
func isFileSystem(d oci.Descriptor, m *oci.Manifest) bool {
	switch {
	case m.Config == nil, !oci.IsConfig(m.Config.MediaType):
		return false
	case d.Platform != nil && d.Platform.OS == "unknown", d.Annotations["vnd.docker.reference.type"] != "":
		return false
	}
	for _, l := range m.Layers {
		if oci.IsLayer(l.MediaType) || oci.IsForeign(l) {
			return true
		}
	}
	return len(m.Layers) == 0
}

// mix finds media types of Docker and of OCI in one manifest. An OCI index may
// list Docker's manifests (image-spec, image-index.md), the other way round no
// one may.
func (c *checker) mix(p place, m *oci.Manifest) {
	docker := isDocker(m.Descriptor.MediaType)
	for _, d := range m.Children() {
		switch {
		case !docker && (m.IsIndex() || !isDocker(d.MediaType)):
			continue
		case docker && !strings.HasPrefix(d.MediaType, "application/vnd.oci.image."):
			continue
		}
		c.add(Warning, CodeMix, p, "", fmt.Sprintf("%s lists %s", m.Descriptor.MediaType, oci.Quote(d.MediaType)))
		return // one says it all
	}
}

func isDocker(mediaType string) bool { return strings.HasPrefix(mediaType, "application/vnd.docker.") }
