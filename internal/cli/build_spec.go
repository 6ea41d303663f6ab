// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/oci"
)

// A specFile is a dray.yaml and the builds of it that are wanted.
type specFile struct {
	path  string
	names []string // none: all
}

// findSpec finds the dray.yaml that arguments mean: that of the directory that
// the command runs in if there are none or they name its builds, else the
// first itself or that of the directory which it is. nil if they mean no such
// file.
func (a *app) findSpec(list []string) (*specFile, error) {
	if len(list) == 0 {
		if isFile(spec.Name) {
			return &specFile{path: spec.Name}, nil
		}
		return nil, nil
	}
	first := list[0]
	switch ext := filepath.Ext(first); {
	case isFile(filepath.Join(first, spec.Name)):
		return &specFile{filepath.Join(first, spec.Name), list[1:]}, nil
	case (ext == ".yaml" || ext == ".yml") && isFile(first):
		return &specFile{first, list[1:]}, nil
	case strings.ContainsAny(first, `/\:`) || strings.HasPrefix(first, ".") || !isFile(spec.Name):
		return nil, nil
	}
	s := &specFile{spec.Name, list}
	f, err := a.readBuilds(s.path)
	_, missing := os.Stat(first)
	switch {
	case err != nil && missing != nil:
		return nil, err
	case err != nil:
		return nil, nil
	}
	if _, err = f.Choose(list...); err == nil || missing != nil {
		return s, err
	}
	return nil, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (a *app) readBuilds(path string) (*spec.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, spec.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return spec.Parse(path, raw, spec.Options{Getenv: a.Getenv})
}

// buildSpec builds what dray.yaml describes.
func (a *app) buildSpec(c *cobra.Command, o *buildFlags, g *given, s *specFile) error {
	if err := o.finish(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return usage(c, err)
	}
	o.watched, o.Attestors, o.unpushed = []string{s.path}, nil, !o.push // each build has its own attestors
	return a.buildAsked(c, o, func() ([]dray.BuildJob, error) { return a.specJobs(c, g, s) })
}

// specJobs are the builds of a file. Flags of the command line come before what
// the file says; keys with values of both count.
func (a *app) specJobs(c *cobra.Command, g *given, s *specFile) ([]dray.BuildJob, error) {
	f, err := a.readBuilds(s.path)
	if err != nil {
		return nil, err
	}
	builds, err := f.Choose(s.names...)
	if err != nil {
		return nil, err
	}
	if len(builds) > 1 && g.has("tag") {
		return nil, usage(c, fmt.Errorf("-t is one name for %d builds: choose one of them, or say tags in %s", len(builds), s.path))
	}
	if err := a.fits(c, g, builds); err != nil {
		return nil, usage(c, err)
	}
	var all []dray.BuildJob
	for _, b := range builds {
		jobs, err := a.specJob(c, g, b)
		if err != nil {
			return nil, err
		}
		all = append(all, jobs...)
	}
	return all, nil
}

// fits checks that each flag means something for one of the builds at least.
func (a *app) fits(c *cobra.Command, g *given, builds []spec.Build) error {
	var kinds []*kind
	for _, f := range a.frontends() {
		if slices.ContainsFunc(builds, func(b spec.Build) bool { return b.Kind == nameOf(f) }) {
			kinds = append(kinds, a.kind(f))
		}
	}
	for _, v := range g.list {
		if !slices.ContainsFunc(kinds, func(k *kind) bool { return k.Flags().Lookup(v.name) != nil }) {
			return fmt.Errorf("--%s means nothing for these builds", v.name)
		}
	}
	return nil
}

// specJob makes a command of a build: with the flags that the file sets, then
// those of the command line.
func (a *app) specJob(c *cobra.Command, g *given, b spec.Build) ([]dray.BuildJob, error) {
	n := slices.IndexFunc(a.frontends(), func(f frontend) bool { return nameOf(f) == b.Kind })
	if n < 0 {
		return nil, oci.Errorf(oci.ErrUnsupported, "%s: builds of the kind %s cannot be made here", b.At, b.Kind)
	}
	k := a.kind(a.frontends()[n])
	k.o.described = true
	if err := k.settings(g, b); err != nil {
		return nil, err
	}
	own := &given{}
	for _, v := range g.list {
		if k.Flags().Lookup(v.name) != nil {
			own.list = append(own.list, v)
		}
	}
	if err := k.take(c, own); err != nil {
		return nil, usage(c, err)
	}
	if err := k.o.finish(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: %w", b.At, err)
	}
	if k.o.push && len(k.o.edit.Targets)+len(k.o.output) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: the build %s has no tags to be pushed to", b.At, b.Name)
	}
	made := k.o.Created
	jobs, err := k.jobs(k.Command, k.o, b.Args)
	switch {
	case err != nil:
		if u := (usageError{}); errors.As(err, &u) || errors.Is(err, fs.ErrNotExist) {
			return nil, oci.Errorf(oci.ErrInvalid, "%s: %w", b.At, err)
		}
		return nil, oci.Wrap("", b.At, err)
	case len(jobs) != 1:
		return nil, oci.Errorf(oci.ErrInvalid, "%s: it makes %d images: want one a build", b.At, len(jobs))
	case !made.Equal(k.o.Created):
		return nil, oci.Errorf(oci.ErrInvalid, "%s: SOURCE_DATE_EPOCH is of all builds: set it in the environment", b.At)
	}
	jobs[0].Builder = located{jobs[0].Builder, b.At}
	jobs[0].Name, jobs[0].Attestors, jobs[0].Deep = b.Name, k.o.Attestors, k.o.Deep
	if !g.has("ca-certs") && len(k.o.static.certs) > 0 {
		jobs[0].Static = k.o.Static
	}
	return jobs, nil
}

// settings sets the flags that a build of dray.yaml sets, if the command line does
// not; of keys with values both count. Where it goes counts only with --push.
func (k *kind) settings(g *given, b spec.Build) error {
	if k.Flags().Lookup("together") != nil { // a build is an image
		if err := k.Flags().Set("together", "true"); err != nil {
			return err
		}
	}
	for _, s := range b.Settings {
		if s.Key.Form != spec.Pairs && g.has(s.Key.Flag) || s.Key.Flag == "tag" && !g.on("push") {
			continue
		}
		err := k.Flags().Set(s.Key.Flag, s.Value)
		if err == nil && s.Key.Flag == "platform" {
			_, err = k.o.want()
		}
		if err != nil {
			if why := errors.Unwrap(err); why != nil { // without the flag
				err = why
			}
			return oci.Errorf(oci.ErrInvalid, "%s: %s: %w", s.At, s.Key.Name, err)
		}
	}
	return nil
}
