// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Limits for images of Docker before 1.10: layers, and bytes of what describes
// one.
const (
	maxLegacyLayers = 512
	maxLegacyJSON   = 1 << 20
)

// parseLegacy reads the member repositories of an archive without
// manifest.json: repository, tag, and the ID of the uppermost layer.
func (c *contents) parseLegacy() error {
	raw, err := c.members.document(repositoriesName, maxDocument)
	if err != nil {
		return err
	}
	var all map[string]map[string]string
	if err := decode(repositoriesName, raw, &all); err != nil {
		return err
	}
	tags, nodes := map[string][]string{}, 0 // by ID
	for repo, list := range all {
		for tag, id := range list {
			if nodes++; nodes > oci.MaxNodes || len(tags[id]) >= oci.MaxFanOut {
				return oci.Errorf(oci.ErrInvalid, "%s has more than %d names, or more than %d of one image", repositoriesName, oci.MaxNodes, oci.MaxFanOut)
			}
			tags[id] = append(tags[id], repo+":"+tag)
		}
	}
	ids := make([]string, 0, len(tags))
	for id, names := range tags {
		slices.Sort(names)
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(tags[a][0], tags[b][0]) })
	for i, id := range ids {
		c.addDocker(&dockerImage{dockerItem: dockerItem{Config: id, RepoTags: tags[id]}, legacy: true}, i)
	}
	c.legacy = true
	return nil
}

// A legacyLayer is what ID/json says about one layer, which was an image of its
// own.
type legacyLayer struct {
	ID              string          `json:"id"`
	Parent          string          `json:"parent"`
	Created         json.RawMessage `json:"created"`
	Author          string          `json:"author"`
	Comment         string          `json:"comment"`
	ContainerConfig struct {
		Cmd []string
	} `json:"container_config"`
	raw []byte
}

// A legacyHistory is a line of the history that is made of it.
type legacyHistory struct {
	Created   json.RawMessage `json:"created,omitempty"`
	Author    string          `json:"author,omitempty"`
	CreatedBy string          `json:"created_by,omitempty"`
	Comment   string          `json:"comment,omitempty"`
}

// upgrade makes a config of what describes the layers of a legacy image, as an
// engine does that loads it, and lists the layers.
func (c *contents) upgrade(ctx context.Context, i *dockerImage) error {
	chain, err := c.legacyChain(i.Config)
	if err != nil {
		return err
	}
	layers, ids := make([]string, len(chain)), make([]oci.Digest, len(chain))
	history := make([]legacyHistory, len(chain))
	for n, l := range chain {
		layers[n] = l.ID + "/layer.tar"
		history[n] = legacyHistory{l.Created, l.Author, strings.Join(l.ContainerConfig.Cmd, " "), l.Comment}
		var when time.Time
		if l.Created != nil && json.Unmarshal(l.Created, &when) != nil {
			return oci.Errorf(oci.ErrInvalid, "layer %s: created is not a time", oci.Quote(l.ID))
		}
	}
	err = oci.Parallel(ctx, len(chain), func(ctx context.Context, n int) error {
		r, err := c.members.open(layers[n])
		if err != nil {
			return err
		}
		var head [6]byte
		if k, _ := r.ReadAt(head[:], 0); layer.Sniff(head[:k]) != layer.None {
			return oci.Errorf(oci.ErrUnsupported, "layer %s of an image of Docker before 1.10 is packed", oci.Quote(layers[n]))
		}
		ids[n], err = c.hash(ctx, layers[n], r)
		return err
	})
	if err != nil {
		return err
	}
	config := map[string]any{}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(chain[len(chain)-1].raw, &top); err != nil {
		return oci.Errorf(oci.ErrInvalid, "layer %s: %w", oci.Quote(i.Config), err)
	}
	for k, v := range top {
		config[k] = v
	}
	for _, k := range []string{"id", "parent", "Size", "parent_id", "layer_id", "throwaway"} {
		delete(config, k)
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": ids}
	config["history"] = history
	if i.config, err = json.Marshal(config); err != nil {
		return err
	}
	i.Layers = layers
	return nil
}

// legacyChain reads the descriptions from a layer down to the lowest, and
// returns them the other way round.
func (c *contents) legacyChain(id string) ([]*legacyLayer, error) {
	var chain []*legacyLayer
	for id != "" {
		if len(chain) == maxLegacyLayers {
			return nil, oci.Errorf(oci.ErrInvalid, "an image of Docker before 1.10 has more than %d layers, or they go in a circle", maxLegacyLayers)
		}
		if strings.Trim(id, "0123456789abcdef") != "" || len(id) != 64 {
			return nil, oci.Errorf(oci.ErrInvalid, "layer ID %s", oci.Quote(id))
		}
		raw, err := c.document(id+"/json", maxLegacyJSON)
		if err != nil {
			return nil, err
		}
		l := &legacyLayer{raw: raw}
		if err := decode(id+"/json", raw, l, "id", "parent", "created", "author", "comment", "container_config", "rootfs", "history"); err != nil {
			return nil, err
		}
		l.ID = id
		chain = append(chain, l)
		id = l.Parent
	}
	slices.Reverse(chain)
	return chain, nil
}
