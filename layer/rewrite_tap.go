// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"bytes"
	"io"

	"github.com/dray-tools/dray/oci"
)

// A tap lies below the scanner, which knows whose bytes they are: those of
// headers are kept until the entry is understood, those of contents pass.
type tap struct {
	r    io.Reader
	s    *scanner
	out  *bufio.Writer
	head []byte
	body bodyMode
	rest int64 // of the padding of a global header, whose reader has not come to it
	tail int64 // zeros after the first block of the end
}

type bodyMode uint8

const (
	bodyHeld   bodyMode = iota // a map of holes, which is read with the header
	bodyCopied                 // with the padding
	bodyLeft                   // to who reads the entry
)

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	got := p[:n]
	if t.s.state == inEnd {
		for ; len(got) > 0; got = got[min(len(got), 512):] {
			if part := got[:min(len(got), 512)]; !bytes.Equal(part, zeros[:len(part)]) {
				return 0, oci.Errorf(oci.ErrInvalid, "the tar goes on after its end: was something appended to it?")
			}
		}
		t.tail += int64(n)
		return n, err
	}
	if t.rest > 0 {
		t.rest -= int64(n)
		if _, bad := t.out.Write(got); bad != nil {
			return 0, bad
		}
		return n, err
	}
	if t.s.state != inBody || t.s.need == 0 {
		t.body = bodyHeld
	}
	switch t.body {
	case bodyHeld:
		t.head = append(t.head, got...)
	case bodyCopied:
		if _, bad := t.out.Write(got); bad != nil {
			return 0, bad
		}
	}
	return n, err
}
