// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

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
	from      []string
	platforms []string
	push      bool
	output    []string
}

func (a *app) addBuildFlags(f *pflag.FlagSet, o *buildFlags) {
	f.StringArrayVar(&o.from, "from", nil, "build on `REF`, scratch, or scratch+certs (several allowed)")
	f.StringSliceVar(&o.platforms, "platform", nil, "build for `os/arch[/variant][:os.version]`, or all that the base has (several allowed)")
	f.BoolVar(&o.push, "push", false, "write the result where the kind of build says, without -t")
	f.StringArrayVarP(&o.output, "output", "o", nil, "write the result to a `STORE` too, as oci:DIR:TAG or docker-archive:FILE (several allowed)")
	f.Var(packingFlag{&o.Packing}, "compress", "pack new layers with gzip, zstd, none or estargz, with :LEVEL if wanted")
	f.BoolVar(&o.Deep, "deep", false, "read the bases for links below every name")
	addEditFlags(f, &o.edit, "")
	o.config.add(f, a.now)
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
	o.Created, o.NoUpload = epoch, o.edit.dryRun
	return nil
}

// recognise finds the kind of what is to be built.
func recognise(fronts []frontend, list []string) (frontend, error) {
	path := "."
	if len(list) > 0 {
		path = list[0]
	}
	for _, f := range fronts {
		if f.takes(path) {
			return f, nil
		}
	}
	var names []string
	for _, f := range fronts {
		use, _, _, _ := f.words()
		names = append(names, strings.Fields(use)[0])
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: cannot see what it is: say one of dray build %s", oci.Quote(path), strings.Join(names, ", "))
}

// build builds what the arguments ask for.
func (a *app) build(c *cobra.Command, o *buildFlags, f frontend, list []string) error {
	if err := o.finish(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return usage(c, err)
	}
	jobs, err := f.jobs(c, o, list)
	if err != nil {
		return err
	}
	return a.buildJobs(c, o, jobs)
}
