// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

// buildJobs builds, and writes the results or says what that would be.
func (a *app) buildJobs(c *cobra.Command, o *buildFlags, jobs []dray.BuildJob) error {
	if o.edit.Jobs < 0 {
		return usage(c, fmt.Errorf("--jobs %d: want 1 or more", o.edit.Jobs))
	}
	o.EditOptions = o.edit.EditOptions
	o.From, o.To = o.edit.both, o.edit.both
	tell, packed := a.showWork()
	defer packed()
	o.Packs = func(name string, n int) { tell(name, 0, n) }
	show := a.showProgress(&o.EditOptions.Options)
	defer show.finish(nil)
	b, err := a.client.Build(c.Context(), jobs, o.BuildOptions)
	packed()
	if err != nil {
		return err
	}
	for _, n := range b.Notes {
		a.note("%s", n)
	}
	if o.edit.dryRun {
		if !o.edit.format.text() {
			return o.edit.format.print(a.Out, buildOutcome{b.Builds, outcome(b.Plan, b.Steps)})
		}
		return a.printPlan(b.Plan, o.edit.format)
	}
	if !o.edit.format.text() { // a template that does not fit shows before anything is done
		if err := o.edit.format.print(io.Discard, buildOutcome{b.Builds, outcome(b.Plan, nil)}); err != nil {
			return err
		}
	}
	show.start(b.Plan)
	err = b.Run(c.Context())
	show.finish(err)
	if err != nil {
		return err
	}
	if !o.edit.format.text() {
		return o.edit.format.print(a.Out, buildOutcome{b.Builds, outcome(b.Plan, nil)})
	}
	return a.buildResults(b)
}

// buildResults prints REPOSITORY@DIGEST of the first target of each build, or the
// digest of one that has none.
func (a *app) buildResults(b *dray.Built) error {
	kept := ""
	next := 0
	for _, i := range b.Builds {
		line := string(i.Root.Digest)
		for n := range i.Targets {
			to := b.Images[next]
			next++
			if to.Kept {
				kept = to.To
			}
			if n == 0 {
				line = resultLine(to.To, to.Digest)
			}
		}
		if len(i.Targets) == 0 {
			a.note("%s is written nowhere: give it a name with -t", i.Name)
		}
		if _, err := fmt.Fprintln(a.Out, line); err != nil {
			return err
		}
	}
	if kept != "" {
		return oci.Errorf(oci.ErrExists, "%s exists with other content, and --no-clobber says to keep it", kept)
	}
	return nil
}

// A buildOutcome is what --format json shows of builds.
type buildOutcome struct {
	Builds []dray.BuiltImage `json:"builds"`
	Plan   any               `json:"plan"`
}
