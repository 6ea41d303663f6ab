// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"strconv"
	"strings"
)

// parseRange reads a Range header of one range for content of that size
// (RFC 9110, section 14). ok is false if the header is none that has to be
// understood, so that all is sent; satisfiable is false for 416.
func parseRange(header string, size int64) (offset, length int64, ok, satisfiable bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	first, last, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !isRange || strings.Contains(spec, ",") { // several ranges: one answer with all is allowed
		return 0, 0, false, false
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if first == "" { // the last so many bytes
		n, valid := number(last)
		if !valid {
			return 0, 0, false, false
		}
		n = min(n, size)
		return size - n, n, true, n > 0
	}
	start, valid := number(first)
	if !valid {
		return 0, 0, false, false
	}
	end := size - 1
	if last != "" {
		if end, valid = number(last); !valid {
			return 0, 0, false, false
		}
		if end < start { // invalid by the RFC; registries answer 416, and clients rely on it
			return 0, 0, true, false
		}
		end = min(end, size-1)
	}
	return start, end - start + 1, true, start < size
}

// parseContentRange reads the form of the Content-Range of chunks:
// first-last, without a unit (distribution-spec, "Pushing a blob in chunks").
func parseContentRange(header string) (first, last int64, ok bool) {
	a, b, isRange := strings.Cut(strings.TrimPrefix(header, "bytes "), "-")
	b, _, _ = strings.Cut(b, "/") // some clients send a real Content-Range
	first, okA := number(a)
	last, okB := number(b)
	return first, last, isRange && okA && okB && last >= first && last < 1<<62
}

// number reads digits and nothing else; what is too large becomes the largest
// number.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
