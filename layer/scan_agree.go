// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"cmp"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// checkBody finds out whether the header is followed by content.
func (s *scanner) checkBody() error {
	switch s.flag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		// Some programs skip as many bytes, to others the next header is there.
		if s.bodySize != 0 {
			return ambiguous("link or device with content")
		}
	case tar.TypeDir:
		s.bodySize = 0 // a quota, if anything: all programs agree on that
	case 0, tar.TypeReg, tar.TypeCont: // an old way to say directory is a slash at the end
		if s.bodySize != 0 && (s.wantName == "" || strings.HasSuffix(s.wantName, "/")) {
			return ambiguous("directory with content")
		}
	}
	return nil
}

// checkNames finds out what the next entry is called, and what it links to.
func (s *scanner) checkNames() error {
	for _, k := range []string{"path", "linkpath"} {
		if v, ok := s.pax[k]; ok && v == "" { // none, or the header's?
			return ambiguous("empty " + k)
		}
	}
	if p := s.pax["path"]; p != "" && s.name != "" && p != s.name {
		return ambiguous("two names")
	}
	if p := s.pax["linkpath"]; p != "" && s.link != "" && p != s.link {
		return ambiguous("two links")
	}
	short := text(s.block[:100])
	if prefix := text(s.block[345:500]); prefix != "" && string(s.block[257:263]) == "ustar\x00" {
		short = prefix + "/" + short
	}
	s.wantName = cmp.Or(s.pax["GNU.sparse.name"], s.pax["path"], s.name, short)
	s.wantLink = cmp.Or(s.pax["linkpath"], s.link, text(s.block[157:257]))
	return nil
}

// text is a field up to its NUL.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// checkSparse finds out whether the file has holes. A set of records that some
// programs take for a map and others do not is refused.
func (s *scanner) checkSparse() error {
	s.sparse = s.flag == tar.TypeGNUSparse
	some := false
	for k := range s.pax {
		some = some || strings.HasPrefix(k, "GNU.sparse.")
	}
	if !some {
		return nil
	}
	has := func(k string) bool { return s.pax["GNU.sparse."+k] != "" }
	version := s.pax["GNU.sparse.major"] + "." + s.pax["GNU.sparse.minor"]
	mapped := version == "1.0" || has("numblocks") && (has("map") || has("offset") && has("numbytes")) && (version == "." || version == "0.0" || version == "0.1")
	sized := has("size") || has("realsize")
	twice := has("size") && has("realsize") && s.pax["GNU.sparse.size"] != s.pax["GNU.sparse.realsize"]
	regular := s.flag == 0 || s.flag == tar.TypeReg || s.flag == tar.TypeCont
	if !mapped || !sized || twice || !regular {
		return ambiguous("incomplete records of holes")
	}
	s.sparse = true
	return nil
}

// agrees compares what archive/tar made of the header that was read last.
func (s *scanner) agrees(h *tar.Header) error {
	flag := s.flag
	if flag == 0 {
		flag = tar.TypeReg
		if strings.HasSuffix(h.Name, "/") {
			flag = tar.TypeDir
		}
	}
	same := h.Typeflag == flag && h.Name == s.wantName
	if flag == tar.TypeLink || flag == tar.TypeSymlink {
		same = same && h.Linkname == s.wantLink
	}
	if !s.sparse {
		same = same && s.pos == s.body
		if flag == tar.TypeReg || flag == tar.TypeCont {
			same = same && h.Size == s.bodySize
		}
	}
	if !same {
		return ambiguous(oci.Quote(h.Name))
	}
	return nil
}
