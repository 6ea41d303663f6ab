// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A kind is the command of one kind of application, with flags of its own.
type kind struct {
	*cobra.Command
	frontend
	o *buildFlags
}

func (a *app) kind(f frontend) *kind {
	use, short, long, example := f.words()
	k := &kind{&cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: args(0, -1)}, f, &buildFlags{}}
	k.RunE = func(c *cobra.Command, list []string) error { return a.build(c, k.o, f, list) }
	a.addBuildFlags(k.Flags(), k.o)
	f.add(k.Flags())
	group(k.Flags(), k.Name())
	return k
}

// take makes the command one that was called with the flags of another, its
// parent. What it has no flag for is an error.
func (k *kind) take(parent *cobra.Command, g *given) error {
	k.SetContext(parent.Context())
	parent.AddCommand(k.Command) // for its name in errors
	for _, v := range g.list {
		if k.Flags().Lookup(v.name) == nil {
			return fmt.Errorf("--%s means nothing for dray build %s", v.name, k.Name())
		}
		if err := k.Flags().Set(v.name, v.value); err != nil {
			return err
		}
	}
	return nil
}

// given are flags of the command line in their order, to be set again on the
// command of what is built.
type given struct{ list []givenFlag }

type givenFlag struct{ name, value string }

// record makes a set of flags note what it is given.
func (g *given) record(f *pflag.FlagSet) {
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.DefValue == "[]" { // help knows the types of lists only as they were
			fl.DefValue = ""
		}
		fl.Value = &recorded{fl.Value, fl.Name, g}
	})
}

func (g *given) has(name string) bool {
	return slices.ContainsFunc(g.list, func(v givenFlag) bool { return v.name == name })
}

// on reports whether a switch is on.
func (g *given) on(name string) (on bool) {
	for _, v := range g.list {
		if v.name == name {
			on, _ = strconv.ParseBool(v.value)
		}
	}
	return on
}

type recorded struct {
	pflag.Value
	name string
	g    *given
}

// Set implements pflag.Value.
func (r *recorded) Set(s string) error {
	r.g.list = append(r.g.list, givenFlag{r.name, s})
	return r.Value.Set(s)
}

// addOthers adds flags that are not there yet: several kinds may have one of a
// name.
func addOthers(to, from *pflag.FlagSet) {
	from.VisitAll(func(fl *pflag.Flag) {
		if to.Lookup(fl.Name) != nil {
			return
		}
		if fl.Shorthand != "" && to.ShorthandLookup(fl.Shorthand) != nil {
			fl.Shorthand = ""
		}
		to.AddFlag(fl)
	})
}
