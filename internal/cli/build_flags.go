// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// buildFlags are those that all kinds of builds share.
type buildFlags struct {
	dray.BuildOptions
	edit      editFlags
	config    mutateFlags
	attest    attestFlags
	static    staticFlags
	from      []string
	platforms []string
	push      bool
	output    []string
	metadata  string
	watch     bool
	watched   []string // files beside what the builders read
	writes    []string // files that a kind writes, beside its targets
	unpushed  bool     // there are names that --push would write to
	pushOff   bool     // --push=false was said
	described bool     // the build is one of dray.yaml

	result func(n int, i dray.BuiltImage) string // what is printed of build n; nil: REPOSITORY@DIGEST
	after  func(b *dray.Built) error             // is called when all is written; nil: nothing is
	use    func(b *dray.Built) error             // takes the results after that, instead of stdout; nil: they are printed
}

func (a *app) addBuildFlags(f *pflag.FlagSet, o *buildFlags) {
	f.StringArrayVar(&o.from, "from", nil, "build on `REF`, scratch, or scratch+certs (several allowed)")
	f.StringSliceVar(&o.platforms, "platform", nil, "build for `os/arch[/variant][:os.version]`, or all that the base has (several allowed)")
	f.BoolVar(&o.push, "push", false, "write the result where the kind of build says, without -t")
	f.StringArrayVarP(&o.output, "output", "o", nil, "write the result to a `STORE` too, as docker-daemon:NAME, docker-archive:FILE or oci:DIR:TAG (several allowed)")
	f.Var(packingFlag{&o.Packing}, "compress", "pack new layers with gzip, zstd, none or estargz, with :LEVEL if wanted")
	f.BoolVar(&o.Deep, "deep", false, "read the bases for links below every name")
	f.BoolVar(&o.NoCache, "no-cache", false, "use nothing that runs before this one have kept")
	f.StringVar(&o.metadata, "metadata-file", "", "write what was built to `FILE`, as JSON")
	f.BoolVar(&o.watch, "watch", false, "build again each time something has changed, until interrupted")
	o.attest.add(f)
	o.static.add(f)
	addEditFlags(f, &o.edit, "")
	group(f, ofAll)
	o.config.add(f, a.now)
	group(f, ofConfig)
	f.Lookup("time").Usage = "make later times in the new layers be `TIME` (default SOURCE_DATE_EPOCH)"
	for _, name := range []string{"history", "amend-history", "remove-history"} { // lines of the base
		f.Lookup(name).Hidden = true
	}
}

// want is what the flags ask builders for.
func (o *buildFlags) want() (w build.Want, err error) {
	w.From = o.from
	for _, s := range o.platforms {
		if s == "all" {
			w.All = true
			continue
		}
		p, err := oci.ParsePlatform(s)
		if err != nil {
			return w, err
		}
		w.Platforms = append(w.Platforms, p)
	}
	if w.All && len(w.Platforms) > 0 {
		return w, errors.New("--platform all goes with no other platform")
	}
	return w, nil
}

// job is a build with what the flags say of all of them.
func (o *buildFlags) job(b build.Builder, targets ...string) (j dray.BuildJob, err error) {
	j = dray.BuildJob{Builder: b, Targets: append(targets, o.output...)}
	j.Changes, j.Index = o.config.images, o.config.index
	j.Want, err = o.want()
	return j, err
}

// finish makes options of flags that need a second look.
func (o *buildFlags) finish(sourceEpoch string) (err error) {
	if _, err = o.config.options(""); err != nil {
		return err
	}
	epoch, err := sourceDate(sourceEpoch)
	if err != nil {
		return err
	}
	if o.Time = o.config.time; o.Time.IsZero() {
		o.Time = epoch
	}
	o.NoUpload = o.edit.dryRun
	if o.Created = o.config.made; o.Created.IsZero() {
		o.Created = epoch
	}
	o.AttachAgain = o.attest.again
	if o.Attestors, err = o.attest.attestors(o.Created); err == nil {
		o.Static, err = o.static.base()
	}
	for _, s := range o.output {
		err = errors.Join(err, checkOutput(s))
	}
	return err
}

// build builds what the arguments of the command of a kind ask for.
func (a *app) build(c *cobra.Command, o *buildFlags, f frontend, list []string) error {
	if err := o.finish(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return usage(c, err)
	}
	return a.buildAsked(c, o, func() ([]dray.BuildJob, error) { return f.jobs(c, o, list) })
}
