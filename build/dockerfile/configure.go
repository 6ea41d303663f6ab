// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// configure does what instructions mean that only change the config. The lines
// of history are those that BuildKit writes.
func (s *stage) configure(c *command) error {
	switch i := c.Command.(type) {
	case *instructions.EnvCommand:
		return s.env(i)
	case *instructions.LabelCommand:
		return s.label(i)
	case *instructions.MaintainerCommand:
		return s.set(fmt.Sprintf("MAINTAINER %v", i.Maintainer), edit.SetAuthor(i.Maintainer))
	case *instructions.UserCommand:
		s.user = i.User
		return s.set(fmt.Sprintf("USER %v", i.User), edit.SetUser(i.User))
	case *instructions.CmdCommand:
		words := s.words(i.ShellDependantCmdLine)
		escaped := func(image *edit.Image) error { return image.Set(true, "config", "ArgsEscaped") }
		return s.set(fmt.Sprintf("CMD %q", words), list(edit.Cmd, words), escaped)
	case *instructions.EntrypointCommand:
		words := s.words(i.ShellDependantCmdLine)
		edits := []edit.Edit{list(edit.Entrypoint, words)}
		if s.last["cmd"] == nil {
			edits = append(edits, edit.Unset(edit.Cmd))
		}
		return s.set(fmt.Sprintf("ENTRYPOINT %q", words), edits...)
	case *instructions.ShellCommand:
		s.shell = i.Shell
		return s.set(fmt.Sprintf("SHELL %v", i.Shell), list(edit.Shell, i.Shell))
	case *instructions.HealthCheckCommand:
		raw, err := json.Marshal(i.Health)
		if err != nil {
			return err
		}
		return s.set(fmt.Sprintf("HEALTHCHECK %+v", *i.Health), edit.Unset(edit.Healthcheck), edit.SetHealthcheck(raw))
	case *instructions.OnbuildCommand: // BuildKit has no line for it
		return s.stack.Apply(func(image *edit.Image) error { return push(image, edit.OnBuild, i.Expression) })
	case *instructions.ExposeCommand:
		return s.expose(i)
	case *instructions.VolumeCommand:
		return s.volumes(i)
	case *instructions.StopSignalCommand:
		return s.stopSignal(i)
	}
	return oci.Errorf(oci.ErrUnsupported, "%s is not supported", strings.ToUpper(c.Name()))
}

// set makes changes of the config and adds their line of history.
func (s *stage) set(line string, edits ...edit.Edit) error {
	if err := s.stack.Apply(edits...); err != nil {
		return err
	}
	return s.history(line)
}

// list sets a list of words; an empty one is none.
func list(member string, words []string) edit.Edit {
	if len(words) == 0 {
		return edit.Unset(member)
	}
	switch member {
	case edit.Cmd:
		return edit.SetCmd(words...)
	case edit.Entrypoint:
		return edit.SetEntrypoint(words...)
	}
	return edit.SetShell(words...)
}

// words are those of a command, behind the shell's if it is a text.
func (s *stage) words(c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	shell := s.shell
	switch {
	case len(shell) > 0:
	case s.windows():
		shell = []string{"cmd", "/S", "/C"}
	default:
		shell = []string{"/bin/sh", "-c"}
	}
	return append(append([]string{}, shell...), strings.Join(c.CmdLine, " "))
}

// env sets variables. They were all expanded before the first of them is set.
func (s *stage) env(c *instructions.EnvCommand) error {
	line := "ENV"
	for _, v := range c.Env {
		s.lintSecret("ENV", v.Key, c)
		line += " " + v.String()
		if err := s.setEnv(v.Key, v.Value); err != nil {
			return err
		}
	}
	return s.history(line)
}

func (s *stage) setEnv(name, value string) error {
	s.vars.setEnv(name, value)
	return s.stack.Apply(edit.SetEnv(name, value))
}

func (s *stage) label(c *instructions.LabelCommand) error {
	line := "LABEL"
	var edits []edit.Edit
	for _, v := range c.Labels {
		line += " " + v.String()
		edits = append(edits, edit.SetLabel(v.Key, v.Value))
	}
	return s.set(line, edits...)
}

func (s *stage) expose(c *instructions.ExposeCommand) error {
	var all []string
	lex := s.lex()
	for _, p := range c.Ports {
		if err := bounded(p, s.vars); err != nil {
			return err
		}
		words, err := lex.ProcessWords(p, s.vars)
		if err != nil {
			return bare(err)
		}
		for _, w := range words {
			list, odd, err := ports(w)
			if err != nil {
				return err
			}
			s.lintPort(c, w, odd)
			if all = append(all, list...); len(all) > 1<<16 {
				return oci.Errorf(oci.ErrInvalid, "EXPOSE of more than %d ports", 1<<16)
			}
		}
	}
	return s.set(fmt.Sprintf("EXPOSE %v", all), members(edit.ExposedPorts, all))
}

func (s *stage) volumes(c *instructions.VolumeCommand) error {
	for _, v := range c.Volumes {
		if v == "" {
			return oci.Errorf(oci.ErrInvalid, "VOLUME of an empty path")
		}
	}
	return s.set(fmt.Sprintf("VOLUME %v", c.Volumes), members(edit.Volumes, c.Volumes))
}

// members puts keys into one of the objects that are used as sets. Many of them
// are put there at once.
func members(set string, keys []string) edit.Edit {
	return func(i *edit.Image) error {
		have := map[string]json.RawMessage{}
		if raw := i.Get("config", set); raw != nil && json.Unmarshal(raw, &have) != nil {
			return oci.Errorf(oci.ErrInvalid, "the base has %s that are no object", set)
		}
		if have == nil {
			have = map[string]json.RawMessage{}
		}
		const few = 100
		for _, k := range keys {
			if _, ok := have[k]; ok {
				continue
			}
			have[k] = json.RawMessage("{}")
			if len(keys) < few {
				if err := i.Set(have[k], "config", set, k); err != nil {
					return err
				}
			}
		}
		if len(keys) < few {
			return nil
		}
		return i.Set(have, "config", set)
	}
}

// push appends a text to a list of the config.
func push(i *edit.Image, member, text string) error {
	var have []string
	if raw := i.Get("config", member); raw != nil {
		if err := json.Unmarshal(raw, &have); err != nil {
			return oci.Errorf(oci.ErrInvalid, "%s: %w", member, err)
		}
	}
	return i.Set(append(have, text), "config", member)
}

func (s *stage) stopSignal(c *instructions.StopSignalCommand) error {
	switch {
	case s.windows():
		return oci.Errorf(oci.ErrInvalid, "STOPSIGNAL %s: Windows has no signals", oci.Quote(c.Signal))
	case !isSignal(c.Signal):
		return oci.Errorf(oci.ErrInvalid, "STOPSIGNAL %s: that is no signal", oci.Quote(c.Signal))
	}
	return s.set(fmt.Sprintf("STOPSIGNAL %v", c.Signal), edit.SetStopSignal(c.Signal))
}
