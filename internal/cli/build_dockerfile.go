// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/oci"
)

// dockerfileFront builds what a Dockerfile says.
type dockerfileFront struct {
	a        *app
	file     string
	target   string
	args     []string
	contexts []string
	check    bool
}

func (*dockerfileFront) words() (use, short, long, example string) {
	return "dockerfile [DIR]", "Build what a Dockerfile says that runs nothing", `Build what a Dockerfile says, with BuildKit's meaning of all instructions but
RUN: where the stages that are needed run something, nothing is pulled and
nothing built, and the error names all such lines. Stages that are not needed are
not looked at.

DIR is the directory that COPY takes files from, without what .dockerignore
leaves out; - is a tar of it, or a Dockerfile without one, on stdin. It can also
be a repository of git: https://host/repo.git#branch:directory.

Layers of bases are not read, except those that COPY --from takes files from, or
where a link could be in the way. --from REF takes the place of the last stage's
base. Without --platform, the image is for the platform of this machine.`,
		`  dray build dockerfile . -t registry.example/app:1 --platform linux/amd64,linux/arm64
  dray build dockerfile -f web.Dockerfile --target site --build-arg VERSION=3 . -t oci:site:3
  dray build dockerfile --check .`
}

func (x *dockerfileFront) add(f *pflag.FlagSet) {
	f.StringVarP(&x.file, "file", "f", "", "read the Dockerfile `FILE`, - is stdin (default DIR/Dockerfile, or DIR/Containerfile)")
	f.StringVar(&x.target, "target", "", "build this `STAGE` instead of the last")
	f.StringArrayVar(&x.args, "build-arg", nil, "give an ARG a value: `NAME=VALUE`, or NAME for that of the environment (several allowed)")
	f.StringArrayVar(&x.contexts, "build-context", nil, "let `NAME=` a directory, docker-image://REF, oci:DIR[:TAG], a repository of git or the https address of a tar take the place of a stage or image (several allowed)")
	f.BoolVar(&x.check, "check", false, "say what is wrong or doubtful in the Dockerfile, and build nothing; the exit code is 0, or with check=error=true in the file 2")
}

func (x *dockerfileFront) takes(path string) bool {
	name := strings.ToLower(filepath.Base(path))
	for _, usual := range []string{"Dockerfile", "Containerfile"} {
		if isFile(filepath.Join(path, usual)) {
			return true
		}
		if word := strings.ToLower(usual); isFile(path) && (strings.HasPrefix(name, word) || strings.HasSuffix(name, "."+word)) {
			return true
		}
	}
	return false
}

// elsewhere reports whether a context is on stdin or at an address.
func elsewhere(path string) bool {
	return path == "-" || strings.Contains(path, "://") && place.IsRemote(path)
}

// asked reports whether there is a flag that only builds of Dockerfiles have.
func (x *dockerfileFront) asked(g *given) (yes bool) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	x.add(own)
	own.VisitAll(func(fl *pflag.Flag) { yes = yes || g.has(fl.Name) })
	return yes
}

func (x *dockerfileFront) jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error) {
	if len(args) > 1 {
		return nil, usage(c, fmt.Errorf("%d directories: a Dockerfile has one", len(args)))
	}
	d, err := x.options(c, o, firstOf(args))
	if err != nil {
		return nil, err
	}
	if x.check {
		return nil, x.report(c, o, d)
	}
	j, err := o.job(dockerfile.New(d), o.edit.Targets...)
	return []dray.BuildJob{j}, err
}

// report checks the Dockerfile and prints what was found.
func (x *dockerfileFront) report(c *cobra.Command, o *buildFlags, d dockerfile.Options) error {
	check := &checker{Builder: dockerfile.New(d), o: d}
	j, err := o.job(check)
	if err != nil {
		return err
	}
	o.EditOptions = o.edit.EditOptions
	if _, err := x.a.client.Build(c.Context(), []dray.BuildJob{j}, o.BuildOptions); !errors.Is(err, errChecked) {
		return err
	}
	for _, note := range check.notes {
		x.a.note("%s", note)
	}
	if r := check.report; !o.edit.format.text() {
		err = o.edit.format.print(x.a.Out, r)
	} else {
		for _, w := range r.Warnings {
			fmt.Fprintln(x.a.Out, printable(strings.TrimSuffix(fmt.Sprintf("%s:%d: %s: %s (%s)", r.File, w.Line, w.Rule, w.Text, w.URL), " ()")))
		}
		for _, run := range r.Runs {
			fmt.Fprintln(x.a.Out, printable(fmt.Sprintf("%s:%d: %s in %s: dray runs nothing in images", r.File, run.Line, run.Text, run.Stage)))
		}
	}
	return errors.Join(check.err, err)
}

// errChecked ends a build that only checks.
var errChecked = errors.New("checked")

// A checker checks where others begin to build.
type checker struct {
	build.Builder
	o      dockerfile.Options
	report *dockerfile.Report
	notes  []string
	err    error
}

// Targets implements build.Builder.
func (x *checker) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	x.report, x.err = dockerfile.Check(ctx, e, x.o, want)
	x.notes = e.Notes()
	return nil, errChecked
}

// options are what the flags say.
func (x *dockerfileFront) options(c *cobra.Command, o *buildFlags, path string) (d dockerfile.Options, err error) {
	d = dockerfile.Options{File: x.file, Target: x.target, Host: oci.Platform{OS: "linux", Architecture: runtime.GOARCH}}
	if d.Args, err = x.buildArgs(); err == nil {
		d.Contexts, err = x.buildContexts()
	}
	if err == nil && x.file == "-" && path == "-" {
		err = errors.New("stdin is one thing: the context or the Dockerfile")
	}
	if err == nil && o.watch && (x.file == "-" || path == "-" || place.IsRemote(path)) {
		err = errors.New("--watch: what is read from stdin or an address does not change")
	}
	if err != nil {
		return d, usage(c, err)
	}
	if x.file == "-" {
		if d.Text, err = dockerfile.ReadText(x.a.In); err != nil {
			return d, err
		}
		d.File = "Dockerfile"
	}
	if err := x.context(c.Context(), &d, path); err != nil {
		return d, err
	}
	return d, x.epoch(o, d.Args["SOURCE_DATE_EPOCH"])
}

// context is what COPY takes files from: a directory, or what makes one.
func (x *dockerfileFront) context(ctx context.Context, d *dockerfile.Options, path string) (err error) {
	d.Context = path
	elsewhere := path == "-" || place.IsRemote(path)
	for _, at := range d.Contexts {
		elsewhere = elsewhere || place.IsRemote(at)
	}
	if elsewhere {
		if d.Scratch, err = x.a.scratch(); err != nil {
			return err
		}
	}
	switch {
	case path == "-":
		d.Name, d.Foreign, d.Context = "stdin", true, filepath.Join(d.Scratch, "stdin")
		text, err := dockerfile.Unpack(ctx, x.a.In, d.Context, x.a.env.TempDir)
		if err != nil {
			return oci.Wrap("", "stdin", err)
		}
		if text != nil {
			d.Context, d.Text, d.File = "", text, "Dockerfile"
		} else if !isFile(d.File) {
			d.File = strings.TrimPrefix(d.File, "/") // in the context
		}
	case place.IsRemote(path):
		d.Name = place.Discreet(path)
	case isFile(path) && x.file == "": // a Dockerfile of another name
		d.Context, d.File = filepath.Dir(path), path
	default:
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = oci.Errorf(oci.ErrInvalid, "%s is no directory", oci.Quote(path))
		}
		return err
	}
	return nil
}

// epoch takes the time that a build argument says, as BuildKit does; the
// variable of the environment comes first.
func (x *dockerfileFront) epoch(o *buildFlags, value string) error {
	if value == "" || !o.Created.IsZero() {
		return nil
	}
	at, err := sourceDate(value)
	if err == nil {
		o.Created = at
		if o.Time.IsZero() {
			o.Time = at
		}
	}
	return err
}

func (x *dockerfileFront) buildArgs() (map[string]string, error) {
	args := map[string]string{}
	for _, s := range x.args {
		name, value, given := strings.Cut(s, "=")
		if name == "" {
			return nil, fmt.Errorf("--build-arg %s: want NAME=VALUE, or NAME", oci.Quote(s))
		}
		if !given {
			if value = x.a.Getenv(name); value == "" {
				continue
			}
		}
		args[name] = value
	}
	return args, nil
}

func (x *dockerfileFront) buildContexts() (map[string]string, error) {
	contexts := map[string]string{}
	for _, s := range x.contexts {
		name, value, _ := strings.Cut(s, "=")
		if name == "" || value == "" {
			return nil, fmt.Errorf("--build-context %s: want NAME=DIR, or NAME=docker-image://REF and so on", oci.Quote(s))
		}
		if n := strings.ToLower(name); n == "scratch" || n == "context" {
			return nil, errors.New("--build-context " + name + ": that name has a meaning of its own")
		}
		contexts[name] = value
	}
	return contexts, nil
}
