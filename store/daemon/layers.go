// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// maxImages is how many images of the engine are looked at, the newest first.
const maxImages = 500

// layers knows which layers the engine has.
type layers struct {
	c *client

	mu     sync.Mutex
	asked  bool
	chains [][]oci.Digest      // diff IDs of its images, from the bottom
	there  map[oci.Digest]bool // layers by what is admitted: false if it must be sent

	configs map[oci.Digest]oci.Digest // of manifests that were admitted
	names   map[string]oci.Digest     // what names will mean: manifests
}

func newLayers(c *client) *layers {
	return &layers{c: c, there: map[oci.Digest]bool{}, configs: map[oci.Digest]oci.Digest{}, names: map[string]oci.Digest{}}
}

// omit reports whether a layer need not be sent.
func (l *layers) omit(d oci.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.there[d]
}

// learn compares an image with those of the engine.
func (l *layers) learn(ctx context.Context, m *oci.Manifest, from oci.Source) error {
	raw, err := oci.ReadAll(ctx, from, *m.Config, oci.MaxConfig)
	if err != nil {
		return err
	}
	var config struct {
		RootFS struct {
			DiffIDs []oci.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return oci.Errorf(oci.ErrInvalid, "config %s: %w", m.Config.Digest, err)
	}
	ids := config.RootFS.DiffIDs
	if len(ids) != len(m.Layers) {
		return oci.Errorf(oci.ErrInvalid, "config %s has %d diff IDs for %d layers", m.Config.Digest, len(ids), len(m.Layers))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.asked {
		if l.chains, err = l.c.chains(ctx); err != nil {
			return err
		}
		l.asked = true
	}
	l.configs[m.Descriptor.Digest] = m.Config.Digest
	shared := 0
	for _, chain := range l.chains {
		n := 0
		for n < len(chain) && n < len(ids) && chain[n] == ids[n] {
			n++
		}
		shared = max(shared, n)
	}
	for i, d := range m.Layers {
		before, known := l.there[d.Digest]
		l.there[d.Digest] = i < shared && (before || !known) // one digest can be at several places
	}
	return nil
}

// name notes what a name will mean.
func (l *layers) name(name string, manifest oci.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[name] = manifest
}

// check looks whether the engine has what it took: by the ID that an engine
// gives to an image, the digest of its config, or else of its manifest.
func (l *layers) check(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, manifest := range l.names {
		info, err := l.c.inspect(ctx, name)
		if err != nil && !errors.Is(err, oci.ErrNotFound) {
			return err
		}
		if config := l.configs[manifest]; err != nil || config != "" && l.chains != nil && info.ID != config && info.ID != manifest {
			return oci.Errorf(oci.ErrBusy, "the Docker engine took it, but %s does not mean it: another program may have changed that", oci.Quote(name))
		}
	}
	return nil
}

// chains lists the layers of the engine's images. None if the engine keeps its
// images in containerd, or is Podman: those want all blobs.
func (c *client) chains(ctx context.Context) ([][]oci.Digest, error) {
	var info struct{ DriverStatus [][]string }
	if err := c.ask(ctx, "/info", nil, &info); err != nil {
		return nil, err
	}
	if c.libpod {
		return nil, nil
	}
	for _, line := range info.DriverStatus {
		if strings.Contains(strings.Join(line, " "), "io.containerd.snapshotter") {
			return nil, nil
		}
	}
	var list []imageInfo
	if err := c.ask(ctx, "/images/json", url.Values{}, &list); err != nil {
		return nil, err
	}
	if len(list) > maxImages {
		list = list[:maxImages]
	}
	out := make([][]oci.Digest, len(list)) // never nil
	err := oci.Parallel(ctx, len(list), func(ctx context.Context, i int) error {
		if _, err := oci.ParseDigest(string(list[i].ID)); err != nil {
			return err
		}
		info, err := c.inspect(ctx, string(list[i].ID))
		if err == nil {
			out[i] = info.RootFS.Layers
		}
		return ctx.Err() // an image that has just gone is none
	})
	return out, err
}
