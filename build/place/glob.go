// SPDX-License-Identifier: Apache-2.0

package place

import (
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// isPattern reports whether a path has wildcards.
func isPattern(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// plain is a path without wildcards, as it is called.
func plain(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// split cuts a path before its first wildcard.
func split(p string) (dir string, pattern []string) {
	list := strings.Split(p, "/")
	for n, c := range list {
		if isPattern(c) {
			return path.Join(".", plain(path.Join(list[:n]...))), list[n:]
		}
	}
	return path.Join(".", plain(p)), nil
}

// checkPattern refuses what is no pattern.
func checkPattern(p string) error {
	for c := range strings.SplitSeq(p, "/") {
		if _, err := path.Match(c, ""); err != nil {
			return oci.Errorf(oci.ErrInvalid, "%s is no pattern: %w", oci.Quote(p), err)
		}
	}
	return nil
}

// glob finds what a pattern matches below a directory, in order. Links are not
// followed, and there is nothing below a match. With deep, ** stands for any
// number of directories.
func glob(v view, dir string, pattern []string, deep bool) (matches []string, err error) {
	err = v.walk(dir, func(rel string, isDir bool) bool {
		all, down := match(pattern, strings.Split(rel, "/"), deep)
		if all {
			matches = append(matches, rel)
		}
		return down && !all && isDir
	})
	return matches, err
}

// match reports whether a path matches a pattern, and whether something below it
// can. The pattern has been checked.
func match(pattern, name []string, deep bool) (all, below bool) {
	at := make([]bool, len(pattern)+1) // how much of the pattern may be used up
	at[0] = true
	skip := func(at []bool) {
		for i, p := range pattern {
			at[i+1] = at[i+1] || at[i] && deep && p == "**"
		}
	}
	skip(at)
	for _, c := range name {
		next := make([]bool, len(at))
		for i, p := range pattern {
			if !at[i] {
				continue
			}
			if deep && p == "**" {
				next[i] = true
			} else if ok, _ := path.Match(p, c); ok {
				next[i+1] = true
			}
		}
		skip(next)
		at = next
	}
	return at[len(pattern)], slices.Contains(at[:len(pattern)], true)
}
