// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"hash/maphash"
	"path"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// hardLinks looks at hard links of the last of the layers to what it does not
// have before them. told are those that something is said of.
func (c *checker) hardLinks(p place, layers []*blob, told map[string]bool) {
	b := layers[len(layers)-1]
	for _, l := range b.scan.links {
		key := string(b.d.Digest) + l.name
		if told[key] {
			continue
		}
		how, why := Error, ""
		switch c.leads(layers, l.target) {
		case toNothing:
			why = "hard link to %s, which is not there"
		case toDir:
			why = "hard link to %s, which is a directory"
		case toFile:
			how, why = Warning, "hard link to %s of a lower layer, which Docker engines cannot extract (overlay2)"
		default:
			continue
		}
		told[key] = true
		c.add(how, CodeHardLink, p, shown(l.name), fmt.Sprintf(why, oci.Quote(shown(l.target))))
	}
}

// A lead is what a hard link leads to in lower layers.
type lead uint8

const (
	unclear lead = iota // a layer was not read, a path goes through a link
	toNothing
	toDir
	toFile
)

// leads finds what a hard link of the last of the layers leads to.
func (c *checker) leads(layers []*blob, target string) lead {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for i := len(layers) - 1; i >= 0; i-- {
		if layers[i].scan == nil || layers[i].scan.names == nil {
			return unclear
		}
		have := layers[i].scan.names
		at := func(k layer.Kind, name string) (layer.Kind, bool) {
			m, ok := have[key(&h, k, name)]
			return m.kind(), ok
		}
		if k, ok := at(layer.File, target); ok && i < len(layers)-1 {
			if k == layer.Dir {
				return toDir
			}
			return toFile
		}
		_, hidden := at(layer.Whiteout, target)
		for dir := path.Dir(target); ; dir = path.Dir(dir) {
			if k, ok := at(layer.File, dir); ok && k == layer.Symlink {
				return unclear
			} else if ok && k != layer.Dir {
				return toNothing
			}
			_, gone := at(layer.Whiteout, dir)
			_, opaque := at(layer.Opaque, dir)
			hidden = hidden || gone || opaque
			if dir == "." {
				break
			}
		}
		if hidden {
			return toNothing
		}
	}
	return toNothing
}
