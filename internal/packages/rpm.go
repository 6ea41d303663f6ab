// SPDX-License-Identifier: Apache-2.0

package packages

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dray-tools/dray/oci"
)

// rpm reads a database in any of rpm's formats: each is a way to keep the
// headers of the installed packages.
func rpm(data []byte, add found) error {
	switch {
	case bytes.HasPrefix(data, []byte(sqliteMagic)):
		return sqlite(data, nil, add)
	case bytes.HasPrefix(data, []byte(ndbMagic)):
		return ndb(data, add)
	case bdbOrder(data) != nil:
		return bdb(data, add)
	}
	return broken("not a database that rpm writes")
}

// A budget is how many bytes of headers a database may still hand out: no more
// than it has. That bounds the work where parts of a file are referred to
// again and again.
type budget int

func (b *budget) take(n uint64) error {
	if n > uint64(*b) {
		return broken("its parts add up to more than the whole")
	}
	*b -= budget(n)
	return nil
}

// Tags and types of a header (rpm, "RPM Package format", "Header").
const (
	tagName    = 1000
	tagVersion = 1001
	tagRelease = 1002
	tagEpoch   = 1003
	tagArch    = 1022

	typeInt32  = 4
	typeString = 6
)

// header reads one package's header as databases have it: without a magic
// number, the count of entries and the bytes of data first.
func header(b []byte, add found) error {
	if len(b) < 8 {
		return broken("header of %d bytes", len(b))
	}
	entries, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if 8+16*entries+size > uint64(len(b)) {
		return broken("header of %d bytes says that it has %d entries and %d bytes of data", len(b), entries, size)
	}
	index, data := b[8:8+16*entries], b[8+16*entries:][:size]
	texts := map[uint32]string{}
	for ; len(index) > 0; index = index[16:] {
		tag := binary.BigEndian.Uint32(index)
		switch tag {
		case tagName, tagVersion, tagRelease, tagEpoch, tagArch:
		default:
			continue
		}
		if _, twice := texts[tag]; twice {
			return broken("header has tag %d twice", tag)
		}
		text, ok := value(binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:]), data, tag == tagEpoch)
		if !ok {
			return broken("header has tag %d in a form of its own", tag)
		}
		texts[tag] = text
	}
	version := texts[tagVersion] + "-" + texts[tagRelease]
	if texts[tagVersion] == "" || texts[tagRelease] == "" {
		return broken("package %s has no version or no release", oci.Quote(texts[tagName]))
	}
	if epoch, ok := texts[tagEpoch]; ok {
		version = epoch + ":" + version
	}
	return add(Package{Manager: "rpm", Name: texts[tagName], Version: version, Arch: texts[tagArch]})
}

// value is what an entry of a header refers to: a text, or a number as text.
func value(kind, offset uint32, data []byte, number bool) (string, bool) {
	if uint64(offset) > uint64(len(data)) {
		return "", false
	}
	data = data[offset:]
	if number {
		if kind != typeInt32 || len(data) < 4 {
			return "", false
		}
		return fmt.Sprint(binary.BigEndian.Uint32(data)), true
	}
	end := bytes.IndexByte(data[:min(len(data), maxWord+1)], 0)
	if kind != typeString || end < 0 {
		return "", false
	}
	return string(data[:end]), true
}
