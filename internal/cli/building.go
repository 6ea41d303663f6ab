// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/transfer"
)

// buildAsked builds what is asked for, with --watch again and again. ask makes
// the builds anew each time.
func (a *app) buildAsked(c *cobra.Command, o *buildFlags, ask func() ([]dray.BuildJob, error)) error {
	if o.edit.Jobs < 0 {
		return usage(c, fmt.Errorf("--jobs %d: want 1 or more", o.edit.Jobs))
	}
	o.pushOff = c.Flags().Changed("push") && !o.push
	if o.metadata != "" { // before anything is done
		if _, err := os.Stat(filepath.Dir(o.metadata)); err != nil {
			return fmt.Errorf("--metadata-file: %w", err)
		}
		if isDir(o.metadata) {
			return usage(c, fmt.Errorf("--metadata-file %s is a directory", o.metadata))
		}
	}
	if o.watch {
		return a.buildWatched(c, o, ask)
	}
	jobs, err := ask()
	if err != nil || jobs == nil { // nil: it has been done, as by --check
		return err
	}
	return a.buildJobs(c, o, jobs)
}

// buildJobs builds, and writes the results or says what that would be.
func (a *app) buildJobs(c *cobra.Command, o *buildFlags, jobs []dray.BuildJob) error {
	if o.push && slices.ContainsFunc(jobs, func(j dray.BuildJob) bool { return len(j.Targets) == 0 }) {
		return usage(c, errors.New("--push: there is no name to push to: give one with -t"))
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
		return engineHint(jobs, err)
	}
	for _, n := range append(b.Notes, o.attest.notes(b)...) {
		a.note("%s", n)
	}
	if err := o.static.check(); err != nil {
		return usage(c, err)
	}
	if o.edit.dryRun {
		if !o.edit.format.text() {
			return o.edit.format.print(a.Out, buildOutcome{b.Builds, outcome(b.Plan, b.Steps)})
		}
		a.printBuilds(b)
		if len(b.Images) == 0 {
			a.note("nothing would be written: %s", o.howToWrite())
			return nil
		}
		return a.printPlan(b.Plan, o.edit.format)
	}
	if !o.edit.format.text() { // a template that does not fit shows before anything is done
		if err := o.edit.format.print(io.Discard, buildOutcome{b.Builds, outcome(b.Plan, nil)}); err != nil {
			return err
		}
	}
	show.start(b.Plan)
	err = engineHint(jobs, b.Run(c.Context()))
	show.finish(err)
	if err == nil {
		err = o.attest.save(b)
	}
	if err == nil && o.metadata != "" {
		err = saveMetadata(o.metadata, b)
	}
	if err == nil && o.after != nil {
		err = o.after(b)
	}
	if err != nil {
		return err
	}
	if o.use != nil {
		return o.use(b)
	}
	if !o.edit.format.text() {
		return errors.Join(o.edit.format.print(a.Out, buildOutcome{b.Builds, outcome(b.Plan, nil)}), keptError(b))
	}
	return a.buildResults(b, o)
}

// printBuilds says what a dry run would make.
func (a *app) printBuilds(b *dray.Built) {
	for _, i := range b.Builds {
		var platforms []string
		for _, d := range i.Images {
			platforms = append(platforms, oci.FormatPlatform(*d.Platform))
		}
		line := fmt.Sprintf("%s: %s for %s", i.Name, short(string(i.Root.Digest)), strings.Join(platforms, ", "))
		if i.Base != "" {
			line += " on " + i.Base
		}
		fmt.Fprintln(a.Out, printable(line))
		for _, d := range i.Documents {
			fmt.Fprintf(a.Out, "  %s of %s (%s)\n", printable(d.Name), short(string(d.Subject.Digest)), size(int64(len(d.Data))))
		}
	}
}

// buildResults prints REPOSITORY@DIGEST of the first target of each build that was
// written, or the digest of one that has none.
func (a *app) buildResults(b *dray.Built, o *buildFlags) error {
	images := b.Images
	for at, i := range b.Builds {
		line := string(i.Root.Digest)
		mine := images[:len(i.Targets)]
		images = images[len(i.Targets):]
		for _, to := range mine {
			for _, n := range to.Notes {
				a.note("%s: %s", to.To, n)
			}
		}
		if n := slices.IndexFunc(mine, func(to *transfer.Image) bool { return !to.Kept }); n >= 0 {
			line = resultLine(mine[n].To, mine[n].Digest)
		} else if len(mine) > 0 {
			continue
		} else if !o.pushOff {
			a.note("%s is written nowhere: %s", i.Name, o.howToWrite())
		}
		if o.result != nil && (!o.pushOff || len(mine) == 0) { // else it is where it was written
			line = o.result(at, i)
		}
		if _, err := fmt.Fprintln(a.Out, line); err != nil {
			return err
		}
	}
	return keptError(b)
}

// howToWrite says how a build gets to be written.
func (o *buildFlags) howToWrite() string {
	switch {
	case o.pushOff:
		return "--push=false says so"
	case o.unpushed:
		return "--push writes it where " + spec.Name + " says"
	}
	return "give it a name with -t"
}

// keptError is an error if a tag was left alone.
func keptError(b *dray.Built) error {
	for _, to := range b.Images {
		if to.Kept {
			return oci.Errorf(oci.ErrExists, "%s exists with other content, and --no-clobber says to keep it", to.To)
		}
	}
	return nil
}

// A buildOutcome is what --format json shows of builds.
type buildOutcome struct {
	Builds []dray.BuiltImage `json:"builds"`
	Plan   any               `json:"plan"`
}
