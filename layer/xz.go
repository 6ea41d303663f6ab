// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"github.com/dray-tools/dray/oci"
)

// Numbers of the xz file format.
const (
	xzMagic    = "\xfd7zXZ\x00"
	xzLZMA2    = 0x21
	xzMostDict = 30 // 128 MiB, as the format writes it
)

var errXZ = errors.New("malformed")

// An xzReader reads the streams and blocks of an xz file (xz file format 1.0.4)
// and leaves what is in a block to the library. The library could do all of
// it, but would give each block the memory that it asks for, up to 4 GiB.
type xzReader struct {
	r     *bufio.Reader
	n     int64     // bytes read of the stream
	check byte      // the kind of checksum
	block io.Reader // nil between blocks
	sum   hash.Hash // of the block
	size  int64     // of the block so far
	start int64     // of the block
	begin int64     // of its data
	want  [2]int64  // sizes of the block, packed and not, by its header; -1: not told

	blocks uint64
	index  hash.Hash // of the sizes of all blocks
	out    int64
	dicts  int64 // that were made
	err    error
}

// newXZ makes a reader that needs no more memory than maxWindow.
func newXZ(r *bufio.Reader) (io.Reader, error) {
	x := &xzReader{r: r}
	if err := x.stream(); err != nil {
		return nil, x.cut(err)
	}
	if head, err := r.Peek(1); err == nil && head[0] != 0 { // so that too much is found out now
		x.err = x.startBlock()
		return x, x.err
	}
	return x, nil
}

func (x *xzReader) cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (x *xzReader) Read(p []byte) (n int, err error) {
	for n == 0 && x.err == nil && len(p) > 0 {
		if x.block == nil {
			x.err = x.between()
			continue
		}
		n, err = x.block.Read(p)
		x.size += int64(n)
		x.out += int64(n)
		x.sum.Write(p[:n])
		if err == io.EOF {
			err = x.endBlock()
		}
		x.err = err
	}
	return n, x.err
}

// An xzSource reads the file and counts, a byte at a time if that is asked for.
type xzSource struct{ x *xzReader }

func (c xzSource) Read(p []byte) (int, error) {
	n, err := c.x.r.Read(p)
	c.x.n += int64(n)
	return n, err
}

func (c xzSource) ReadByte() (byte, error) {
	b, err := c.x.r.ReadByte()
	if err == nil {
		c.x.n++
	}
	return b, err
}

func (x *xzReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(xzSource{x}, b)
	return b, x.cut(err)
}

// stream reads the header of a stream (2.1.1).
func (x *xzReader) stream() error {
	x.n, x.blocks, x.index = 0, 0, sha256.New()
	h, err := x.take(12)
	if err != nil {
		return err
	}
	if string(h[:6]) != xzMagic || h[6] != 0 || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errXZ
	}
	x.check = h[7]
	_, err = newCheck(x.check)
	return err
}

// between reads what is between blocks: the header of the next one, or the end
// of the stream and the beginning of the next.
func (x *xzReader) between() error {
	head, err := x.r.Peek(1)
	if err != nil {
		return x.cut(err)
	}
	if head[0] != 0 {
		return x.startBlock()
	}
	if err := x.endStream(); err != nil {
		return err
	}
	for { // padding
		pad, err := x.r.Peek(4)
		if len(pad) == 0 {
			return err
		}
		if err != nil {
			return x.cut(err)
		}
		if !bytes.Equal(pad, zeros[:4]) {
			return x.stream()
		}
		_, _ = x.r.Discard(4)
	}
}

// startBlock reads the header of a block (3.1).
func (x *xzReader) startBlock() error {
	x.start = x.n
	first, err := x.r.Peek(1)
	if err != nil {
		return x.cut(err)
	}
	h, err := x.take((int(first[0]) + 1) * 4)
	if err != nil {
		return err
	}
	end := len(h) - 4
	if crc32.ChecksumIEEE(h[:end]) != binary.LittleEndian.Uint32(h[end:]) {
		return errXZ
	}
	dict, err := x.blockHeader(h[1], bytes.NewReader(h[2:end]))
	if err != nil {
		return err
	}
	// Blocks that are much smaller than what they ask for would cost more time
	// than their size lets expect.
	if x.dicts += int64(dict); x.dicts > 4*maxWindow+64*x.out {
		return oci.Errorf(oci.ErrInvalid, "its blocks ask for far more memory than they have use for")
	}
	x.begin, x.size = x.n, 0
	x.sum, _ = newCheck(x.check)
	x.block, err = lzma.Reader2Config{DictCap: max(dict, lzma.MinDictCap)}.NewReader2(xzSource{x})
	return x.cut(err)
}

func (x *xzReader) blockHeader(flags byte, r *bytes.Reader) (dict int, err error) {
	for i := range x.want {
		x.want[i] = -1
		if flags&(0x40<<i) != 0 {
			n, err := binary.ReadUvarint(r)
			if err != nil || n >= 1<<63 {
				return 0, errXZ
			}
			x.want[i] = int64(n)
		}
	}
	var f [3]byte // the one filter, the length of its properties, the dictionary
	if _, err := io.ReadFull(r, f[:]); err != nil || flags&0x3f != 0 || f[0] != xzLZMA2 || f[1] != 1 || f[2] > 40 {
		return 0, oci.Errorf(oci.ErrInvalid, "a block that is not plain LZMA2")
	}
	if f[2] > xzMostDict {
		return 0, oci.Errorf(oci.ErrInvalid, "it needs more than %d MiB of memory", maxWindow>>20)
	}
	for r.Len() > 0 {
		if b, _ := r.ReadByte(); b != 0 {
			return 0, errXZ
		}
	}
	return (2 | int(f[2]&1)) << (f[2]/2 + 11), nil
}

// endBlock reads what follows the data of a block (3.3 and 3.4).
func (x *xzReader) endBlock() error {
	packed := x.n - x.begin
	tail, err := x.take(int(-packed&3) + x.sum.Size())
	if err != nil {
		return err
	}
	pad := len(tail) - x.sum.Size()
	sum := x.sum.Sum(nil)
	if x.check == 1 || x.check == 4 { // those are written the other way round
		for i, j := 0, len(sum)-1; i < j; i, j = i+1, j-1 {
			sum[i], sum[j] = sum[j], sum[i]
		}
	}
	for i, got := range []int64{packed, x.size} {
		if x.want[i] >= 0 && x.want[i] != got {
			return errXZ
		}
	}
	if !bytes.Equal(tail[:pad], zeros[:pad]) || !bytes.Equal(tail[pad:], sum) {
		return errors.New("wrong checksum")
	}
	x.record(uint64(x.n-x.start-int64(pad)), uint64(x.size))
	x.blocks++
	x.block = nil
	return nil
}

func (x *xzReader) record(unpadded, size uint64) {
	x.index.Write(binary.AppendUvarint(binary.AppendUvarint(nil, unpadded), size))
}

// endStream reads the index and the footer (4 and 2.1.2).
func (x *xzReader) endStream() error {
	start, want := x.n, x.index.Sum(nil)
	crc := crc32.NewIEEE()
	r := xzIndex{xzSource{x}, crc}
	if _, err := r.ReadByte(); err != nil {
		return x.cut(err)
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n != x.blocks {
		return errXZ
	}
	x.index.Reset()
	for range n {
		unpadded, err := binary.ReadUvarint(r)
		size, err2 := binary.ReadUvarint(r)
		if err != nil || err2 != nil {
			return errXZ
		}
		x.record(unpadded, size)
	}
	for (x.n-start)&3 != 0 {
		if b, err := r.ReadByte(); err != nil || b != 0 {
			return errXZ
		}
	}
	sum := crc.Sum32()
	tail, err := x.take(16) // and the footer
	if err != nil {
		return err
	}
	length := x.n - start - 16 + 4
	le := binary.LittleEndian
	foot := tail[4:]
	if le.Uint32(tail) != sum || !bytes.Equal(want, x.index.Sum(nil)) || le.Uint32(foot) != crc32.ChecksumIEEE(foot[4:10]) ||
		(int64(le.Uint32(foot[4:]))+1)*4 != length || foot[8] != 0 || foot[9] != x.check || string(foot[10:]) != "YZ" {
		return errXZ
	}
	return nil
}

// xzIndex reads and sums up.
type xzIndex struct {
	xzSource
	sum hash.Hash
}

func (r xzIndex) ReadByte() (byte, error) {
	b, err := r.xzSource.ReadByte()
	if err == nil {
		r.sum.Write([]byte{b})
	}
	return b, err
}

// newCheck is the checksum of a block (2.1.1.2).
func newCheck(kind byte) (hash.Hash, error) {
	switch kind {
	case 0:
		return noCheck{crc32.NewIEEE()}, nil
	case 1:
		return crc32.NewIEEE(), nil
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), nil
	case 10:
		return sha256.New(), nil
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "a checksum of the kind %d", kind)
}

// noCheck has no bytes.
type noCheck struct{ hash.Hash }

func (noCheck) Size() int           { return 0 }
func (noCheck) Sum(b []byte) []byte { return b }
