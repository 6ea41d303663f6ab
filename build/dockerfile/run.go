// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/dray-tools/dray/build"
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

// refuseOwn refuses what the file itself has to execute in stages that are needed
// whatever the platform, before any base is asked for.
func (p *plan) refuseOwn() error {
	x, err := p.evaluation(build.Target{Platform: p.o.Host}, nil)
	if err != nil {
		return err
	}
	seen := map[*stage]bool{}
	var runs []*command
	var walk func(s *stage)
	walk = func(s *stage) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		if !s.swapped() {
			o, err := s.origin()
			if err != nil || o.whole { // the error will be found where it is looked for
				return
			}
			if !strings.Contains(s.BaseName, "$") {
				walk(o.stage)
			}
		}
		for _, i := range s.Commands {
			switch i := i.(type) {
			case *instructions.RunCommand:
				runs = append(runs, &command{Command: i, stage: s, line: firstLine(i.Location())})
				for _, m := range instructions.GetMounts(i) {
					walk(s.earlier(m.From))
				}
			case *instructions.CopyCommand:
				walk(s.earlier(i.From))
			}
		}
	}
	walk(x.target)
	return refuse(runs)
}

// earlier is the stage before this one that --from names; nil: none.
func (s *stage) earlier(name string) *stage {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < s.index {
		return s.all[n]
	}
	return s.named(name, s.index)
}

// below is what a stage begins with, for errors.
func (s *stage) below() string {
	if s.from != nil {
		return s.from.title()
	}
	return "the base " + s.stack.Base.Name
}

// text is how a command begins, for errors.
func (c *command) text() string {
	text := strings.ToUpper(c.Name())
	if i, ok := c.Command.(*instructions.RunCommand); ok {
		text = short(i.String(), 60)
	}
	if c.trigger {
		text = "ONBUILD " + text + " of " + c.stage.below()
	}
	return text
}
