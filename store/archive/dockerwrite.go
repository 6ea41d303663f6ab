// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// A text is a member that is not a blob.
type text struct {
	name string
	raw  []byte
}

// dockerEntries gives the entries the annotations that Docker 25 and later
// write and read: the full name, and the tag alone.
func dockerEntries(list []*entry) []*entry {
	out := make([]*entry, len(list))
	for i, e := range list {
		d := bare(e.d)
		if e.name != "" {
			d.Annotations = map[string]string{containerdName: e.name, v1.AnnotationRefName: e.name}
			if named, err := reference.ParseNormalizedNamed(e.name); err == nil {
				if t, ok := named.(reference.Tagged); ok {
					d.Annotations[v1.AnnotationRefName] = t.Tag()
				}
			}
		}
		out[i] = &entry{d: d}
	}
	return out
}

// dockerDocuments makes manifest.json and repositories.
func (a *Archive) dockerDocuments(ctx context.Context, r *reach, list []*entry) ([]text, error) {
	var items []*dockerItem
	byDigest := map[oci.Digest]*dockerItem{}
	repositories := map[string]map[string]string{}
	for _, e := range list {
		m := r.manifests[e.d.Digest]
		if m == nil || m.Config == nil {
			return nil, oci.Errorf(oci.ErrCorrupt, "image %s has no manifest", oci.Quote(a.shown(e.name)))
		}
		item := byDigest[e.d.Digest]
		if item == nil {
			var err error
			if item, err = a.dockerItem(ctx, r, m); err != nil {
				return nil, err
			}
			byDigest[e.d.Digest] = item
			items = append(items, item)
		}
		if e.name == "" {
			continue
		}
		item.RepoTags = append(item.RepoTags, a.shown(e.name))
		if named, err := reference.ParseNormalizedNamed(e.name); err == nil && len(m.Layers) > 0 {
			repo := reference.FamiliarName(named)
			if repositories[repo] == nil {
				repositories[repo] = map[string]string{}
			}
			if t, ok := named.(reference.Tagged); ok {
				repositories[repo][t.Tag()] = m.Layers[len(m.Layers)-1].Digest.Encoded()
			}
		}
	}
	manifest, err := json.Marshal(items)
	if err != nil {
		return nil, err
	}
	names, err := json.Marshal(repositories)
	if err == nil && len(manifest)+len(names) > maxDocument {
		err = oci.Errorf(oci.ErrInvalid, "%s would have more than %d bytes", manifestName, maxDocument)
	}
	return []text{{manifestName, manifest}, {repositoriesName, names}}, err
}

// dockerItem describes an image in manifest.json. Layers that are not there
// are said where to be had, by their diff IDs.
func (a *Archive) dockerItem(ctx context.Context, r *reach, m *oci.Manifest) (*dockerItem, error) {
	item := &dockerItem{Config: blobName(m.Config.Digest), Layers: []string{}}
	for i, d := range m.Layers {
		item.Layers = append(item.Layers, blobName(d.Digest))
		if len(d.URLs) == 0 {
			continue
		}
		at, err := a.pending.find(m.Config.Digest)
		for n := 0; errors.Is(err, oci.ErrNotFound) && n < len(r.from); n++ {
			at, err = r.from[n].find(ctx, m.Config.Digest)
		}
		var config v1.Image
		if err == nil && at.Size() <= oci.MaxConfig {
			err = json.NewDecoder(again(at)).Decode(&config)
		}
		if err != nil || len(config.RootFS.DiffIDs) != len(m.Layers) {
			continue // a stream: the config is gone
		}
		if item.LayerSources == nil {
			item.LayerSources = map[oci.Digest]oci.Descriptor{}
		}
		item.LayerSources[config.RootFS.DiffIDs[i]] = d
	}
	return item, nil
}
