// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A scanner passes a tar through and reads its headers a second time, in the
// plainest way. Where archive/tar, which reads what the scanner hands out,
// could have understood something else, or other programs would, the layer is
// refused: what one program checks must be what the next one extracts
// (CVE-2025-62518 and its family). It also holds the limits.
type scanner struct {
	r      io.Reader
	header int64 // limit of one header with its extensions
	left   int64 // bytes of the layer until its limit
	pos    int64
	err    error // sticky

	state scanState
	need  int64 // bytes until the state ends; of a body with its padding
	block []byte
	meta  []byte // content of an extension header, and its length
	size  int64
	flag  byte

	spent int64             // bytes of headers since the last entry
	pax   map[string]string // of the next entry
	name  string            // GNU's long name and link of the next entry
	link  string

	body     int64 // where the content of the last entry begins
	bodySize int64
	sparse   bool
	wantName string // of the last entry
	wantLink string
}

type scanState uint8

const (
	inHeader scanState = iota
	inMeta             // content of an extension header
	inHoles            // more of the map of GNU's old sparse format
	inBody
	inEnd // after the end marker
)

func (s *scanner) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left < 0 {
		err = oci.Errorf(oci.ErrInvalid, "layer of too many bytes")
	} else if bad := s.feed(p[:n]); bad != nil {
		n, err = 0, bad
	}
	s.err = err
	return n, err
}

// feed follows the bytes through the states.
func (s *scanner) feed(p []byte) error {
	for len(p) > 0 {
		if s.state == inEnd {
			s.pos += int64(len(p))
			return nil
		}
		if s.need == 0 {
			s.state, s.need, s.block = inHeader, 512, s.block[:0]
		}
		n := min(s.need, int64(len(p)))
		switch s.state {
		case inHeader, inHoles:
			s.block = append(s.block, p[:n]...)
		case inMeta:
			s.meta = append(s.meta, p[:n]...)
		}
		p = p[n:]
		s.pos += n
		if s.need -= n; s.need == 0 {
			if err := s.advance(); err != nil {
				return err
			}
		}
	}
	return nil
}

// advance is called at the end of each state.
func (s *scanner) advance() error {
	switch s.state {
	case inHeader:
		return s.readHeader()
	case inMeta:
		return s.readMeta()
	case inHoles:
		if s.block[504] != 0 {
			return s.moreHoles()
		}
		s.startBody()
	}
	return nil
}

var zeros [512]byte

func (s *scanner) readHeader() (err error) {
	if bytes.Equal(s.block, zeros[:]) { // archive/tar insists on a second one
		s.state = inEnd
		return nil
	}
	s.flag = s.block[156]
	if s.size, err = number(s.block[124:136]); err != nil {
		return err
	}
	if s.spent += 512; s.spent > s.header {
		return s.tooLong()
	}
	switch s.flag {
	case tar.TypeXHeader, tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
		if s.size > s.header-s.spent {
			return s.tooLong()
		}
		s.spent += s.size
		s.state, s.need, s.meta = inMeta, padded(s.size), nil
		if s.size == 0 {
			return s.readMeta()
		}
		return nil
	}
	return s.readEntry()
}

func (s *scanner) tooLong() error {
	return oci.Errorf(oci.ErrInvalid, "a header of more than %d bytes", s.header)
}

func padded(n int64) int64 { return (n + 511) &^ 511 }

// number reads a field as tar programs do: octal, or big-endian after a bit.
func number(b []byte) (int64, error) {
	bad := oci.Errorf(oci.ErrInvalid, "a header with size %q", b)
	if b[0]&0x80 != 0 {
		n := int64(b[0] & 0x7f)
		for _, c := range b[1:] {
			if n >= 1<<55 {
				return 0, bad
			}
			n = n<<8 | int64(c)
		}
		return n, nil
	}
	if b = bytes.Trim(b, " \x00"); len(b) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(b), 8, 64)
	if err != nil || n < 0 {
		return 0, bad
	}
	return n, nil
}

// readMeta takes the content of an extension header.
func (s *scanner) readMeta() error {
	content := s.meta[:min(s.size, int64(len(s.meta)))]
	s.meta, s.need = nil, 0
	long := text(content)
	if long == "" && (s.flag == tar.TypeGNULongName || s.flag == tar.TypeGNULongLink) { // no name, or that of the header?
		return ambiguous("empty long name")
	}
	switch s.flag {
	case tar.TypeGNULongName:
		if s.name != "" && s.name != long {
			return ambiguous("two long names")
		}
		s.name = long
		return nil
	case tar.TypeGNULongLink:
		if s.link != "" && s.link != long {
			return ambiguous("two long links")
		}
		s.link = long
		return nil
	}
	records, err := paxRecords(string(content))
	if err != nil {
		return err
	}
	if s.flag == tar.TypeXGlobalHeader { // ignored here and applied elsewhere
		if s.pax != nil || s.name != "" || s.link != "" { // some programs forget those then
			return ambiguous("global header between an entry and what belongs to it")
		}
		for _, k := range decisive {
			if records[k] != "" {
				return ambiguous("global header with a " + k)
			}
		}
		return nil
	}
	if s.pax != nil {
		return ambiguous("two extended headers")
	}
	s.pax = records
	return nil
}

// decisive are the records that say which file it is and where the next header is.
var decisive = []string{"size", "path", "linkpath", "GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size"}

func ambiguous(what string) error {
	return oci.Errorf(oci.ErrInvalid, "layer that programs read differently: %s", what)
}

// paxRecords splits "LENGTH KEY=VALUE\n"...
func paxRecords(s string) (map[string]string, error) {
	bad := oci.Errorf(oci.ErrInvalid, "malformed extended header")
	out := map[string]string{}
	for s != "" {
		digits, _, ok := strings.Cut(s, " ")
		n, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil || n > uint64(len(s)) || int(n) <= len(digits)+1 || s[n-1] != '\n' {
			return nil, bad
		}
		k, v, ok := strings.Cut(s[len(digits)+1:n-1], "=")
		if !ok || k == "" {
			return nil, bad
		}
		s = s[n:]
		if old, twice := out[k]; twice && old != v {
			for _, d := range decisive {
				if k == d {
					return nil, ambiguous("two records of " + k)
				}
			}
		}
		out[k] = v
	}
	return out, nil
}

// readEntry takes the header of the file itself: what has been read before
// belongs to it.
func (s *scanner) readEntry() error {
	size, inPAX := s.pax["size"]
	s.bodySize = s.size
	if inPAX && size != "" {
		n, err := strconv.ParseUint(size, 10, 63)
		if err != nil {
			return oci.Errorf(oci.ErrInvalid, "extended header with size %s", oci.Quote(size))
		}
		const most = 1<<33 - 1 // what eleven octal digits hold
		if s.size != int64(n) && (n <= most || s.size != 0 && s.size != most) {
			return ambiguous("sizes " + size + " and " + strconv.FormatInt(s.size, 10))
		}
		s.bodySize = int64(n)
	}
	for _, check := range []func() error{s.checkNames, s.checkBody, s.checkSparse} {
		if err := check(); err != nil {
			return err
		}
	}
	if s.bodySize > s.left {
		return oci.Errorf(oci.ErrInvalid, "a file of %d bytes in a layer that has no room for it", s.bodySize)
	}
	s.spent, s.pax, s.name, s.link = 0, nil, "", ""
	if s.flag == tar.TypeGNUSparse && s.block[482] != 0 {
		return s.moreHoles()
	}
	s.startBody()
	return nil
}

func (s *scanner) moreHoles() error {
	if s.spent += 512; s.spent > s.header {
		return s.tooLong()
	}
	s.state, s.need, s.block = inHoles, 512, s.block[:0]
	return nil
}

func (s *scanner) startBody() {
	s.spent = 0
	s.state, s.need = inBody, padded(s.bodySize)
	s.body = s.pos
}
