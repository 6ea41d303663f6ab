// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

// editFlags are those of all commands that change images.
type editFlags struct {
	dray.EditOptions
	both   dray.Side
	dryRun bool
	format *formatFlag
}

// addEditFlags adds them. what is the argument that is replaced without -t; ""
// if there is none.
func addEditFlags(f *pflag.FlagSet, o *editFlags, what string) {
	help := "write the result to `REF` (several allowed)"
	if what != "" {
		help += "; without it " + what + " is replaced"
	}
	f.StringArrayVarP(&o.Targets, "tag", "t", nil, help)
	f.StringVar(&o.MediaTypes, "media-types", "", "give the result the media types of a `FAMILY`: oci or docker")
	f.BoolVar(&o.NoClobber, "no-clobber", false, "leave a tag alone that exists with other content")
	f.IntVarP(&o.Jobs, "jobs", "j", 0, "`N` blobs at a time from or to a host (default 16)")
	dryRun := "n"
	if f.ShorthandLookup(dryRun) != nil { // of squash: the number of layers
		dryRun = ""
	}
	f.BoolVarP(&o.dryRun, "dry-run", dryRun, false, "print what would be done, with bytes, and write nothing")
	sideFlags(f, &o.both, "", "the registries")
	o.format = addFormat(f)
}

// addPlatforms adds the flag for commands that change images of an index one by
// one.
func addPlatforms(f *pflag.FlagSet, o *editFlags) {
	f.Var(platformsFlag{&o.Platforms}, "platform", "change only the images of these platforms; the others stay in the index as they are")
}

// edit works out an edit, and writes it or says what it would be. extra is what
// a command reports beside the plan, for --format and, as text, before a dry run.
func (a *app) edit(c *cobra.Command, o *editFlags, work func() (*dray.Edited, error), extra func() (text []string, value any)) error {
	if o.Jobs < 0 {
		return usage(c, fmt.Errorf("--jobs %d: want 1 or more", o.Jobs))
	}
	o.From, o.To = o.both, o.both
	show := a.showProgress(&o.Options)
	defer show.finish(nil)
	e, err := work()
	if err != nil {
		return err
	}
	for _, n := range e.Notes {
		a.note("%s", n)
	}
	var text []string
	var value any
	if extra != nil {
		text, value = extra()
	} else if len(e.Changes) > 0 {
		value = changeReport{e.Changes}
		if o.dryRun {
			text = changeLines(e.Changes)
		}
	}
	result := func() any { return editOutcome{e.Was, e.Root, value, outcome(e.Plan, nil)} }
	if o.dryRun {
		if !o.format.text() {
			return o.format.print(a.Out, editOutcome{e.Was, e.Root, value, outcome(e.Plan, e.Steps)})
		}
		for _, line := range text {
			if _, err := fmt.Fprintln(a.Out, printable(line)); err != nil {
				return err
			}
		}
		return a.printPlan(e.Plan, o.format)
	}
	for _, line := range text {
		a.note("%s", line)
	}
	if !o.format.text() { // a template that does not fit shows before anything is done
		if err := o.format.print(io.Discard, result()); err != nil {
			return err
		}
	}
	show.start(e.Plan)
	err = e.Run(c.Context())
	show.finish(err)
	if err != nil {
		return err
	}
	if !o.format.text() {
		return o.format.print(a.Out, result())
	}
	return a.editResults(e)
}

// editResults prints REPOSITORY@DIGEST of each target, each once.
func (a *app) editResults(e *dray.Edited) error {
	kept, told := 0, map[string]bool{}
	for _, i := range e.Images {
		for _, n := range i.Notes {
			a.note("%s: %s", i.To, n)
		}
		if i.Kept {
			kept++
			continue
		}
		line := resultLine(i.To, i.Digest)
		if told[line] {
			continue
		}
		told[line] = true
		if _, err := fmt.Fprintln(a.Out, line); err != nil {
			return err
		}
	}
	if kept > 0 {
		return oci.Errorf(oci.ErrExists, "%s exists with other content, and --no-clobber says to keep it", e.Images[0].To)
	}
	return nil
}

// An editOutcome is what --format json shows of an edit.
type editOutcome struct {
	Was    oci.Descriptor `json:"was"`
	Root   oci.Descriptor `json:"root"`
	Report any            `json:"report,omitempty"`
	Plan   any            `json:"plan"`
}
