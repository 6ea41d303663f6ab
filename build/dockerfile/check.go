// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// A Report is what Check has found, in the order of the lines.
type Report struct {
	File     string    `json:"file"`
	Warnings []Warning `json:"warnings"`
	Runs     []Run     `json:"runs"` // commands that dray does not run
}

// A Warning is about something that is allowed and may not be meant.
type Warning struct {
	Rule string `json:"rule"` // BuildKit's name of it
	Line int    `json:"line"`
	Text string `json:"text"`
	URL  string `json:"url,omitempty"`
}

// A Run is a command.
type Run struct {
	Line  int    `json:"line"`
	Stage string `json:"stage"`
	Text  string `json:"text"`
}

// Check looks at a Dockerfile by BuildKit's rules and builds nothing: all of its
// stages, or those that a target needs. Of bases it reads the config; for one
// that cannot be read there is a note. A directive check=skip=RULE is honoured,
// and so is check=error=true, which makes warnings ErrInvalid. The report is good
// with an error as well.
func Check(ctx context.Context, e *build.Engine, o Options, want build.Want) (*Report, error) {
	p, err := o.load(ctx, e)
	if err != nil {
		return &Report{File: o.File}, err
	}
	p.checking = true
	c, err := p.lint()
	r := &Report{File: p.name}
	if err != nil {
		return r, err
	}
	err = p.check(ctx, want, c, r)
	r.Warnings = c.sorted()
	if err == nil {
		err = c.failed()
	}
	return r, err
}

func (p *plan) check(ctx context.Context, want build.Want, c *linting, r *Report) error {
	if _, err := parse(p.name, p.text, c.Linter); err != nil { // for what the parser says
		return err
	}
	t := build.Target{Platform: p.o.Host}
	if all, err := p.targets(ctx, want); err == nil && len(all) > 0 {
		t = all[0]
	} else if len(want.Platforms) > 0 {
		t.Platform = want.Platforms[0]
	}
	x, err := p.evaluation(t, c.Linter)
	if err != nil {
		return err
	}
	x.dry, x.checks = true, true
	x.lintFile()
	for _, s := range x.all {
		if p.o.Target == "" || s == x.target {
			if err := s.reach(ctx); err != nil {
				return err
			}
		}
	}
	for _, s := range x.all {
		for _, c := range s.commands {
			if _, ok := c.Command.(*instructions.RunCommand); ok {
				r.Runs = append(r.Runs, Run{c.line, s.title(), c.text()})
			}
		}
	}
	slices.SortStableFunc(r.Runs, func(a, b Run) int { return cmp.Compare(a.Line, b.Line) })
	for _, s := range x.all {
		if s.reached {
			if err := s.run(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// A linting is BuildKit's linter with what it has found.
type linting struct {
	*linter.Linter
	file  string
	found map[Warning]bool
}

// lint makes a linter as the file's directive wants it.
func (p *plan) lint() (*linting, error) {
	text, _, at, _ := parser.ParseDirective("check", p.text)
	config, err := linter.ParseLintOptions(text)
	if err != nil {
		return nil, located(p.name, firstLine(at), err)
	}
	c := &linting{file: p.name, found: map[Warning]bool{}}
	config.Warn = func(rule, _, url, text string, at []parser.Range) {
		c.found[Warning{rule, firstLine(at), text, url}] = true
	}
	c.Linter = linter.New(config)
	return c, nil
}

func (c *linting) sorted() []Warning {
	list := []Warning{}
	for w := range c.found {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// failed is the error of a file that does not allow warnings.
func (c *linting) failed() error {
	if !c.ReturnAsError || len(c.found) == 0 {
		return nil
	}
	list := c.sorted()
	var more []string
	for _, w := range list[1:] {
		if text := where(c.file, w.Line); !slices.Contains(more, text) {
			more = append(more, text)
		}
	}
	rest := ""
	if len(more) > 0 {
		rest = "; also " + strings.Join(more, ", ")
	}
	return oci.Errorf(oci.ErrInvalid, "%s: %s: %s, and the file says check=error=true%s", where(c.file, list[0].Line), list[0].Rule, list[0].Text, rest)
}
