// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dray-tools/dray/edit"
)

// changeReport is what --format json shows of the changes of an edit.
type changeReport struct {
	Changes []edit.Change `json:"changes"`
}

// changeLines are changes for people: MEMBER: old -> new, and in which images if
// not all changes are in the same ones.
func changeLines(list []edit.Change) (lines []string) {
	var all []string
	for _, c := range list {
		for _, p := range c.Platforms {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	for _, c := range list {
		name := c.Member
		if c.Of == "index" || c.Of == "entry" {
			name = c.Of + " " + name
		}
		line := name + ": " + shortened(string(c.Old)) + " -> " + shortened(string(c.New))
		switch n := len(c.Platforms); {
		case n == 0:
		case n == len(all) && n > 1:
			line += fmt.Sprintf(" (all %d images)", n)
		case n > 4:
			line += fmt.Sprintf(" (%s and %d more)", strings.Join(c.Platforms[:3], ", "), n-3)
		default:
			line += " (" + strings.Join(c.Platforms, ", ") + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

// shortened is JSON that fits a line; "" is what is not there.
func shortened(s string) string {
	const most = 60
	if s == "" {
		return "none"
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
