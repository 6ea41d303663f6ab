// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ofGroup is the annotation of a flag that says with which others help shows it.
const ofGroup = "dray-group"

// Groups of the flags of builds, beside the kinds.
const (
	ofAll    = ""
	ofConfig = "config"
	ofKind   = "kind"
)

// group says of flags that are in no group yet which one they are in.
func group(f *pflag.FlagSet, name string) {
	f.VisitAll(func(fl *pflag.Flag) {
		if _, ok := fl.Annotations[ofGroup]; !ok {
			if fl.Annotations == nil {
				fl.Annotations = map[string][]string{}
			}
			fl.Annotations[ofGroup] = []string{name}
		}
	})
}

// buildUsage prints how a command is used that has the flags of builds: those of
// its own kind and those of all kinds at length, and of the others the names.
func (a *app) buildUsage(c *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n", c.UseLine())
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s [command]\n", c.CommandPath())
	}
	fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	if c.HasAvailableSubCommands() {
		fmt.Fprintln(&b, "\nAvailable Commands:")
		for _, sub := range c.Commands() {
			fmt.Fprintf(&b, "  %-11s %s\n", sub.Name(), sub.Short)
		}
	}
	all := map[string]*pflag.FlagSet{}
	c.LocalFlags().VisitAll(func(fl *pflag.Flag) {
		name := ofAll
		if v := fl.Annotations[ofGroup]; len(v) > 0 {
			name = v[0]
		}
		if all[name] == nil {
			all[name] = pflag.NewFlagSet("", pflag.ContinueOnError)
		}
		all[name].AddFlag(fl)
	})
	if own := all[c.Name()]; own != nil {
		own.VisitAll(func(fl *pflag.Flag) { fl.Usage = strings.TrimPrefix(fl.Usage, c.Name()+": ") })
		fmt.Fprintf(&b, "\nFlags of %s:\n%s", c.CommandPath(), own.FlagUsages())
	}
	fmt.Fprintf(&b, "\nFlags:\n%s", all[ofAll].FlagUsages())
	fmt.Fprintf(&b, "\nFlags that change the config and the annotations (as those of dray mutate --help):\n%s", names(all[ofConfig]))
	if all[c.Name()] == nil {
		fmt.Fprintln(&b, "\nFlags of one kind, which are taken here too (as those of dray build KIND --help):")
		for _, f := range a.frontends() {
			own := pflag.NewFlagSet("", pflag.ContinueOnError)
			f.add(own)
			fmt.Fprintf(&b, "  %s:\n%s", nameOf(f), names(own))
		}
	}
	fmt.Fprintf(&b, "\nGlobal Flags:\n%s", c.InheritedFlags().FlagUsages())
	_, err := fmt.Fprint(c.OutOrStderr(), b.String())
	return err
}

// names are the flags of a set without what they do, in lines.
func names(f *pflag.FlagSet) string {
	const width = 88
	var b strings.Builder
	line := "     "
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.Hidden {
			return
		}
		text := "--" + fl.Name
		if fl.Shorthand != "" {
			text = "-" + fl.Shorthand + " " + text
		}
		if len(line)+len(text)+2 > width {
			b.WriteString(line + "\n")
			line = "     "
		}
		line += " " + text + ","
	})
	b.WriteString(strings.TrimSuffix(line, ",") + "\n")
	return b.String()
}
