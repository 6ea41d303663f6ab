// SPDX-License-Identifier: Apache-2.0

package packages

import (
	"bytes"
	"encoding/binary"
)

// What a Berkeley DB file has on its pages (Berkeley DB, src/dbinc/db_page.h).
const (
	bdbHash     = 0x061561 // magic number
	bdbMetaSize = 72       // bytes of the first page that we want
	bdbHeader   = 26       // bytes at the beginning of every other page

	pageHashUnsorted = 2
	pageOverflow     = 7
	pageHashMeta     = 8
	pageHash         = 13

	itemHere     = 1 // the bytes follow
	itemOverflow = 3 // the bytes are on pages of their own
)

// bdbOrder is the byte order of a Berkeley DB hash: that of the machine that
// wrote it. nil if data is none.
func bdbOrder(data []byte) binary.ByteOrder {
	if len(data) < bdbMetaSize {
		return nil
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if order.Uint32(data[12:]) == bdbHash {
			return order
		}
	}
	return nil
}

type bdbFile struct {
	binary.ByteOrder
	data []byte
	size uint64 // of a page
	left budget
}

// bdb reads a Berkeley DB hash, which rpm used until 4.16: a number for every
// package leads to its header. The order of a hash means nothing, so its pages
// are read as they lie; freed ones have another type.
func bdb(data []byte, add found) error {
	f := bdbFile{bdbOrder(data), data, 0, budget(len(data))}
	f.size = uint64(f.Uint32(data[20:]))
	last := uint64(f.Uint32(data[32:]))
	switch {
	case data[25] != pageHashMeta:
		return broken("its first page has type %d", data[25])
	case data[24] != 0 || data[26] != 0: // both change the form of the pages; rpm never did that
		return broken("it has encrypted or partitioned pages, or such with checksums")
	case f.size < 512 || f.size > 64<<10 || f.size&(f.size-1) != 0:
		return broken("it has pages of %d bytes", f.size)
	case (last+1)*f.size > uint64(len(data)):
		return broken("it has %d bytes and says that it has %d pages of %d", len(data), last+1, f.size)
	}
	for n := uint64(1); n <= last; n++ {
		p := f.page(n)
		if p[25] != pageHash && p[25] != pageHashUnsorted {
			continue
		}
		if err := f.pairs(p, add); err != nil {
			return err
		}
	}
	return nil
}

// page is one that is there.
func (f *bdbFile) page(n uint64) []byte { return f.data[n*f.size:][:f.size] }

// pairs reads the keys and values on a page, which lie from its end to its
// beginning.
func (f *bdbFile) pairs(p []byte, add found) error {
	count := int(f.Uint16(p[20:]))
	lower := bdbHeader + 2*count
	if count%2 != 0 || lower > len(p) {
		return broken("page with %d keys and values", count)
	}
	end := len(p)
	var key []byte
	for i := range count {
		start := int(f.Uint16(p[bdbHeader+2*i:]))
		if start < lower || start >= end {
			return broken("page with a key or value from byte %d to byte %d", start, end)
		}
		item := p[start:end]
		end = start
		if i%2 == 0 {
			key = item
			continue
		}
		if bytes.Equal(key, []byte{itemHere, 0, 0, 0, 0}) {
			continue // leads to the number of the next package
		}
		b, err := f.value(item)
		if err != nil {
			return err
		}
		if err := header(b, add); err != nil {
			return err
		}
	}
	return nil
}

// value is what a value on a page says or leads to.
func (f *bdbFile) value(item []byte) ([]byte, error) {
	if item[0] == itemHere {
		return item[1:], f.left.take(uint64(len(item)))
	}
	if item[0] != itemOverflow || len(item) < 12 {
		return nil, broken("value of type %d", item[0])
	}
	n, size := uint64(f.Uint32(item[4:])), uint64(f.Uint32(item[8:]))
	if err := f.left.take(size); err != nil {
		return nil, err
	}
	b := make([]byte, 0, size)
	for uint64(len(b)) < size {
		if n == 0 || (n+1)*f.size > uint64(len(f.data)) {
			return nil, broken("value of %d bytes ends after %d", size, len(b))
		}
		p := f.page(n)
		have := uint64(f.Uint16(p[22:]))
		if p[25] != pageOverflow || have == 0 || bdbHeader+have > f.size || uint64(len(b))+have > size {
			return nil, broken("value of %d bytes leads to page %d, of type %d with %d bytes", size, n, p[25], have)
		}
		b = append(b, p[bdbHeader:][:have]...)
		n = uint64(f.Uint32(p[16:]))
	}
	return b, nil
}
