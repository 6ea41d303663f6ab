// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/oci"
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
	// jobs are what the arguments ask for. With --watch it is called again each time
	// something has changed.
	jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error)
}

// frontends are all kinds, in the order in which they are asked about a path.
func (a *app) frontends() []frontend {
	return []frontend{&dockerfileFront{a: a}, &jarFront{a: a}, &filesFront{a: a}, &goFront{a: a}}
}

func (a *app) buildCommand() *cobra.Command {
	o, g := &buildFlags{}, &given{}
	schema := false
	cmd := &cobra.Command{
		Use:   "build [CONTEXT...]",
		Short: "Build images without running anything in them",
		Long: `Build an image of an application: a Go program, a jar, a Dockerfile that runs
nothing, or plain files. CONTEXT shows which it is, or a word does: dray build go
./cmd/app. A directory with a dray.yaml means the builds that it describes, or
those of them that are named after it; so does no CONTEXT. Else a directory with a
Dockerfile is built as that, a .jar or .war as one, a compiled program as files,
and a directory or import path of a Go program as that.

Layers of the base are referred to and not downloaded. Nothing is pushed without
-t or --push. The same inputs give the same image.

Prints REPOSITORY@DIGEST of each image, or without a name the digest.`,
		Example: `  dray build ./cmd/app -t registry.example/app:1
  dray build files ./public:/srv --from registry.example/httpd:2 -t oci:site:1
  dray build --push            # all builds of dray.yaml
  dray build --watch web -t registry.example/web:dev`,
		Args: args(0, -1), SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, list []string) error {
			if schema {
				_, err := a.Out.Write(spec.Schema())
				return err
			}
			return a.buildAny(c, o, g, list)
		},
	}
	a.addBuildFlags(cmd.Flags(), o)
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of dray.yaml")
	for _, f := range a.frontends() {
		own := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.add(own)
		group(own, ofKind)
		addOthers(cmd.Flags(), own)
	}
	g.record(cmd.Flags())
	cmd.SetFlagErrorFunc(otherFlag)
	cmd.SetUsageFunc(a.buildUsage)
	for _, f := range a.frontends() {
		cmd.AddCommand(a.kind(f).Command)
	}
	return cmd
}

// buildAny finds out what is to be built.
func (a *app) buildAny(c *cobra.Command, o *buildFlags, g *given, list []string) error {
	s, err := a.findSpec(list)
	switch {
	case err != nil:
		return err
	case s != nil:
		return a.buildSpec(c, o, g, s)
	}
	f, err := recognise(a.frontends(), list)
	if d := (&dockerfileFront{a: a}); err != nil && (elsewhere(firstOf(list)) || isDir(firstOf(list)) && d.asked(g)) {
		f, err = d, nil
	}
	if err == nil {
		err = oneKind(a.frontends(), f, list)
	}
	if err != nil {
		if near := c.SuggestionsFor(firstOf(list)); len(near) > 0 && errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; is it dray build %s?", err, strings.Join(near, " or "))
		} else if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return usage(c, err)
	}
	k := a.kind(f)
	if err := k.take(c, g); err != nil {
		return usage(c, err)
	}
	a.note("%s is built as %s", firstOf(list), k.Name())
	return a.build(k.Command, k.o, f, list)
}

// recognise finds the kind of what is to be built.
func recognise(fronts []frontend, list []string) (frontend, error) {
	path := firstOf(list)
	for _, f := range fronts {
		if f.takes(path) {
			return f, nil
		}
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w, nor the import path of a program", oci.Quote(path), fs.ErrNotExist)
	} else if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range fronts {
		names = append(names, nameOf(f))
	}
	kinds := strings.Join(names, ", ")
	if below := programsBelow(path); len(below) > 0 {
		kinds += "; programs of Go are in " + strings.Join(below, ", ")
	}
	if path == "." {
		return nil, fmt.Errorf("there is no %s here, nor what else could be built: say what is, with one of dray build %s", spec.Name, kinds)
	}
	return nil, fmt.Errorf("%s: cannot see what it is: say one of dray build %s", oci.Quote(path), kinds)
}

// firstOf is the first argument, or the directory that the command runs in.
func firstOf(list []string) string {
	if len(list) > 0 {
		return list[0]
	}
	return "."
}

func nameOf(f frontend) string {
	use, _, _, _ := f.words()
	return strings.Fields(use)[0]
}
