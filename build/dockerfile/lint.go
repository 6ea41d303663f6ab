// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/util/suggest"
	"github.com/moby/buildkit/util/system"
	"github.com/moby/patternmatcher"

	"github.com/dray-tools/dray/oci"
)

// The rules are BuildKit's; those about single instructions are in its parser,
// those that need to know more are here. An evaluation that is not for Check has
// no linter, and they do nothing.

// warn says that a rule is broken, unless the file switches it off, or a comment
// before the instruction does.
func (x *evaluation) warn(r linter.LinterRuleI, at []parser.Range, comments []string, text string) {
	if x.lint != nil {
		x.lint.WithMergedConfigFromComments(comments).Run(r, at, text)
	}
}

func (s *stage) warn(c instructions.Command, r linter.LinterRuleI, text string) {
	s.evaluation.warn(r, c.Location(), c.Comments(), text)
}

// lintFile looks at the file as a whole.
func (x *evaluation) lintFile() {
	if x.lint == nil {
		return
	}
	for _, w := range x.warned {
		if w.URL == linter.RuleNoEmptyContinuation.URL {
			x.lint.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
		}
	}
	seen := map[string]bool{}
	for _, s := range x.all {
		switch {
		case s.Name == "":
			continue
		case s.Name == "scratch" || s.Name == "context":
			x.warn(&linter.RuleReservedStageName, s.Location, s.Comments, linter.RuleReservedStageName.Format(s.Name))
		}
		if seen[s.Name] {
			x.warn(&linter.RuleDuplicateStageName, s.Location, s.Comments, linter.RuleDuplicateStageName.Format(s.Name))
		}
		seen[s.Name] = true
	}
	x.lintCasing()
	x.lintDefaults()
}

// lintCasing wants all instructions to be written in the case that most are.
func (x *evaluation) lintCasing() {
	type word struct {
		text     string
		at       []parser.Range
		comments []string
	}
	var all []word
	for _, s := range x.all {
		all = append(all, word{s.OrigCmd, s.Location, s.Comments})
		for _, c := range s.Commands {
			all = append(all, word{c.Name(), c.Location(), c.Comments()})
		}
	}
	lower, upper := 0, 0
	for _, w := range all {
		switch w.text {
		case strings.ToLower(w.text):
			lower++
		case strings.ToUpper(w.text):
			upper++
		}
	}
	want, how := strings.ToUpper, "uppercase"
	if lower > upper {
		want, how = strings.ToLower, "lowercase"
	}
	for _, w := range all {
		if w.text != want(w.text) {
			x.warn(&linter.RuleConsistentInstructionCasing, w.at, w.comments, linter.RuleConsistentInstructionCasing.Format(w.text, how))
		}
	}
}

// imageName is about what the name of an image can be.
var imageName = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,})?$`)

// lintDefaults looks whether the names after FROM are names where no build
// argument is given.
func (x *evaluation) lintDefaults() {
	global, err := x.globals(nil)
	if err != nil {
		return
	}
	for _, s := range x.all {
		name, _, _, err := expand(s.lex(), s.BaseName, global)
		if err != nil {
			return
		}
		if !imageName.MatchString(name) && !strings.HasPrefix(name, "scratch+") && !strings.HasPrefix(name, "oci") {
			x.warn(&linter.RuleInvalidDefaultArgInFrom, s.Location, s.Comments, linter.RuleInvalidDefaultArgInFrom.Format(s.BaseName))
		}
	}
}

func (s *stage) lintFrom(unset map[string]struct{}) {
	for name := range unset {
		if s.known[name] {
			continue
		}
		near, _ := suggest.Search(name, s.global.Keys(), true)
		s.evaluation.warn(&linter.RuleUndefinedArgInFrom, s.Location, s.Comments, linter.RuleUndefinedArgInFrom.Format(name, near))
	}
}

func (s *stage) lintPlatform(text string, used, unset map[string]struct{}) {
	s.lintFrom(unset)
	_, target := used["TARGETPLATFORM"]
	switch {
	case target && len(used) == 1 && len(unset) == 0 && text == s.global.args["TARGETPLATFORM"]:
		s.evaluation.warn(&linter.RuleRedundantTargetPlatform, s.Location, s.Comments, linter.RuleRedundantTargetPlatform.Format(s.Platform))
	case len(used)+len(unset) == 0:
		p, err := oci.ParsePlatform(text)
		if err == nil && !strings.Contains(s.Name, p.OS) && !strings.Contains(s.Name, p.Architecture) {
			s.evaluation.warn(&linter.RuleFromPlatformFlagConstDisallowed, s.Location, s.Comments, linter.RuleFromPlatformFlagConstDisallowed.Format(text))
		}
	}
}

// lintUnset is about variables that nothing has set. Of a base that could not be
// read nobody knows.
func (s *stage) lintUnset(c instructions.Command, unset map[string]struct{}) {
	for name := range unset {
		if s.lint == nil || s.unknown || s.declared[name] || strings.HasPrefix(name, "BUILDKIT_SBOM_SCAN_") {
			continue
		}
		near, _ := suggest.Search(name, s.vars.Keys(), true)
		s.warn(c, &linter.RuleUndefinedVar, linter.RuleUndefinedVar.Format(name, near))
	}
}

// lintCommand looks at an instruction, and notes that there was one of its kind.
func (s *stage) lintCommand(c *command) {
	kind := strings.ToLower(c.Name())
	switch i := c.Command.(type) {
	case *instructions.CmdCommand:
		s.lintShell(c, i.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		s.lintShell(c, i.ShellDependantCmdLine)
	case *instructions.HealthCheckCommand:
	case *instructions.EnvCommand:
		s.lintPairs(c, i.Env)
	case *instructions.LabelCommand:
		s.lintPairs(c, i.Labels)
	default:
		return
	}
	if kind == "env" || kind == "label" {
		return
	}
	if was := s.last[kind]; was != nil { // the earlier one is what is lost
		s.evaluation.warn(&linter.RuleMultipleInstructionsDisallowed, was.Location(), was.Comments(), linter.RuleMultipleInstructionsDisallowed.Format(c.Name()))
	}
	s.last[kind] = c
}

func (s *stage) lintShell(c *command, line instructions.ShellDependantCmdLine) {
	if line.PrependShell && len(s.shell) == 0 {
		s.warn(c, &linter.RuleJSONArgsRecommended, linter.RuleJSONArgsRecommended.Format(c.Name()))
	}
}

func (s *stage) lintPairs(c *command, pairs instructions.KeyValuePairs) {
	for _, p := range pairs {
		if p.NoDelim {
			s.warn(c, &linter.RuleLegacyKeyValueFormat, linter.RuleLegacyKeyValueFormat.Format(c.Name()))
		}
	}
}

func (s *stage) lintPort(c instructions.Command, port string, odd bool) {
	if _, protocol, _ := strings.Cut(port, "/"); protocol != strings.ToLower(protocol) {
		s.warn(c, &linter.RuleExposeProtoCasing, linter.RuleExposeProtoCasing.Format(port))
	}
	if odd {
		s.warn(c, &linter.RuleExposeInvalidFormat, linter.RuleExposeInvalidFormat.Format(port))
	}
}

func (s *stage) lintSecret(what, key string, c instructions.Command) {
	if secret(key) {
		s.warn(c, &linter.RuleSecretsUsedInArgOrEnv, linter.RuleSecretsUsedInArgOrEnv.Format(what, key))
	}
}

func (s *stage) lintWorkdir(c *command, to string) {
	if !s.rooted && !system.IsAbs(to, s.platform.OS) {
		s.warn(c, &linter.RuleWorkdirRelativePath, linter.RuleWorkdirRelativePath.Format(to))
	}
	s.rooted = true
}

// lintIgnored is about sources that .dockerignore leaves out. What is taken in
// again there is too much to follow.
func (s *stage) lintIgnored(c *command, sources []string) {
	if s.lint == nil || c.from != nil || len(s.ignored) == 0 {
		return
	}
	m, err := patternmatcher.New(s.ignored)
	if err != nil || m.Exclusions() {
		return
	}
	for _, src := range sources {
		src = path.Clean(strings.TrimPrefix(src, "/"))
		all := slices.ContainsFunc(m.Patterns(), func(p *patternmatcher.Pattern) bool { return strings.Trim(p.String(), "*/") == "" })
		if strings.Contains(src, "://") || src == "." && !all {
			continue
		}
		if out, err := m.MatchesOrParentMatches(src); err == nil && out {
			s.warn(c, &linter.RuleCopyIgnoredFile, linter.RuleCopyIgnoredFile.Format(title(c.Name()), src))
		}
	}
}

// title is a word as it begins a sentence.
func title(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

// secret reports whether a name looks like that of something that must not be
// told: a word of it does, and none says that it is harmless.
func secret(name string) bool {
	found := false
	for _, word := range strings.Split(strings.ToLower(name), "_") {
		switch word {
		case "public", "file", "version":
			return false
		case "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token":
			found = true
		}
	}
	return found
}
