// SPDX-License-Identifier: Apache-2.0

package archive

import "io"

// A window reads a file piece by piece and can be moved: the end of a member
// and the header of the next one mostly are one read.
type window struct {
	r         io.ReaderAt
	size, pos int64
	buf       [16 << 10]byte
	at        int64 // of buf
	n         int   // bytes in buf
}

// Read implements io.Reader.
func (w *window) Read(p []byte) (int, error) {
	if w.pos >= w.size || w.pos < 0 {
		return 0, io.EOF
	}
	if w.pos < w.at || w.pos >= w.at+int64(w.n) {
		n, err := w.r.ReadAt(w.buf[:min(int64(len(w.buf)), w.size-w.pos)], w.pos)
		if n == 0 {
			return 0, err
		}
		w.at, w.n = w.pos, n
	}
	n := copy(p, w.buf[w.pos-w.at:w.n])
	w.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (w *window) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += w.pos
	case io.SeekEnd:
		offset += w.size
	}
	if offset < 0 { // more than there can be
		return 0, io.ErrUnexpectedEOF
	}
	w.pos = offset
	return offset, nil
}
