// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// An evaluation is what a Dockerfile means for one platform. It goes through the
// stages that the target needs, and no others.
type evaluation struct {
	*plan
	*script
	platform oci.Platform
	global   vars
	known    map[string]bool // names of ARGs before the first FROM
	all      []*stage
	images   map[string]*stage // that --from names and that are no stages
	target   *stage
	root     *stage      // whose base is the target's
	base     *build.Base // of root; nil: what the file says
	lint     *linter.Linter
	dry      bool // everything but layers and history
	told     int  // bytes of lines of history
	checks   bool // for Check: what cannot be read or run is left out
}

// A stage is what begins with a FROM, or an image that is only copied from.
type stage struct {
	*evaluation
	instructions.Stage
	index    int // -1 of an image
	reached  bool
	platform oci.Platform
	from     *stage // an earlier stage that it begins with
	other    *other // a directory that it begins with
	unknown  bool   // the image that it begins with could not be read
	commands []*command

	stack *build.Stack
	state
}

// A command is an instruction of a stage.
type command struct {
	instructions.Command
	stage   *stage
	line    int
	trigger bool   // it comes from an ONBUILD of the base
	from    *stage // what a COPY takes files from; nil: the context
}

// An origin is what a stage begins with: one of the first three.
type origin struct {
	stage    *stage
	other    *other
	image    string
	platform *oci.Platform // that FROM asks for; nil: none
	whole    bool          // other takes the place of the whole stage
}

// find is the stage of a name or number; "": the last.
func (x *evaluation) find(name string) (*stage, error) {
	if name == "" {
		return x.all[len(x.all)-1], nil
	}
	if s := x.named(name, len(x.all)); s != nil {
		return s, nil
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(x.all) {
		return x.all[n], nil
	}
	var names []string
	for _, s := range x.all {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	text := "none has a name"
	if len(names) > 0 {
		text = "there is " + strings.Join(names, ", ")
	}
	return nil, oci.Errorf(oci.ErrInvalid, "%s: no stage %s; %s", x.name, oci.Quote(name), text)
}

// named is the last stage of a name among the first n; nil: there is none.
func (x *evaluation) named(name string, n int) *stage {
	for _, s := range slices.Backward(x.all[:n]) {
		if s.Name != "" && strings.EqualFold(s.Name, name) {
			return s
		}
	}
	return nil
}

// title is what errors call a stage.
func (s *stage) title() string {
	if s.Name != "" {
		return "stage " + s.Name
	}
	return "stage " + strconv.Itoa(s.index)
}

// at is where a stage begins, as FILE:LINE.
func (s *stage) at() string { return where(s.name, firstLine(s.Location)) }

// origin finds what a stage begins with.
func (s *stage) origin() (o origin, err error) {
	if o.other = s.plan.other[familiar(s.Name)]; s.Name != "" && o.other != nil {
		o.image, o.whole = o.other.image, true
		return o, nil
	}
	lex := s.lex()
	name, _, unset, err := expand(lex, s.BaseName, s.global)
	if err != nil {
		return o, located(s.name, firstLine(s.Location), err)
	}
	s.lintFrom(unset)
	if name == "" {
		return o, oci.Errorf(oci.ErrInvalid, "%s: FROM %s: the name is empty; does an ARG before the first FROM give it?", s.at(), s.BaseName)
	}
	if s.Platform != "" {
		text, used, unset, err := expand(lex, s.Platform, s.global)
		if err != nil {
			return o, located(s.name, firstLine(s.Location), err)
		}
		s.lintPlatform(text, used, unset)
		p, err := oci.ParsePlatform(text)
		if err != nil {
			return o, oci.Errorf(oci.ErrInvalid, "%s: FROM --platform=%s: %w", s.at(), s.Platform, err)
		}
		o.platform = &p
	}
	if s.index >= 0 {
		o.stage = s.named(name, s.index)
	}
	if o.stage == nil {
		o.image = name
		if o.other = s.plan.other[familiar(name)]; o.other != nil {
			o.image = o.other.image
		}
	}
	return o, nil
}

// rootOf is the stage whose base is that of a stage.
func (x *evaluation) rootOf(s *stage) (*stage, error) {
	for !x.swap || s != x.target {
		o, err := s.origin()
		if err != nil || o.stage == nil {
			return s, err
		}
		s = o.stage
	}
	return s, nil
}

// reach finds the stages that the target needs, reads the configs of the images
// that they begin with, and returns the commands that would have to be executed.
func (x *evaluation) reach(ctx context.Context) (runs []*command, err error) {
	if err := x.target.reach(ctx); err != nil {
		return nil, err
	}
	for _, s := range x.all {
		for _, c := range s.commands {
			if _, ok := c.Command.(*instructions.RunCommand); ok {
				runs = append(runs, c)
			}
		}
	}
	return runs, nil
}

func (s *stage) reach(ctx context.Context) error {
	if s.reached {
		return nil
	}
	s.reached = true
	var o origin
	var err error
	if !s.swapped() { // what FROM says does not matter then
		if o, err = s.origin(); err != nil {
			return err
		}
	}
	s.from = o.stage
	if s.from != nil {
		err = s.from.reach(ctx)
		s.platform = s.from.platform
	} else {
		err = s.open(ctx, o)
	}
	if err != nil || s.index < 0 || o.whole {
		return err
	}
	if err := s.triggers(); err != nil {
		return err
	}
	for _, c := range s.Commands {
		s.commands = append(s.commands, &command{Command: c, stage: s, line: firstLine(c.Location())})
	}
	for _, c := range s.commands {
		if err := s.needs(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// swapped reports whether a stage begins with a base of the user's.
func (s *stage) swapped() bool { return s.swap && s == s.target }

// open makes the stack that a stage begins with, unless that is a stage.
func (s *stage) open(ctx context.Context, o origin) error {
	b := s.base
	if s != s.root || b == nil {
		p := s.evaluation.platform
		if o.platform != nil {
			p = *o.platform
		}
		var err error
		if b, err = s.image(ctx, o.image, p); err != nil && s.checks && ctx.Err() == nil {
			s.e.Note("%s: the base could not be read, so nothing is known of what it sets (%v)", s.at(), err)
			b, err, s.unknown = &build.Base{Name: build.Scratch, Platform: p}, nil, true
		}
		if err != nil {
			return oci.Wrap("", s.at(), err)
		}
	}
	if o.other != nil && o.other.dir != "" {
		s.other = o.other
	}
	s.platform = b.Platform
	var err error
	s.stack, err = s.plan.stack(ctx, b)
	return oci.Wrap("", s.at(), err)
}

// image is the base of a name. One that is only copied from may be for another
// platform, if there is no other.
func (s *stage) image(ctx context.Context, name string, p oci.Platform) (*build.Base, error) {
	if name == "" { // a directory
		name = build.Scratch
	}
	list, err := s.e.Bases(ctx, name)
	if err != nil {
		return nil, err
	}
	if s.index < 0 && len(list) == 1 && list[0].Index.Digest == "" {
		if have := list[0].Platform; !oci.MatchPlatform(p, have) {
			s.e.Note("%s is for %s only: files are copied from that", name, oci.FormatPlatform(have))
		}
		return list[0], nil
	}
	return s.e.Base(ctx, name, p)
}

// triggers are what the base wants to be done first: ONBUILD of its config, or of
// the stage.
func (s *stage) triggers() error {
	var lines []string
	if s.from == nil {
		raw := s.stack.Get("config", "OnBuild")
		if raw != nil && json.Unmarshal(raw, &lines) != nil {
			return oci.Errorf(oci.ErrInvalid, "%s: the base has an OnBuild that is no list of instructions", s.at())
		}
	} else {
		for _, c := range s.from.commands {
			if on, ok := c.Command.(*instructions.OnbuildCommand); ok {
				lines = append(lines, on.Expression)
			}
		}
	}
	if len(lines) > maxInstructions {
		return oci.Errorf(oci.ErrInvalid, "%s: the base has %d ONBUILD instructions, more than %d", s.at(), len(lines), maxInstructions)
	}
	for _, line := range lines {
		c, err := trigger(line)
		if err != nil {
			return oci.Errorf(oci.ErrInvalid, "%s: ONBUILD %s: %w", s.at(), oci.Quote(short(line, 60)), err)
		}
		s.commands = append(s.commands, &command{Command: c, stage: s, line: firstLine(s.Location), trigger: true})
	}
	return nil
}

// trigger reads an instruction of ONBUILD.
func trigger(line string) (instructions.Command, error) {
	r, err := parser.Parse(strings.NewReader(line))
	if err == nil && len(r.AST.Children) != 1 {
		return nil, oci.Errorf(oci.ErrInvalid, "want one instruction")
	}
	if err != nil {
		return nil, bare(err)
	}
	c, err := instructions.ParseCommand(r.AST.Children[0])
	return c, bare(err)
}

// needs finds the stage or image that a command takes files from.
func (s *stage) needs(ctx context.Context, c *command) error {
	switch i := c.Command.(type) {
	case *instructions.CopyCommand:
		if i.From == "" {
			return nil
		}
		from, err := s.source(ctx, c, i.From)
		c.from = from
		return err
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(i) {
			if m.From == "" {
				continue
			}
			if _, err := s.source(ctx, c, m.From); err != nil {
				return err
			}
		}
	}
	return nil
}

// source is what --from names: an earlier stage by name or number, a context, or
// an image.
func (s *stage) source(ctx context.Context, c *command, name string) (*stage, error) {
	if strings.Contains(name, "$") {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: --from=%s: no variables are put in here; name it in a FROM of its own", c.at(), name)
	}
	from := s.named(name, s.index)
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n >= len(s.all) {
			return nil, oci.Errorf(oci.ErrInvalid, "%s: --from=%s: there are %d stages, from 0 on", c.at(), name, len(s.all))
		}
		from = s.all[n]
	} else if from == nil {
		from = s.named(name, len(s.all))
	}
	if from == nil {
		if from = s.images[name]; from == nil {
			from = &stage{evaluation: s.evaluation, Stage: instructions.Stage{BaseName: name, Location: c.Location()}, index: -1}
			s.images[name] = from
		}
	} else if from.index >= s.index {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: --from=%s: that stage comes later, or is this one", c.at(), name)
	}
	return from, from.reach(ctx)
}

// at is where a command is, as FILE:LINE.
func (c *command) at() string { return where(c.stage.name, c.line) }
