// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/system"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// State is what instructions of a stage go by. A stage that begins with another
// goes on with its state.
type state struct {
	vars     vars
	declared map[string]bool // arguments, with or without a value
	workdir  string          // with slashes and without a drive
	user     string
	shell    []string
	made     []string // directories of an image for Windows that are known to be there
	rooted   bool     // there was an absolute WORKDIR
	last     map[string]*command
	lines    []string // of history, which are not written yet
}

// run goes through the stages that were reached and returns the stack of the
// target.
func (x *evaluation) run(ctx context.Context) (*build.Stack, error) {
	for _, s := range x.all {
		if !s.reached {
			continue
		}
		if err := s.run(ctx); err != nil {
			return nil, err
		}
	}
	return x.target.stack, x.target.forPlatform(x.platform)
}

// forPlatform checks that the stage is for the platform that is built.
func (s *stage) forPlatform(p oci.Platform) error {
	if have := s.stack.Platform(); have.OS != p.OS || have.Architecture != p.Architecture {
		return oci.Errorf(oci.ErrInvalid, "%s: %s is for %s whatever the platform, so it cannot be built for %s", s.at(), s.title(), oci.FormatPlatform(have), oci.FormatPlatform(p))
	}
	return nil
}

func (s *stage) run(ctx context.Context) error {
	begin := s.begin
	if s.from != nil {
		begin = s.goOn
	}
	if err := begin(ctx); err != nil {
		return oci.Wrap("", s.at(), err)
	}
	for _, c := range s.commands {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := s.do(ctx, c); err != nil {
			return oci.Wrap("", c.at(), err)
		}
	}
	return s.tell()
}

// goOn begins with what an earlier stage has become.
func (s *stage) goOn(context.Context) (err error) {
	from := s.from
	s.unknown = from.unknown
	if s.stack, err = from.stack.Clone(); err != nil {
		return err
	}
	s.state = from.state
	s.vars, s.made, s.last = from.vars.clone(), slices.Clone(from.made), map[string]*command{}
	s.declared = map[string]bool{}
	for name := range from.declared {
		s.declared[name] = true
	}
	return s.stack.Apply(edit.Unset(edit.OnBuild))
}

// begin begins with an image or a directory.
func (s *stage) begin(ctx context.Context) error {
	s.vars = vars{env: map[string]string{}, args: map[string]string{}, folds: s.windows()}
	s.declared, s.last = map[string]bool{}, map[string]*command{}
	if s.stack.Base.Name == build.Scratch && s.stack.Get("config", edit.WorkingDir) == nil {
		if err := s.stack.Apply(edit.SetWorkdir("/")); err != nil {
			return err
		}
	}
	if s.other != nil {
		if err := s.fill(ctx); err != nil {
			return err
		}
	}
	config, err := s.stack.Config()
	if err != nil {
		return err
	}
	for _, line := range config.Config.Env {
		name, value, _ := strings.Cut(line, "=")
		s.vars.setEnv(name, value)
	}
	if _, ok := s.vars.Get("PATH"); !ok && !s.windows() { // Windows has one of its own
		if err := s.setEnv("PATH", system.DefaultPathEnvUnix); err != nil {
			return err
		}
	}
	s.user = config.Config.User
	if s.workdir, err = s.path("/", config.Config.WorkingDir, false); err != nil {
		return err
	}
	if s.windows() {
		s.made = []string{strings.ToLower(s.workdir)}
	}
	if raw := s.stack.Get("config", edit.Shell); raw != nil && json.Unmarshal(raw, &s.shell) != nil {
		return oci.Errorf(oci.ErrInvalid, "the base has a Shell that is no list of words")
	}
	if s.index >= 0 && s.stack.Get("config", edit.OnBuild) != nil {
		return s.stack.Apply(edit.Unset(edit.OnBuild))
	}
	return nil
}

func (s *stage) windows() bool { return s.platform.OS == "windows" }

func (s *stage) lex() *shell.Lex { return shell.NewLex(s.escape) }

// expand puts in what variables stand for.
func (s *stage) expand(c instructions.Command, lex *shell.Lex, word string) (string, error) {
	text, _, unset, err := expand(lex, word, s.vars)
	s.lintUnset(c, unset)
	return text, bare(err)
}

// do does what an instruction means.
func (s *stage) do(ctx context.Context, c *command) error {
	if err := s.expandAll(c.Command); err != nil {
		return err
	}
	s.lintCommand(c)
	switch i := c.Command.(type) {
	case *instructions.AddCommand:
		return s.add(ctx, c, i)
	case *instructions.CopyCommand:
		return s.copy(ctx, c, i)
	case *instructions.WorkdirCommand:
		return s.setWorkdir(ctx, c, i.Path)
	case *instructions.RunCommand:
		if s.checks {
			return nil
		}
		return refuse([]*command{c})
	case *instructions.ArgCommand:
		return s.arg(i)
	}
	return s.configure(c)
}

// expandAll expands what has variables expanded in it. Those of ARG are looked
// at later, as a value that was given makes the file's of no matter; those of RUN
// are the shell's.
func (s *stage) expandAll(c instructions.Command) error {
	switch c.(type) {
	case *instructions.ArgCommand, *instructions.RunCommand:
		return nil
	}
	if i, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		lex := s.lex()
		if err := i.Expand(func(word string) (string, error) { return s.expand(c, lex, word) }); err != nil {
			return err
		}
	}
	if i, ok := c.(instructions.SupportsSingleWordExpansionRaw); ok {
		lex := shell.NewLex('\\')
		lex.SkipProcessQuotes = true
		return i.ExpandRaw(func(word string) (string, error) { return s.expand(c, lex, word) })
	}
	return nil
}

// maxTold is how much the instructions of a build may say in the history, and so
// in the config, which has to be read and written for many of them.
const maxTold = 1 << 20

// history notes a line about an instruction that makes no layer.
func (s *stage) history(line string) error {
	if s.told += len(line); s.told > maxTold {
		return oci.Errorf(oci.ErrInvalid, "what the instructions set has more than %d bytes by here", maxTold)
	}
	if !s.dry {
		s.lines = append(s.lines, line)
	}
	return nil
}

// tell writes the lines that were noted. It has to be done before a layer is
// added, and at the end of the stage.
func (s *stage) tell() error {
	lines := s.lines
	s.lines = nil
	if len(lines) == 0 {
		return nil
	}
	return s.stack.AddEmpty(lines...)
}

// path is a path of the image with slashes and without a drive, absolute: if it
// is not, it is below dir. keep: a slash at its end stays.
func (s *stage) path(dir, path string, keep bool) (string, error) {
	out, err := system.NormalizePath(dir, path, s.platform.OS, keep)
	if err != nil {
		return "", oci.Errorf(oci.ErrInvalid, "path %s: want one on drive C:", oci.Quote(path))
	}
	return out, nil
}
