// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// An image is a manifest with a file system.
type image struct {
	place
	m       *oci.Manifest
	config  *blob
	layers  []*blob
	claims  []oci.Platform // what indexes say
	diffIDs []oci.Digest   // nil if the config does not have one for each layer
}

// The keys of a config whose spelling matters for what is checked here.
var configKeys = []string{"architecture", "os", "variant", "os.version", "rootfs", "diff_ids", "history", "empty_layer"}

// readImages reads the configs and compares them with their manifests.
func (c *checker) readImages(ctx context.Context) error {
	return oci.Parallel(ctx, len(c.images), func(ctx context.Context, n int) error {
		i := c.images[n]
		p := i.place
		p.digest = i.config.d.Digest
		d := i.config.d
		d.Data = nil
		raw, err := oci.ReadAll(ctx, c.src, d, oci.MaxConfig)
		c.count(len(raw))
		if err != nil {
			return c.fault(p, CodeConfig, err)
		}
		c.checkConfig(i, p, raw)
		return nil
	})
}

func (c *checker) checkConfig(i *image, p place, raw []byte) {
	if err := oci.CheckJSON(raw, configKeys...); err != nil {
		c.add(Error, CodeConfig, p, "", err.Error())
		return
	}
	var config v1.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		c.add(Error, CodeConfig, p, "", "not an image config: "+err.Error())
		return
	}
	if config.OS == "" || config.Architecture == "" {
		c.add(Warning, CodeConfig, p, "", "it does not say os and architecture")
	}
	if t := config.RootFS.Type; t != "layers" {
		c.add(Warning, CodeConfig, p, "", fmt.Sprintf("its rootfs has the type %s, not layers", oci.Quote(t)))
	}
	for _, claim := range i.claims {
		c.checkPlatform(p, claim, config.Platform)
	}
	c.checkHistory(p, config.History, len(i.layers))
	if have := len(config.RootFS.DiffIDs); have != len(i.layers) {
		c.add(Error, CodeLayers, p, "", fmt.Sprintf("it has %d diff IDs for %d layers", have, len(i.layers)))
		return
	}
	for n, id := range config.RootFS.DiffIDs {
		if _, err := oci.ParseDigest(string(id)); err != nil {
			p.layer = n + 1
			c.add(Error, CodeConfig, p, "", err.Error())
			return
		}
	}
	i.diffIDs = config.RootFS.DiffIDs
}

// checkPlatform compares what an index says of an image with what the image
// says. A variant or version that one of them leaves out is ordinary in old
// images, but readers then choose differently.
func (c *checker) checkPlatform(p place, claim, have oci.Platform) {
	a, b := oci.NormalizePlatform(claim), oci.NormalizePlatform(have)
	text := fmt.Sprintf("the index says %s, the config %s", oci.FormatPlatform(claim), oci.FormatPlatform(have))
	switch {
	case b.OS == "" || b.Architecture == "": // said already
	case a.OS != b.OS, a.Architecture != b.Architecture,
		a.Variant != b.Variant && a.Variant != "" && b.Variant != "",
		a.OSVersion != b.OSVersion && a.OSVersion != "" && b.OSVersion != "":
		c.add(Error, CodePlatform, p, "", text)
	case a.Variant != b.Variant, a.OSVersion != "" && b.OSVersion == "":
		c.add(Warning, CodePlatform, p, "", text)
	}
}

// crowded finds images of an index for the same platform: readers choose one of
// them, some the first and some the last.
func (c *checker) crowded(p place, m *oci.Manifest) {
	first := map[string]oci.Digest{}
	for _, d := range m.Manifests {
		if d.Platform == nil || !oci.IsManifest(d.MediaType) || oci.IsIndex(d.MediaType) || d.ArtifactType != "" ||
			d.Platform.OS == "unknown" || d.Annotations[oci.AnnotationAbout] != "" {
			continue
		}
		x := oci.NormalizePlatform(*d.Platform)
		features := slices.Sorted(slices.Values(x.OSFeatures))
		key := fmt.Sprintf("%q", append([]string{x.OS, x.Architecture, x.Variant, x.OSVersion}, features...))
		if old, ok := first[key]; ok && old != d.Digest {
			c.add(Warning, CodePlatform, p, "", fmt.Sprintf("two images for %s: %s and %s", oci.FormatPlatform(*d.Platform), old, d.Digest))
		} else {
			first[key] = d.Digest
		}
	}
}

// checkHistory wants no history, or an entry for each layer (image-spec,
// config.md, "history"). Engines run an image without; rebasing it goes wrong.
func (c *checker) checkHistory(p place, h []v1.History, layers int) {
	n := 0
	for _, e := range h {
		if !e.EmptyLayer {
			n++
		}
	}
	if len(h) > 0 && n != layers {
		c.add(Warning, CodeHistory, p, "", fmt.Sprintf("its history tells of %d layers, there are %d", n, layers))
	}
}

// compare compares the layers that were read with what each image says.
func (c *checker) compare() {
	told := map[string]bool{} // links that are said to be broken, by layer and name
	for _, i := range c.images {
		for n, b := range i.layers {
			if b.scan == nil {
				continue
			}
			p := place{i.at, b.d.Digest, i.platform, n + 1}
			if i.diffIDs != nil {
				want := i.diffIDs[n]
				if have := b.scan.sums[want.Algorithm()]; have != "" && have != want {
					c.add(Error, CodeDiffID, p, "", fmt.Sprintf("its diff ID is %s, the config says %s", have, want))
				}
			}
			c.hardLinks(p, i.layers[:n+1], told)
		}
	}
}
