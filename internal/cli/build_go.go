// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/golang"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// goFront builds Go programs.
type goFront struct {
	a        *app
	o        golang.Options
	names    koNames
	config   string
	together bool
	files    []string
	images   koImages
}

func (*goFront) words() (use, short, long, example string) {
	return "go [PATH...]", "Build images of Go programs", `Compile programs with the user's own go command, for all platforms at once, and
put each into an image of its own. PATH is an import path, a directory, or has
... in it: of those only the programs count. Without PATH it is the directory
that the command runs in.

A program becomes /ko-app/NAME, which the image starts. What is in a directory
kodata beside it goes to /var/run/ko, which KO_DATA_PATH names. Without --from
the base is what .ko.yaml says, or one with certificates, time zones and a
user, and nothing else. One platform is built unless there are more in
--platform or .ko.yaml: linux/amd64, or that of both GOOS and GOARCH (and GOARM).

Programs are compiled without cgo unless CGO_ENABLED=1, and with -trimpath. In a
repository the go command writes the revision into them; with
GOFLAGS=-buildvcs=false it does not, and the same source makes the same image
whatever was committed.

What ko reads is read: .ko.yaml, KO_DOCKER_REPO and the other variables KO_….
With KO_DOCKER_REPO an image is pushed to a name below that, unless there is
--push=false; a -t that is a plain word is then a tag there, and one that is a
whole reference comes instead of it.

Environment: KO_DOCKER_REPO, KO_CONFIG_PATH, KO_GO_PATH, KO_DATA_DATE_EPOCH,
KO_DEFAULTBASEIMAGE, KO_BASEIMAGEOVERRIDES, KO_DEFAULTPLATFORMS, KO_DEFAULTENV,
KO_DEFAULTFLAGS, KO_DEFAULTLDFLAGS, and those of the go command.`,
		`  dray build go ./cmd/app -t registry.example/app:1
  dray build go ./... --platform linux/amd64,linux/arm64 --push
  KO_DOCKER_REPO=registry.example/apps dray build go -B -t v1 ./cmd/app`
}

func (x *goFront) add(f *pflag.FlagSet) {
	f.StringVar(&x.config, "config", "", "go: read `FILE` instead of .ko.yaml, or that in a directory")
	f.BoolVar(&x.together, "together", false, "go: put all programs into one image, which starts the first")
	f.StringArrayVar(&x.o.Flags, "go-flag", nil, "go: a `FLAG` of go build, as -tags=netgo (several allowed)")
	f.StringArrayVar(&x.o.Ldflags, "ldflags", nil, "go: `FLAGS` for the linker (several allowed)")
	f.StringSliceVar(&x.o.Capabilities, "capability", nil, "go: a `CAPABILITY` that the programs' files have on Linux, as net_bind_service or cap_net_raw=ep (several allowed)")
	f.StringArrayVar(&x.files, "file", nil, "go: put `SRC:DEST[,chown=UID:GID][,chmod=MODE]` into the images too, as dray build files does (several allowed)")
	f.BoolVar(&x.o.Plain, "disable-optimizations", false, "go: compile for debugging")
	f.BoolVar(&x.o.Debug, "debug", false, "go: let the debugger dlv, which has to be on PATH, start the program and listen on port 40000")
	x.names.add(f)
	x.images.add(f)
}

// takes reports whether it is a directory with a program, or all directories
// below one, or looks like an import path.
func (x *goFront) takes(path string) bool {
	path = strings.TrimPrefix(path, "ko://")
	info, err := os.Stat(path)
	switch dir, all := strings.CutSuffix(path, "..."); {
	case all:
		return dir == "" || dir == "./" || strings.HasSuffix(dir, "/")
	case err == nil && info.IsDir():
		return hasMain(path)
	case err == nil:
		return false
	}
	host, rest, ok := strings.Cut(path, "/")
	return ok && rest != "" && !strings.ContainsAny(path, `\@ `) && strings.Contains(strings.Trim(host, "."), ".") && !strings.Contains(rest, ":")
}

// hasMain reports whether there is a file of package main in a directory.
func hasMain(dir string) bool {
	list, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(e os.DirEntry) bool {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || !isFile(filepath.Join(dir, name)) {
			return false
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.PackageClauseOnly)
		return err == nil && f.Name.Name == "main"
	})
}

// programsBelow are a few of the directories with programs in that of a module;
// none if it is that of no module.
func programsBelow(dir string) (found []string) {
	if !isFile(filepath.Join(dir, "go.mod")) {
		return nil
	}
	const most, depth = 3, 3
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what cannot be read is no help
		if err != nil || !e.IsDir() || path == dir {
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		switch name := e.Name(); {
		case strings.HasPrefix(name, "."), strings.HasPrefix(name, "_"), name == "vendor", name == "testdata", name == "node_modules", strings.Count(filepath.ToSlash(rel), "/") >= depth:
			return fs.SkipDir
		case !hasMain(path):
			return nil
		case len(found) == most:
			found = append(found, "…")
			return fs.SkipAll
		}
		if path = filepath.ToSlash(path); filepath.IsLocal(path) {
			path = "./" + path
		}
		found = append(found, path)
		return nil
	})
	return found
}

func (x *goFront) jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	n, err := x.names.options(x.a, c, o)
	if err != nil {
		return nil, usage(c, err)
	}
	opts, err := x.options(o)
	if err != nil {
		return nil, err
	}
	p := opts.Platforms[0]
	if want, err := o.want(); err != nil {
		return nil, usage(c, err)
	} else if all := slices.Concat(want.Platforms, opts.Config.Platforms); len(all) > 0 {
		p = all[0]
	}
	programs, err := golang.Find(c.Context(), args, p, opts)
	if err != nil {
		return nil, err
	}
	groups := [][]*golang.Program{programs}
	if !x.together {
		groups = slices.Collect(slices.Chunk(programs, 1))
	}
	if len(groups) > 1 && len(n.refs) > 0 {
		return nil, usage(c, errors.New("one name for several programs: set KO_DOCKER_REPO for names of their own, or put them into one image with --together"))
	}
	if err := n.apart(groups); err != nil {
		return nil, usage(c, err)
	}
	var jobs []dray.BuildJob
	for _, g := range groups {
		b, err := golang.New(g, opts)
		if err != nil {
			return nil, err
		}
		j, err := o.job(b, n.targets(g[0].ImportPath)...)
		if err != nil {
			return nil, usage(c, err)
		}
		j.Changes = slices.Concat(j.Changes, x.images.changes)
		j.Annotations = x.images.annotations
		jobs = append(jobs, j)
	}
	return jobs, n.hook(o, groups)
}

// options are those of the builder, with what the environment says.
func (x *goFront) options(o *buildFlags) (opts golang.Options, err error) {
	opts = x.o
	opts.Go, opts.Date, opts.Jobs = x.a.Getenv("KO_GO_PATH"), o.Created, o.edit.Jobs
	opts.Stderr, opts.Untold, opts.Compiling = &lines{a: x.a}, true, x.a.showCompiling
	path := x.config
	if path == "" {
		path = x.a.Getenv("KO_CONFIG_PATH")
	}
	if opts.Config, err = golang.ReadConfig(path, "", x.a.Getenv); err != nil {
		return opts, err
	}
	for _, n := range opts.Config.Notes {
		x.a.note("%s", n)
	}
	if opts.DataTime, err = sourceDate(x.a.Getenv("KO_DATA_DATE_EPOCH")); err != nil {
		return opts, usageError{err}
	}
	for _, s := range x.files {
		f, err := goFile(s)
		if err != nil {
			return opts, usageError{err}
		}
		opts.Files = append(opts.Files, f)
	}
	opts.Platforms, err = x.platforms(len(o.platforms) > 0 || len(opts.Config.Platforms) > 0 || opts.Config.AllPlatforms)
	return opts, err
}

// platforms are those that the environment means, as with ko. Where others are
// given they must not be there.
func (x *goFront) platforms(given bool) ([]oci.Platform, error) {
	if given {
		for _, name := range []string{"GOOS", "GOARCH", "GOARM"} {
			if v := x.a.Getenv(name); v != "" {
				return nil, usageError{oci.Errorf(oci.ErrInvalid, "%s=%s in the environment, and --platform or defaultPlatforms: only one of them can say what is built", name, v)}
			}
		}
	}
	goos, goarch := x.a.Getenv("GOOS"), x.a.Getenv("GOARCH")
	if goos == "" || goarch == "" {
		switch {
		case goos != "":
			x.a.note("GOOS=%s without GOARCH chooses no platform: set both, or say --platform %s/amd64", goos, goos)
		case goarch != "":
			x.a.note("GOARCH=%s without GOOS chooses no platform: set both, or say --platform linux/%s", goarch, goarch)
		}
		return []oci.Platform{{OS: "linux", Architecture: "amd64"}}, nil
	}
	p := oci.Platform{OS: goos, Architecture: goarch}
	if arm, _, _ := strings.Cut(x.a.Getenv("GOARM"), ","); goarch == "arm" && arm != "" {
		p.Variant = "v" + arm
	}
	return []oci.Platform{p}, nil
}

// goFile reads what --file says, with the rules of dray build files.
func goFile(s string) (f golang.File, err error) {
	p, err := (&filesFront{}).place(s)
	switch {
	case err != nil:
		return f, err
	case p.To == "":
		return f, oci.Errorf(oci.ErrInvalid, "--file %s: want SRC:DEST", oci.Quote(s))
	}
	f = golang.File{From: p.From, To: p.To, Rules: p.Rules}
	if asked := p.Rules.Mode.String(); !p.KeepModes && (asked == "" || !unicode.IsDigit(rune(asked[0]))) {
		f.Rules.Mode, err = layer.ParseMode(strings.TrimSuffix("u+rwX,go+rX,go-w,"+asked, ",")) // nobody's umask
	}
	return f, err
}

// lines writes whole lines above progress bars.
type lines struct{ a *app }

func (l *lines) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		l.a.line(string(bytes.TrimRight(line, "\r\n")))
	}
	return len(p), nil
}
