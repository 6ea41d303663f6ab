// SPDX-License-Identifier: Apache-2.0

package packages

import "encoding/binary"

const (
	ndbMagic = "RpmP"
	ndbPage  = 4096 // bytes
	ndbBlock = 16   // bytes, also of a slot and of what precedes a header
	ndbTail  = 12   // bytes after a header
)

// ndb reads rpm's own format: slots, each of which names the blocks of one
// header. Numbers are little-endian (rpm, lib/backend/ndb).
func ndb(data []byte, add found) error {
	u32 := func(off uint64) uint64 { return uint64(binary.LittleEndian.Uint32(data[off:])) }
	size := uint64(len(data))
	if size < 2*ndbBlock || u32(4) != 0 {
		return broken("rpm database of an unknown version")
	}
	end := u32(12) * ndbPage
	if end > size {
		return broken("rpm database of %d bytes says that it has %d bytes of slots", size, end)
	}
	left := budget(size)
	for slot := uint64(2 * ndbBlock); slot < end; slot += ndbBlock {
		if string(data[slot:slot+4]) != "Slot" {
			return broken("no slot at byte %d", slot)
		}
		pkg, at, blocks := u32(slot+4), u32(slot+8)*ndbBlock, u32(slot+12)*ndbBlock
		if at == 0 {
			continue // free
		}
		if at < end || blocks < 2*ndbBlock || at+blocks > size {
			return broken("slot at byte %d names %d bytes at byte %d, of a file of %d", slot, blocks, at, size)
		}
		length := u32(at + 12)
		if string(data[at:at+4]) != "BlbS" || u32(at+4) != pkg || ndbBlock+length+ndbTail > blocks {
			return broken("no header at byte %d", at)
		}
		if err := left.take(length); err != nil {
			return err
		}
		if err := header(data[at+ndbBlock:][:length], add); err != nil {
			return err
		}
	}
	return nil
}
