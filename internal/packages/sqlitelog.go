// SPDX-License-Identifier: Apache-2.0

package packages

import (
	"bytes"
	"encoding/binary"
)

const (
	walHead  = 32 // bytes at the beginning of a log
	walFrame = 24 // bytes before every page in it
)

// readLog notes the pages of a write-ahead log up to its last finished
// transaction (SQLite, "Write-Ahead Logging", "WAL File Format"). As SQLite
// does, it takes a log that begins with anything else for an empty one, and
// what follows a frame that is not right for the rest of an older log.
func (f *sqliteFile) readLog(wal []byte) {
	if len(wal) < walHead || binary.BigEndian.Uint32(wal)&^1 != 0x377f0682 || binary.BigEndian.Uint32(wal[4:]) != 3007000 {
		return
	}
	sum := walSum{order: binary.LittleEndian}
	if wal[3]&1 != 0 {
		sum.order = binary.BigEndian
	}
	size := int(binary.BigEndian.Uint32(wal[8:]))
	if sum.add(wal[:24]); size < 512 || size > 64<<10 || size&(size-1) != 0 || !sum.is(wal[24:]) {
		return
	}
	salt, frames := wal[16:24], wal[walHead:]
	open := map[uint32][]byte{} // of the transaction that has begun
	for len(frames) >= walFrame+size {
		head, page := frames[:walFrame], frames[walFrame:][:size]
		frames = frames[walFrame+size:]
		sum.add(head[:8])
		sum.add(page)
		if !bytes.Equal(head[8:16], salt) || !sum.is(head[16:]) {
			return
		}
		open[binary.BigEndian.Uint32(head)] = page
		if pages := binary.BigEndian.Uint32(head[4:]); pages != 0 {
			f.commit(open, pages, size)
			open = map[uint32][]byte{} // to clear one takes as long as it was ever large
		}
	}
}

func (f *sqliteFile) commit(open map[uint32][]byte, pages uint32, size int) {
	if f.log == nil {
		f.log = map[uint32][]byte{}
	}
	for n, page := range open {
		f.log[n] = page
	}
	f.pages, f.size = pages, size
}

// A walSum is the running sum over a log.
type walSum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

// add goes on over b, whose length is a multiple of 8.
func (s *walSum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s.s0 += s.order.Uint32(b) + s.s1
		s.s1 += s.order.Uint32(b[4:]) + s.s0
	}
}

// is says whether b begins with the sum.
func (s *walSum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == s.s0 && binary.BigEndian.Uint32(b[4:]) == s.s1
}
