// SPDX-License-Identifier: Apache-2.0

package image

import (
	"strings"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A scan watches the changes of one layer for those that bear on a path.
type scan struct {
	path   string
	bottom bool            // the lowest layer: directories that it does not have are no links of lower ones
	above  map[string]bool // directories on the path that layers above have made
	bases  map[string]bool // the names that the path is made of
	passed bool            // a layer above has something in what may be a link: it may be anywhere

	own     map[string]bool // directories that this layer has, and all above them
	links   map[string]bool // links that this layer has
	on      map[string]seen // the changes on the path
	gone    bool            // what lower layers have at the path is hidden
	strays  bool            // the same of this layer
	left    int64           // bytes that may still be kept
	count   int             // of the changes seen
	list    []change        // them, unless left is negative
	unclear bool
}

// seen is a change on the path, and its index in the layer.
type seen struct {
	change
	index int
}

func newScan(path string, bottom, passed bool, above map[string]bool) *scan {
	c := &scan{path: path, bottom: bottom, passed: passed, above: above, bases: map[string]bool{}, own: map[string]bool{".": true}, links: map[string]bool{}, on: map[string]seen{}}
	for b := range strings.SplitSeq(path, "/") {
		c.bases[b] = true
	}
	return c
}

// see takes the next change of the layer.
func (c *scan) see(x change) {
	index := c.count
	c.count++
	if c.left -= x.size(); c.left < 0 { // the tree has to tell
		c.unclear, c.list, c.own, c.links = true, nil, nil, nil
	} else {
		c.list = append(c.list, x)
	}
	if c.unclear {
		return
	}
	known := c.parents(x)
	c.strays = c.strays || !known && x.kind != layer.Whiteout && x.kind != layer.Opaque
	onPath := x.name == c.path || strings.HasPrefix(c.path, x.name+"/") || x.name == "."
	switch {
	case !known && (onPath || c.mayHit(x)):
		c.unclear = true
	case x.kind == layer.Opaque:
		c.gone = c.gone || onPath && x.name != c.path
	case x.kind == layer.Whiteout:
		c.gone = c.gone || onPath
	case onPath && x.name != ".":
		_, twice := c.on[x.name]
		c.unclear = c.unclear || twice
		c.on[x.name] = seen{x, index}
	case strings.HasPrefix(x.name, c.path+"/") && c.on[c.path].kind != layer.Dir: // so it is a directory, or a link to one
		c.unclear = true
	}
	switch {
	case x.kind == layer.Dir && known:
		c.own[x.name] = true
		delete(c.links, x.name)
	case x.kind == layer.Whiteout || x.kind == layer.Opaque || x.kind == layer.Dir:
	case c.own[x.name]: // what is below it in own would be wrong
		c.unclear = true
	case x.kind == layer.Symlink || x.kind == layer.Link: // a hard link can be one to a link
		c.links[x.name] = true
	}
}

// parents reports whether the directory that a change is in is certainly one,
// and not a link of this layer or a lower one.
func (c *scan) parents(x change) bool {
	dir, _ := split(x.name)
	if x.kind == layer.Opaque {
		dir = x.name
	}
	if !c.bottom {
		return c.own[dir]
	}
	for len(c.links) > 0 && dir != "." {
		if c.links[dir] {
			return false
		}
		dir, _ = split(dir)
	}
	return true
}

// mayHit reports whether a change that goes through a link could be one on the
// path: then it ends in a name of the path, or has the path's own as a directory.
func (c *scan) mayHit(x change) bool {
	if x.kind == layer.Opaque {
		return true
	}
	_, base := split(x.name)
	_, last := split(c.path)
	return c.bases[base] || strings.Contains("/"+x.name, "/"+last+"/")
}

// ready reports whether the layer has the file, as far as it has been seen.
func (c *scan) ready() bool {
	x, ok := c.on[c.path]
	return ok && !c.unclear && x.kind == layer.File && c.answer().found
}

// answer is what the layer says of the path.
func (c *scan) answer() answer {
	if c.unclear {
		return answer{err: errUnclear}
	}
	a := c.names()
	if c.passed && (a.found || a.hard || a.soft) { // or what strayed from above has replaced it
		return answer{err: errUnclear}
	}
	return a
}

// names is what the layer's own names say.
func (c *scan) names() answer {
	for end := 0; end < len(c.path); {
		if i := strings.IndexByte(c.path[end+1:], '/'); i >= 0 {
			end += 1 + i
		} else {
			end = len(c.path)
		}
		at := c.path[:end]
		x, ok := c.on[at]
		switch {
		case !ok || x.kind == layer.Dir && end < len(c.path):
			continue
		case c.above[at]: // a directory of a layer above has replaced it
			return answer{gone: true}
		case x.kind == layer.Symlink:
			next, ok := join(at, x.link, c.path[end:])
			if !ok {
				return answer{err: errUnclear}
			}
			return answer{soft: true, next: next}
		case end < len(c.path) && x.kind == layer.Link:
			return answer{err: errUnclear}
		case end < len(c.path):
			return answer{err: oci.Errorf(oci.ErrNotFound, "not found: %s is not a directory", oci.Quote(at))}
		case x.kind == layer.Link:
			return answer{hard: true, next: x.link, index: x.index}
		}
		return answer{found: true, index: x.index, err: isFile(x.kind)}
	}
	return answer{gone: c.gone}
}

// leave notes the directories that the layer has made on the path.
func (c *scan) leave(above map[string]bool) {
	for name, x := range c.on {
		if x.kind == layer.Dir {
			above[name] = true
		}
	}
}
