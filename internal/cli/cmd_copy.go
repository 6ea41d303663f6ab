// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/convert"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
	"github.com/dray-tools/dray/transfer"
)

// copyFlags are the flags of copy.
type copyFlags struct {
	dray.CopyOptions
	both     dray.Side
	filter   dray.TagFilter
	allTags  bool
	fromFile string
	dryRun   bool
	format   *formatFlag
}

func (a *app) copyCommand() *cobra.Command {
	o := &copyFlags{}
	cmd := &cobra.Command{
		Use:     "copy FROM TO",
		Aliases: []string{"cp"},
		Short:   "Copy images, indexes and artifacts, byte for byte",
		Long: `Copy what FROM names to TO: an image, an index with all that is in it, or an
artifact. What is there already is not moved; what another repository of the
same registry has is mounted. A copy that was killed goes on where it was.

Prints REPOSITORY@DIGEST of each image.`,
		Example: `  dray copy --dry-run docker.io/library/busybox:1.36 registry.example/busybox:1.36
  dray copy --platform linux/amd64,linux/arm64 ghcr.io/a/b:1 registry.example/b:1
  dray copy --all-tags --semver '>=1.20' ghcr.io/a/b registry.example/b
  dray copy --referrers ghcr.io/a/b:1 oci:b.layout:1`,
		Args: args(0, 2),
		RunE: func(c *cobra.Command, list []string) error { return a.copy(c, list, o) },
	}
	f := cmd.Flags()
	commonCopyFlags(f, o)
	f.BoolVar(&o.allTags, "all-tags", false, "copy all tags of the repository FROM to the repository TO")
	f.StringSliceVar(&o.filter.Include, "include", nil, "with --all-tags: only tags that match `PATTERN`, as 1.* or /REGEXP/")
	f.StringSliceVar(&o.filter.Exclude, "exclude", nil, "with --all-tags: no tags that match `PATTERN`")
	f.StringVar(&o.filter.Semver, "semver", "", "with --all-tags: only versions in `RANGE`, as '>=1.20 <2'")
	f.StringVar(&o.fromFile, "from-file", "", "copy the pairs FROM TO of `FILE`, one a line; - for stdin")
	sideFlags(f, &o.both, "", "both registries")
	sideFlags(f, &o.From, "from-", "the registry of FROM")
	sideFlags(f, &o.To, "to-", "the registry of TO")
	o.format = addFormat(f)
	return cmd
}

// commonCopyFlags are those of all commands that copy.
func commonCopyFlags(f *pflag.FlagSet, o *copyFlags) {
	f.Var(platformsFlag{&o.Platforms}, "platform", "only these platforms of an index, as a smaller index, or for places without indexes as the image; check that a single image is one of them")
	f.BoolVar(&o.Referrers, "referrers", false, "bring along signatures, SBOMs and attestations")
	f.BoolVar(&o.Foreign, "foreign", false, "copy layers too that are meant to be fetched from their URLs")
	f.BoolVar(&o.NoClobber, "no-clobber", false, "leave tags alone that exist with other content")
	f.BoolVar(&o.KeepGoing, "keep-going", false, "when one image fails, copy the others")
	f.Var(packingFlag{&o.Packing}, "compress", "give layers this compression: gzip, zstd, none or estargz, with :LEVEL if wanted (gzip 1 to 9, zstd 1 to 22)")
	f.StringVar(&o.MediaTypes, "media-types", "", "give manifests and layers the media types of a `FAMILY`: oci or docker")
	f.IntVarP(&o.Jobs, "jobs", "j", 0, "`N` blobs at a time from or to a host (default 16)")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "print what would be done, with bytes, and write nothing")
}

func (a *app) copy(c *cobra.Command, list []string, o *copyFlags) error {
	pairs, err := a.pairs(c, list, o)
	if err != nil {
		return err
	}
	return a.copyPairs(c, pairs, o)
}

// copyPairs plans and runs what copy, pull and push have to do.
func (a *app) copyPairs(c *cobra.Command, pairs []dray.Pair, o *copyFlags) error {
	for _, s := range []*dray.Side{&o.From, &o.To} {
		s.PlainHTTP = s.PlainHTTP || o.both.PlainHTTP
		s.InsecureTLS = s.InsecureTLS || o.both.InsecureTLS
	}
	ctx := c.Context()
	if o.Jobs < 0 {
		return usage(c, fmt.Errorf("--jobs %d: want 1 or more", o.Jobs))
	}
	if err := a.checkStdout(pairs, o.format); err != nil && !o.dryRun {
		return usage(c, err)
	}
	o.NoWork = o.dryRun
	tell, packed := a.showPacking()
	defer packed()
	o.Packs = tell
	show := a.showProgress(&o.Options)
	defer show.finish(nil)
	plan, err := a.client.Plan(ctx, pairs, o.CopyOptions)
	packed()
	if errors.Is(err, convert.ErrNotRemembered) {
		err = hinted{err, "without --dry-run they are, and what comes of them is remembered"}
	}
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.printPlan(plan, o.format)
	}
	if !o.format.text() { // a template that does not fit shows before anything is done
		if err := o.format.print(io.Discard, outcome(plan, nil)); err != nil {
			return err
		}
	}
	show.start(plan)
	err = plan.Run(ctx)
	show.finish(err)
	return a.report(ctx, plan, o, err)
}

// checkStdout refuses to mix an archive with other output, and to write one to
// a terminal.
func (a *app) checkStdout(pairs []dray.Pair, f *formatFlag) error {
	for _, p := range pairs {
		r, err := ref.ParseAny(p.To)
		switch {
		case err != nil || r.Path != "-":
		case !f.text():
			return errors.New("--format would mix with the archive on stdout")
		case isTerminal(a.Out):
			return errors.New("stdout is a terminal: send the archive to a pipe or a file")
		}
	}
	return nil
}

// report prints what is at the destination now, and what became of the rest.
func (a *app) report(ctx context.Context, p *transfer.Plan, o *copyFlags, err error) error {
	if ctx.Err() != nil || err != nil && !o.KeepGoing {
		return err
	}
	kept := 0
	for _, i := range p.Images {
		for _, n := range i.Notes {
			a.note("%s: %s", i.From, n)
		}
		switch {
		case i.Err != nil:
			continue
		case i.Kept:
			if kept++; len(p.Images) == 1 {
				continue
			}
			a.note("kept %s: it exists with other content", i.To)
			continue
		case i.New:
			a.note("%s is a new index of %s; %s is %s", i.To, strings.Join(i.Platforms, ", "), i.From, i.Source)
		}
		if !o.format.text() {
			continue
		}
		if r, err := ref.ParseAny(i.To); err == nil && r.Path == "-" { // stdout has the archive
			a.note("%s", resultLine(i.To, i.Digest))
			continue
		}
		if _, err := fmt.Fprintln(a.Out, resultLine(i.To, i.Digest)); err != nil {
			return err
		}
	}
	if !o.format.text() {
		if err := o.format.print(a.Out, outcome(p, nil)); err != nil {
			return err
		}
	}
	if err == nil && kept > 0 && !o.allTags && o.fromFile == "" {
		return oci.Errorf(oci.ErrExists, "%s exists with other content, and --no-clobber says to keep it", p.Images[0].To)
	}
	return err
}

// resultLine is REPOSITORY@DIGEST, which nests in other commands.
func resultLine(name string, d oci.Digest) string {
	r, err := ref.ParseAny(name)
	switch {
	case err != nil:
		return name + "@" + string(d)
	case r.Scheme == ref.Daemon, r.Scheme == ref.Podman: // which know no such digests
		return r.String()
	}
	return r.WithDigest(d).String()
}
