// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dray-tools/dray/oci"
)

// An outlined entry has the digest of its content.
type outlined struct {
	*Entry
	sum *checksum
}

// sums yields the entries, which have been checked when the outline was made.
func (o *Outline) sums() iter.Seq2[outlined, error] {
	return o.read(Limits{Entries: math.MaxInt, Header: math.MaxInt64, Bytes: math.MaxInt64})
}

func (o *Outline) read(l Limits) iter.Seq2[outlined, error] {
	return func(yield func(outlined, error) bool) {
		z, err := zstd.NewReader(bytes.NewReader(o.packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(outlineWindow))
		if err != nil {
			yield(outlined{}, err)
			return
		}
		defer z.Close()
		r := &outlineReader{r: bufio.NewReaderSize(z, 32<<10), limits: l, left: maxOutlinePlain}
		for {
			e, err := r.next()
			if err == io.EOF {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// outlineReader unpacks entries. Its first error sticks, so that an entry is
// read without looking after each part of it.
type outlineReader struct {
	r      *bufio.Reader
	limits Limits
	left   int64 // bytes until the bound of all
	room   int64 // bytes of texts that this entry may still have
	count  int
	err    error
}

func (r *outlineReader) next() (outlined, error) {
	if _, err := r.r.Peek(1); err != nil {
		if err == io.EOF {
			return outlined{}, io.EOF
		}
		return outlined{}, oci.Errorf(oci.ErrInvalid, "outline: %w", err)
	}
	r.room = r.limits.Header
	if r.count++; r.count > r.limits.Entries {
		return outlined{}, oci.Errorf(oci.ErrInvalid, "more than %d entries", r.limits.Entries)
	}
	h, s := r.header()
	if r.err == nil {
		r.spend(perOutlinedEntry)
	}
	if r.err != nil {
		return outlined{}, oci.Errorf(oci.ErrInvalid, "outline: entry %d: %w", r.count-1, r.err)
	}
	e, err := newEntry(h)
	switch {
	case err != nil:
		return outlined{}, oci.Errorf(oci.ErrInvalid, "outline: %w", err)
	case e == nil || h.Typeflag != typeflagOf(e):
		return outlined{}, oci.Errorf(oci.ErrInvalid, "outline: %s is no entry", oci.Quote(h.Name))
	}
	if r.limits.Bytes -= e.Size; e.Size < 0 || r.limits.Bytes < 0 {
		return outlined{}, oci.Errorf(oci.ErrInvalid, "outline: files of too many bytes")
	}
	return outlined{e, s}, nil
}

// typeflagOf is what newEntry leaves of the type.
func typeflagOf(e *Entry) byte {
	if e.Kind == Whiteout || e.Kind == Opaque {
		return e.Header.Typeflag // whatever it is
	}
	return typeflags[e.Kind]
}

func (r *outlineReader) header() (*tar.Header, *checksum) {
	var s *checksum
	h := &tar.Header{Typeflag: r.byte(), Name: r.text()}
	switch h.Typeflag {
	case tar.TypeSymlink, tar.TypeLink:
		h.Linkname = r.text()
	case tar.TypeReg:
		h.Size = r.number()
		switch r.byte() {
		case 0:
		case 1:
			s = new(checksum)
			r.fill(s[:])
		default:
			r.fail("neither a digest nor none")
		}
	}
	h.Mode, h.Uid, h.Gid = r.number(), r.int(), r.int()
	seconds, nanoseconds := r.number(), r.number()
	if nanoseconds < 0 || nanoseconds >= 1e9 {
		r.fail("nanoseconds")
	}
	h.ModTime = time.Unix(seconds, nanoseconds)
	h.Uname, h.Gname = r.text(), r.text()
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		h.Devmajor, h.Devminor = r.number(), r.number()
	}
	last := ""
	for n := r.length(); n > 0 && r.err == nil; n-- {
		k, v := r.text(), r.text()
		if k <= last || !keeps(k) {
			r.fail("records")
		}
		r.spend(perRecord)
		if last = k; h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[k] = v
	}
	return h, s
}

func (r *outlineReader) fail(what string) {
	if r.err == nil {
		r.err = oci.Errorf(oci.ErrInvalid, "wrong %s", what)
	}
}

// spend counts what is taken.
func (r *outlineReader) spend(n int64) {
	r.left -= n
	if r.room -= n; r.left < 0 || r.room < 0 {
		r.fail("size")
	}
}

func (r *outlineReader) fill(p []byte) {
	if r.err != nil {
		return
	}
	if _, r.err = io.ReadFull(r.r, p); r.err == io.EOF {
		r.err = io.ErrUnexpectedEOF
	}
}

func (r *outlineReader) byte() byte {
	var b [1]byte
	r.fill(b[:])
	return b[0]
}

func (r *outlineReader) number() int64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(r.r)
	r.err = err
	return n
}

func (r *outlineReader) int() int {
	n := r.number()
	if int64(int(n)) != n {
		r.fail("number")
	}
	return int(n)
}

func (r *outlineReader) length() uint64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.r)
	r.err = err
	return n
}

func (r *outlineReader) text() string {
	n := r.length()
	if n > uint64(max(r.room, 0)) {
		r.fail("length")
	}
	if n == 0 || r.err != nil {
		return ""
	}
	r.spend(int64(n))
	if r.err == nil && n <= uint64(r.r.Size()) { // without a buffer of its own
		b, err := r.r.Peek(int(n))
		if err == nil {
			s := string(b)
			_, r.err = r.r.Discard(int(n))
			return s
		}
		r.err = io.ErrUnexpectedEOF
		return ""
	}
	var b strings.Builder
	if r.err == nil {
		_, r.err = io.CopyN(&b, r.r, int64(n)) // grows with what is there
	}
	return b.String()
}
