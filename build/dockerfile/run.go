// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/dray-tools/dray/oci"
)

// refuse is the error about commands that would have to be executed; nil if
// there are none. It is the one place that stands for RUN: what executes commands
// will do so here, and put what they leave behind on the stack of the stage, with
// build.Stack.Add as COPY does.
func refuse(runs []*command) error {
	if len(runs) == 0 {
		return nil
	}
	type line struct {
		at int
		c  *command
	}
	var all []line
	for _, c := range runs {
		if !slices.ContainsFunc(all, func(l line) bool { return l.at == c.line && l.c.text() == c.text() }) {
			all = append(all, line{c.line, c})
		}
	}
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	first := all[0].c
	more := ""
	if n := len(all) - 1; n > 0 {
		var numbers []string
		for _, l := range all[1:] {
			if text := strconv.Itoa(l.at); !slices.Contains(numbers, text) {
				numbers = append(numbers, text)
			}
		}
		what := "line"
		if len(numbers) > 1 {
			what = "lines"
		}
		more = fmt.Sprintf(" (%d more: %s %s)", n, what, strings.Join(numbers, ", "))
	}
	stage := first.stage.title()
	way := "give the stage a name and, for it, an image that was built elsewhere (--build-context NAME=docker-image://REF)"
	if name := first.stage.Name; name != "" {
		way = fmt.Sprintf("build the stage elsewhere and name the image (--build-context %s=docker-image://REF)", name)
	}
	return oci.Errorf(oci.ErrUnsupported, "%s: %s in %s: dray runs nothing in images%s; COPY --from an image that has the result, or build it outside and COPY it, or %s; a later version of dray may run it",
		first.at(), first.text(), stage, more, way)
}

// text is how a command begins, for errors.
func (c *command) text() string {
	text := strings.ToUpper(c.Name())
	if i, ok := c.Command.(*instructions.RunCommand); ok {
		text = short(i.String(), 60)
	}
	if c.trigger {
		text = "ONBUILD " + text + " of the base"
	}
	return text
}
