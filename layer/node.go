// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"math"
	"strings"
	"time"
)

// A node is what a Node is made of, in a form of which millions fit into
// memory. Nodes are files (inodes); a second name of a file is a node of kind
// Link, so that names can come and go by themselves.
type node struct {
	extra   *extra // of a Dir its own, else nil or shared if there is nothing but an owner
	size    int64
	mtime   int64 // nanoseconds since 1970
	uid     uint32
	gid     uint32
	layer   int32 // that the metadata is from
	index   int32 // of the entry there; -1: made because something is below it
	touched int32 // the last layer that put this name there, or something below it
	mode    uint16
	kind    Kind
}

// extra is what most nodes do not have.
type extra struct {
	owner
	link         string            // of a Symlink
	inode        *node             // of a second name
	records      map[string]string // PAX
	major, minor int64
	odd          *odd
	kids         map[string]*node // of a Dir
	opaque       int32            // the layer that hid what lower ones have in this Dir
}

// owner names a user and a group. Few of them are shared by all nodes.
type owner struct{ uname, gname string }

// odd holds numbers that do not fit into a node.
type odd struct {
	mode  int64
	uid   int
	gid   int
	mtime time.Time
}

// file is the node itself, or what it is another name of.
func (n *node) file() *node {
	if n.kind == Link {
		return n.extra.inode
	}
	return n
}

// keeps reports whether a PAX record belongs to the file and not to the way it
// was archived.
func keeps(record string) bool {
	return strings.HasPrefix(record, "SCHILY.xattr.") || strings.HasPrefix(record, "MSWINDOWS.")
}

// compact makes a node of an entry that is not a whiteout. kept is about how
// many bytes it needs beyond itself.
func (t *Tree) compact(e *Entry) (n *node, kept int) {
	h := e.Header
	n = &node{kind: e.Kind, size: e.Size, mode: uint16(h.Mode), uid: uint32(h.Uid), gid: uint32(h.Gid), mtime: h.ModTime.UnixNano()}
	var x extra
	if int64(n.mode) != h.Mode || int(n.uid) != h.Uid || int(n.gid) != h.Gid || !time.Unix(0, n.mtime).Equal(h.ModTime) {
		x.odd = &odd{h.Mode, h.Uid, h.Gid, h.ModTime}
		kept += 64
	}
	for k, v := range h.PAXRecords {
		if keeps(k) {
			if x.records == nil {
				x.records = map[string]string{}
				kept += 256
			}
			x.records[strings.Clone(k)] = strings.Clone(v) // not with the header that they are cut from
			kept += len(k) + len(v) + 100
		}
	}
	x.owner = owner{h.Uname, h.Gname}
	plain := x.odd == nil && x.records == nil
	switch e.Kind {
	case Dir:
		plain = false
	case Symlink:
		x.link, plain = strings.Clone(e.Link), false
	case Char, Block:
		x.major, x.minor, plain = h.Devmajor, h.Devminor, false
	}
	n.extra, kept = t.share(x, plain, kept+len(x.link))
	return n, kept
}

// share gives nodes with nothing but an owner one extra.
func (t *Tree) share(x extra, plain bool, kept int) (*extra, int) {
	if plain && x.owner == (owner{}) {
		return nil, kept
	}
	common := t.owners[x.owner]
	if common == nil {
		common = &extra{owner: owner{strings.Clone(x.uname), strings.Clone(x.gname)}}
		kept += len(x.uname) + len(x.gname) + 256
		t.owners[common.owner] = common
	}
	if plain {
		return common, kept
	}
	x.owner = common.owner
	return &x, kept + 128
}

// implied is a directory that no entry speaks of.
func implied(layer int32) *node {
	return &node{kind: Dir, mode: 0o755, layer: layer, index: -1, touched: layer, extra: &extra{}}
}

var typeflags = [...]byte{File: tar.TypeReg, Dir: tar.TypeDir, Symlink: tar.TypeSymlink, Link: tar.TypeLink,
	Char: tar.TypeChar, Block: tar.TypeBlock, Fifo: tar.TypeFifo}

// expand makes a Node of the file at a path. What lower layers said of a
// directory does not count if a layer above hid that one.
func expand(path string, n *node, hidden int32) *Node {
	n = n.file()
	if n.kind == Dir && n.layer < hidden {
		n = implied(hidden)
	}
	h := &tar.Header{Typeflag: typeflags[n.kind], Name: path, Size: n.size, Mode: int64(n.mode), Uid: int(n.uid), Gid: int(n.gid),
		ModTime: time.Unix(0, n.mtime).UTC()}
	e := &Entry{Name: path, Kind: n.kind, Size: n.size, Header: h}
	if x := n.extra; x != nil {
		h.Uname, h.Gname, h.Linkname, h.PAXRecords = x.uname, x.gname, x.link, x.records
		h.Devmajor, h.Devminor = x.major, x.minor
		e.Link = x.link
		if o := x.odd; o != nil {
			h.Mode, h.Uid, h.Gid, h.ModTime = o.mode, o.uid, o.gid, o.mtime
		}
	}
	if n.kind == Dir {
		h.Name += "/"
	}
	return &Node{Entry: e, Layer: int(n.layer), Index: int(n.index)}
}

const maxLayers = math.MaxInt32 - 1
