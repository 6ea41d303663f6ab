// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"strconv"
	"testing"

	"github.com/dray-tools/dray/oci"
)

func TestBad_071_TwoReadings(t *testing.T) {
	t.Parallel()
	hidden := tarOf(t, file("hidden", ""))
	inner := len(hidden)
	for name, b := range map[string][]byte{
		"PAX size, header 0":      cat(pax('x', record("size", strconv.Itoa(inner))), raw("x", tar.TypeReg, octal(0)), hidden, end),
		"PAX size 0, header more": cat(pax('x', record("size", "0")), raw("x", tar.TypeReg, octal(inner)), hidden, end),
		"two PAX sizes":           cat(pax('x', record("size", "0"), record("size", "512")), raw("x", tar.TypeReg, octal(512)), end, end),
		"two PAX headers":         cat(pax('x', record("path", "a")), pax('x', record("path", "b")), raw("x", tar.TypeReg, octal(0)), end),
		"two names":               cat(pax('x', record("path", "a")), raw("L", 'L', octal(2)), block("b\x00"), raw("x", tar.TypeReg, octal(0)), end),
		"two links":               cat(pax('x', record("linkpath", "a")), raw("K", 'K', octal(2)), block("b\x00"), raw("x", tar.TypeSymlink, octal(0)), end),
		"global size":             cat(pax('g', record("size", "512")), raw("x", tar.TypeReg, octal(0)), end),
		"global path":             cat(pax('g', record("path", "y")), raw("x", tar.TypeReg, octal(0)), end),
		"malformed PAX":           cat(raw("pax", 'x', octal(10)), block("99 path=y\n"), raw("x", tar.TypeReg, octal(0)), end),
		"malformed PAX size":      cat(pax('x', record("size", "+5")), raw("x", tar.TypeReg, octal(5)), block("12345"), end),
		"hard link with content":  cat(raw("x", tar.TypeReg, octal(0)), raw("y", tar.TypeLink, octal(512), func(b []byte) { copy(b[157:], "x") }), block("?"), end),
		"old directory, content":  cat(raw("x/", 0, octal(512)), block("?"), end),
		"directory with content":  cat(raw("x/", tar.TypeReg, octal(512)), block("?"), end),
		"size of a link":          cat(raw("x", tar.TypeSymlink, octal(4), func(b []byte) { copy(b[157:], "to") }), end),
		"size of a device":        cat(raw("x", tar.TypeChar, octal(512)), block("?"), end),
		"size of a fifo":          cat(raw("x", tar.TypeFifo, octal(512)), block("?"), end),
		"global header after x":   cat(pax('x', record("path", "a")), pax('g', record("comment", "c")), raw("x", tar.TypeReg, octal(0)), end),
		"global header after L":   cat(raw("L", 'L', octal(2)), block("b\x00"), pax('g', record("comment", "c")), raw("x", tar.TypeReg, octal(0)), end),
		"global header after K":   cat(raw("K", 'K', octal(2)), block("b\x00"), pax('g', record("comment", "c")), raw("x", tar.TypeSymlink, octal(0)), end),
		"empty L":                 cat(raw("L", 'L', octal(1)), block("\x00"), raw("x", tar.TypeReg, octal(0)), end),
		"L of nothing":            cat(raw("L", 'L', octal(0)), raw("x", tar.TypeReg, octal(0)), end),
		"L, empty path":           cat(raw("L", 'L', octal(2)), block("b\x00"), pax('x', record("path", "")), raw("x", tar.TypeReg, octal(0)), end),
		"empty linkpath":          cat(pax('x', record("linkpath", "")), raw("x", tar.TypeSymlink, octal(0), func(b []byte) { copy(b[157:], "to") }), end),
		"half a sparse file":      cat(pax('x', record("GNU.sparse.realsize", "600"), record("GNU.sparse.name", "y")), raw("x", tar.TypeReg, octal(4)), block("1234"), end),
		"sparse, no such version": cat(pax('x', record("GNU.sparse.major", "2"), record("GNU.sparse.minor", "0"), record("GNU.sparse.size", "4")), raw("x", tar.TypeReg, octal(4)), block("1234"), end),
		"sparse of two sizes": cat(pax('x', record("GNU.sparse.map", "0,1"), record("GNU.sparse.numblocks", "1"), record("GNU.sparse.size", "99"), record("GNU.sparse.realsize", "98")),
			raw("x", tar.TypeReg, octal(1)), block("x"), end),
		"sparse link": cat(pax('x', record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0"), record("GNU.sparse.realsize", "4")),
			raw("x", tar.TypeSymlink, octal(0), func(b []byte) { copy(b[157:], "to") }), end),
		"prefix that GNU tar does not read": cat(raw("x", tar.TypeReg, octal(0), func(b []byte) { copy(b[257:], "ustar  \x00"); copy(b[345:], "prefix/dir") }), end),
		"one zero block, then one":          cat(make([]byte, 512), raw("x", tar.TypeReg, octal(0)), end),
		"bad checksum":                      cat(raw("x", tar.TypeReg, octal(0))[:511], []byte("x"), end),
	} {
		_, err := readAll(reader(b))
		wantKind(t, name, err, oci.ErrInvalid)
	}
	wantKind(t, "unknown type", func() error { _, err := readAll(reader(cat(raw("x", 'V', octal(0)), end))); return err }(), oci.ErrUnsupported)
	for name, b := range map[string][]byte{
		"equal sizes":              cat(pax('x', record("size", "5")), raw("x", tar.TypeReg, octal(5)), block("12345"), end),
		"global comment":           cat(pax('g', record("comment", "of git")), raw("x", tar.TypeReg, octal(0)), end),
		"repeated name":            cat(pax('x', record("path", "a")), raw("L", 'L', octal(2)), block("a\x00"), raw("x", tar.TypeReg, octal(0)), end),
		"file that is a directory": cat(raw("x/", tar.TypeReg, octal(0)), end),
		"size of a directory":      cat(raw("x/", tar.TypeDir, octal(4096)), end),
		"prefix":                   cat(raw("x", tar.TypeReg, octal(0), func(b []byte) { copy(b[345:], "some/where") }), end),
		"no end":                   raw("x", tar.TypeReg, octal(0)),
		"half an end":              cat(raw("x", tar.TypeReg, octal(0)), end[:512]),
		"old directory":            cat(raw("x/", 0, octal(0)), end),
	} {
		if list, err := readAll(reader(b)); err != nil || len(list) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
