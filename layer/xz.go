// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz"

	"github.com/dray-tools/dray/oci"
)

const (
	xzStreamHeader = 12 // bytes
	xzLZMA2        = 0x21
	xzMostDict     = 30 // 128 MiB, as the format writes it
)

// newXZ makes a reader that needs no more memory than maxWindow: the library
// would take what the first block asks for, up to 4 GiB.
func newXZ(r *bufio.Reader) (io.Reader, error) {
	if head, err := r.Peek(xzStreamHeader + 1); err == nil {
		head, err = r.Peek(xzStreamHeader + (int(head[xzStreamHeader])+1)*4)
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		if head[xzStreamHeader] != 0 && !xzModest(head[xzStreamHeader:]) { // 0: no blocks
			return nil, oci.Errorf(oci.ErrInvalid, "it needs more than %d MiB of memory", maxWindow>>20)
		}
	}
	return xz.ReaderConfig{DictCap: 1 << 20}.NewReader(r)
}

// xzModest reads the header of a block (xz file format, 3.1) for the size of
// its dictionary.
func xzModest(h []byte) bool {
	flags, rest := h[1], h[2:]
	skip := int(flags>>6&1) + int(flags>>7) // sizes, if present
	next := func() uint64 {
		n, used := binary.Uvarint(rest)
		if used <= 0 {
			rest = nil
			return 0
		}
		rest = rest[used:]
		return n
	}
	for range skip {
		next()
	}
	return flags&3 == 0 && next() == xzLZMA2 && next() == 1 && len(rest) > 0 && rest[0] <= xzMostDict
}
