// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
)

// A frontend knows the flags of one kind of application.
type frontend interface {
	// words are the name of the command, what it does in a line and at length, and
	// examples.
	words() (use, short, long, example string)
	// add adds the flags that only this kind has.
	add(f *pflag.FlagSet)
	// takes reports whether a path is of this kind.
	takes(path string) bool
	// jobs are what the arguments ask for.
	jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error)
}

// frontends are all kinds, in the order in which they are asked about a path.
func (a *app) frontends() []frontend {
	return []frontend{&filesFront{a: a}}
}

func (a *app) buildCommand() *cobra.Command {
	o := &buildFlags{}
	fronts := a.frontends()
	cmd := &cobra.Command{
		Use:   "build [CONTEXT...]",
		Short: "Build images without running anything in them",
		Long: `Build an image of an application: a Go program, a jar, a Dockerfile that runs
nothing, or plain files. What it is is seen from CONTEXT, or said as a word:
dray build go ./cmd/app.

Layers of the base are referred to and not downloaded. Nothing is pushed without
-t or --push. The same inputs give the same image.

Prints REPOSITORY@DIGEST, or without a name the digest.`,
		Example: `  dray build ./cmd/app -t registry.example/app:1
  dray build files ./public:/srv --from registry.example/httpd:2 -t oci:site:1`,
		Args: args(0, -1),
		RunE: func(c *cobra.Command, list []string) error {
			f, err := recognise(fronts, list)
			if err != nil {
				return usage(c, err)
			}
			return a.build(c, o, f, list)
		},
	}
	a.addBuildFlags(cmd.Flags(), o)
	for _, f := range fronts {
		f.add(cmd.Flags())
		cmd.AddCommand(a.buildOne(f))
	}
	return cmd
}

// buildOne is the command of one kind.
func (a *app) buildOne(f frontend) *cobra.Command {
	o := &buildFlags{}
	use, short, long, example := f.words()
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: args(0, -1)}
	cmd.RunE = func(c *cobra.Command, list []string) error { return a.build(c, o, f, list) }
	a.addBuildFlags(cmd.Flags(), o)
	f.add(cmd.Flags())
	return cmd
}
