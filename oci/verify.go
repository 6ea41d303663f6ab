// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/hex"
	"hash"
	"io"
)

// Verify wraps a reader so that it hands out only what matches the digest and
// the size of d: on wrong content it returns ErrCorrupt in place of the last
// bytes. A reader that verifies d already is returned as it is, so that
// nothing is hashed twice. Close closes r.
func Verify(r io.ReadCloser, d Descriptor) io.ReadCloser {
	if v, ok := r.(*verifier); ok && v.d.Digest == d.Digest && v.d.Size == d.Size && v.seen == 0 {
		return r
	}
	v := &verifier{r: r, d: d}
	if _, v.err = ParseDigest(string(d.Digest)); v.err == nil {
		v.h = d.Digest.Algorithm().Hash()
	}
	return v
}

type verifier struct {
	r    io.ReadCloser
	h    hash.Hash
	d    Descriptor
	seen int64
	err  error // sticky, io.EOF after a good end
}

func (v *verifier) Close() error { return v.r.Close() }

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	left := v.d.Size - v.seen
	if left <= 0 { // an empty blob
		v.finish()
		return 0, v.err
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	v.seen += int64(n)
	switch {
	case v.seen == v.d.Size:
		if v.finish(); v.err != io.EOF { // known before the last bytes go out
			return 0, v.err
		}
		return n, nil
	case err == io.EOF:
		v.err = Errorf(ErrCorrupt, "%s ends after %d of %d bytes", v.d.Digest, v.seen, v.d.Size)
		return 0, v.err
	}
	v.err = err
	return n, err
}

// finish checks that the stream ends here and that the digest is right.
func (v *verifier) finish() {
	var one [1]byte
	n, err := io.ReadFull(v.r, one[:])
	switch {
	case n > 0:
		v.err = Errorf(ErrCorrupt, "%s goes on after its %d bytes", v.d.Digest, v.d.Size)
	case err != io.EOF:
		v.err = err
	default:
		v.err = io.EOF
		if got := hex.EncodeToString(v.h.Sum(nil)); got != v.d.Digest.Encoded() {
			v.err = Errorf(ErrCorrupt, "content has digest %s:%s, want %s", v.d.Digest.Algorithm(), got, v.d.Digest)
		}
	}
}
