// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"crypto/sha256"
	"hash"
	"slices"
)

// sums are what the files of a layer hash to, by the index of their entries.
// They are in blocks, as there can be millions: none is ever copied.
type sums struct{ blocks []*sumBlock }

type sumBlock struct {
	n     int
	index [sumsInBlock]int32
	sum   [sumsInBlock][sha256.Size]byte
}

const sumsInBlock = 256

// add notes the next file: indexes ascend.
func (s *sums) add(index int, h hash.Hash) {
	if n := len(s.blocks); n == 0 || s.blocks[n-1].n == sumsInBlock {
		s.blocks = append(s.blocks, &sumBlock{})
	}
	b := s.blocks[len(s.blocks)-1]
	b.index[b.n] = int32(index)
	h.Sum(b.sum[b.n][:0])
	b.n++
}

func (s *sums) at(index int) ([sha256.Size]byte, bool) {
	k, found := slices.BinarySearchFunc(s.blocks, index, func(b *sumBlock, i int) int { return int(b.index[0]) - i })
	if !found {
		k--
	}
	if k < 0 {
		return [sha256.Size]byte{}, false
	}
	b := s.blocks[k]
	i, found := slices.BinarySearch(b.index[:b.n], int32(index))
	if !found {
		return [sha256.Size]byte{}, false
	}
	return b.sum[i], true
}
