// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/rebase"
)

// rebaseLines is the report for people: with all there is to say, or what they
// should know.
func rebaseLines(r *dray.Rebased, all bool) (lines []string) {
	same := noneKnown(r.Images)
	for _, i := range r.Images {
		in := "  "
		switch {
		case i.Already:
			lines = append(lines, fmt.Sprintf("%s: already on %s", i.Platform, i.NewBase.Name))
			continue
		case all || len(r.Images) == 1:
			lines = append(lines, fmt.Sprintf("%s: from %s (%s) to %s (%s)", i.Platform, baseName(i.OldBase), i.OldBase.Found, i.NewBase.Name, i.NewBase.Found),
				fmt.Sprintf("%s%s replaced by %d, %d stay", in, count(i.Old, "layer"), i.New, i.Own))
		default:
			in = i.Platform + ": "
		}
		for _, c := range i.Changes {
			if all || c.Conflict {
				lines = append(lines, in+changeLine(c))
			}
		}
		for _, w := range i.Warnings {
			lines = append(lines, in+"warning: "+w)
		}
		if all && i.Files == dray.FilesUnknown && !same {
			lines = append(lines, in+notKnown)
		}
	}
	if all && same {
		lines = append(lines, notKnown)
	}
	return lines
}

const notKnown = "not known: what the application's layers do to the base (--deep reads them)"

// noneKnown reports whether nothing is known of the files of any image that
// moves, so that it needs to be said only once.
func noneKnown(images []*dray.RebasedImage) bool {
	moved := 0
	for _, i := range images {
		if i.Already {
			continue
		}
		if i.Files != dray.FilesUnknown {
			return false
		}
		moved++
	}
	return moved > 0
}

// baseName names a base, also one that only a label knows.
func baseName(b dray.BaseUsed) string {
	if b.Name == "" {
		return "an unnamed base"
	}
	return b.Name
}

func changeLine(c rebase.Change) string {
	s := c.Field + ": "
	if slices.Contains([]string{c.Old, c.App, c.New}, rebase.Hidden) {
		return s + hiddenChange(c)
	}
	switch {
	case c.Conflict:
		return s + fmt.Sprintf("the application's %s stays; the base's went %s", valueOrNone(c.App), fromTo(valueOrNone(c.Old), valueOrNone(c.New)))
	case c.Took == rebase.Both:
		return s + fmt.Sprintf("%s, with the base's %s", valueOrNone(c.App), fromTo(valueOrNone(c.Old), valueOrNone(c.New)))
	}
	return s + fromTo(valueOrNone(c.App), valueOrNone(c.New))
}

// hiddenChange is what happened to a variable, without its values.
func hiddenChange(c rebase.Change) string {
	went := func(from, to string) string {
		switch {
		case from == "":
			return "new"
		case to == "":
			return "gone"
		}
		return "changed"
	}
	switch {
	case !c.Conflict:
		return went(c.App, c.New)
	case c.App == "":
		return "stays removed by the application; the base's is " + went(c.Old, c.New)
	}
	return "the application's stays; the base's is " + went(c.Old, c.New)
}

func valueOrNone(s string) string {
	if strings.TrimSpace(s) == "" {
		return "none"
	}
	return shown(s)
}
