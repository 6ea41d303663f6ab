// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"slices"
	"strings"
)

// maxTops is how many names at the top of a layer are told.
const maxTops = 8

// MoreTops stands in Rewritten.Tops for names that are not told.
const MoreTops = "…"

// top notes the name at the top of the layer that an entry is below. Names that
// do not look like one, for who reads them in a line, are not told.
func (r *rewriter) top(name string) {
	if r.form != nil {
		return
	}
	top, _, _ := strings.Cut(strings.TrimLeft(strings.TrimPrefix(name, "./"), "/"), "/")
	n := len(r.done.Tops)
	switch {
	case top == "" || top == "." || slices.Contains(r.done.Tops, top) || n > 0 && r.done.Tops[n-1] == MoreTops:
		return
	case n == maxTops || !plainTop(top):
		top = MoreTops
	}
	r.done.Tops = append(r.done.Tops, top)
}

func plainTop(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@") == ""
}

// ValidTops reports whether a list can be Rewritten.Tops.
func ValidTops(tops []string) bool {
	for n, t := range tops {
		if n > maxTops || !plainTop(t) && (t != MoreTops || n < len(tops)-1) {
			return false
		}
	}
	return true
}
