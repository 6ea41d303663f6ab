// SPDX-License-Identifier: Apache-2.0

// Package golang builds images of Go programs, as ko does.
//
// [ReadConfig] reads the file that ko reads, [Find] asks the go command which
// programs there are, [New] makes a builder of the image of one of them, or of
// several.
package golang

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Options say how programs are built. The zero value builds as `go build` does in
// the process's directory, without cgo unless the environment asks for it, and
// without paths of the machine.
type Options struct {
	Dir string // where the go command runs and relative paths begin; "": the process's directory
	Go  string // the go command; "": go
	// Env is added to the environment of the process, in which commands run.
	Env []string
	// Jobs is how many programs are compiled at the same time; 0: as many as there
	// are cores.
	Jobs int
	// Config is what the user keeps beside the programs.
	Config Config
	// Platforms are built if neither the user nor Config says any; none: linux/amd64,
	// or the only one of the base.
	Platforms []oci.Platform

	Flags   []string // of go build, templates; nil: those of Config
	Ldflags []string // joined with spaces, templates; nil: those of Config
	// Untold says that Flags and Ldflags are written down nowhere: the description of
	// the build does not repeat what may be secret, or a path of the machine.
	Untold bool
	// Capabilities are those of the programs' files on Linux, as text for setcap, or
	// names; nil: those of Config.
	Capabilities []string
	// Plain leaves out optimizations.
	Plain bool
	// Debug puts the debugger dlv into the image, which starts the program then. It
	// means Plain.
	Debug bool
	// Files are put into the image beside the programs.
	Files []File
	// Date is what templates say that it is; zero: now.
	Date time.Time
	// DataTime is what the files of kodata say; zero: 1970.
	DataTime time.Time
	// Stderr gets what the go command says when it fails, as it is; nil: nobody does.
	Stderr io.Writer
	// Compiling, if given, is called when go build begins for a program and platform,
	// and what it returns when that has ended. Several goroutines call it.
	Compiling func(what string) (end func())
}

// A File is a file or directory that is put into an image.
type File struct {
	From  string // relative to Options.Dir
	To    string // as input.Dir has it
	Rules layer.CreateOptions
}

// New makes a builder of an image of programs that Find has found. The first is
// what the image starts. ErrInvalid if two have the same name, or if Options
// cannot be right.
func New(programs []*Program, o Options) (build.Builder, error) {
	if len(programs) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "no programs to build")
	}
	o.Plain = o.Plain || o.Debug
	b := &builder{o: o, programs: programs}
	named := map[string]string{}
	for _, p := range programs {
		key := strings.ToLower(p.Name) // for Windows
		if other, ok := named[key]; ok {
			return nil, oci.Errorf(oci.ErrInvalid, "two programs of the image would be %s: %s and %s", path.Join(appDir, p.Name), other, p.ImportPath)
		}
		named[key] = p.ImportPath
		x := &program{Program: p, o: &b.o, made: map[string]*made{}}
		var err error
		if x.caps, err = x.capabilities(); err != nil {
			return nil, oci.Wrap("", p.ImportPath, err)
		}
		b.made = append(b.made, x)
	}
	for _, f := range o.Files {
		b.files = append(b.files, input.Dir(join(o.Dir, f.From), f.To, f.Rules))
	}
	return b, nil
}

type builder struct {
	o        Options
	programs []*Program
	made     []*program     // as they are compiled
	files    []*input.Input // shared by all targets, so that each is read once
	data     *input.Input   // of kodata; nil: none
}

// Name implements build.Builder.
func (b *builder) Name() string { return b.programs[0].ImportPath }

// Targets implements build.Builder.
func (b *builder) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	if err := b.readData(); err != nil {
		return nil, err
	}
	d := build.Default{From: b.o.Config.base(b.programs[0].ImportPath), Platforms: b.o.Config.Platforms}
	if d.From == "" {
		d.From = build.Static
	}
	if len(d.Platforms) == 0 {
		d.Platforms = b.o.Platforms
	}
	if b.o.Config.AllPlatforms && len(want.Platforms) == 0 {
		want.All = true
	}
	if len(d.Platforms) == 0 {
		d.Platforms = []oci.Platform{{OS: "linux", Architecture: "amd64"}}
	}
	targets, err := e.Targets(ctx, want, d)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if _, err := variables(t.Platform); err != nil {
			return nil, err
		}
	}
	if len(want.Platforms)+len(b.o.Config.Platforms) == 0 && !want.All { // nobody has chosen
		err = b.noteOthers(ctx, e, targets)
	}
	return targets, err
}

// noteOthers says which platforms of the bases are not built because nobody
// asked for them.
func (b *builder) noteOthers(ctx context.Context, e *build.Engine, targets []build.Target) error {
	list, err := e.Bases(ctx, targets[0].Base.Name)
	if err != nil || len(list) <= len(targets) || slices.ContainsFunc(targets, func(t build.Target) bool { return t.Base.Name != targets[0].Base.Name }) {
		return err
	}
	var others, built []string
	for _, x := range list {
		name := oci.FormatPlatform(x.Platform)
		if slices.ContainsFunc(targets, func(t build.Target) bool { return t.Base.Image.Digest == x.Image.Digest }) {
			built = append(built, name)
		} else {
			others = append(others, name)
		}
	}
	e.Note("built for %s alone; the base has %s too (--platform)", strings.Join(built, ", "), strings.Join(others, ", "))
	return nil
}

// Build implements build.Builder. The base is read while the programs are
// compiled.
func (b *builder) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	out := make([]*made, len(b.made))
	var dlv *made
	var s *build.Stack
	err := oci.Parallel(ctx, len(b.made)+2, func(ctx context.Context, n int) (err error) {
		switch {
		case n < len(b.made):
			out[n], err = b.made[n].build(ctx, e, t.Platform)
		case n == len(b.made):
			s, err = e.Stack(ctx, t.Base)
		case b.o.Debug:
			dlv, err = b.debugger(ctx, t.Platform)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if dlv != nil {
		out = append(out, dlv)
	}
	return s, b.fill(ctx, s, out, dlv)
}

// fill puts everything on the stack: what changes least is the lowest.
func (b *builder) fill(ctx context.Context, s *build.Stack, made []*made, dlv *made) error {
	inputs := slices.Clone(b.files)
	if b.data != nil {
		inputs = append(inputs, b.data)
	}
	for _, in := range inputs {
		if _, err := s.Add(ctx, in, build.AddOptions{}); err != nil {
			return err
		}
	}
	for _, m := range made { // --file may have brought what loads it
		if err := m.checkLoader(ctx, s); err != nil {
			return err
		}
		if _, err := s.Add(ctx, m.input, build.AddOptions{}); err != nil {
			return err
		}
		s.Components = append(s.Components, m.components(s.Platform().OS == "windows")...)
		s.Materials = append(s.Materials, m.materials()...)
	}
	dedupe(s)
	return s.Apply(changes(s, made[0].name, dlv, b.data != nil)...)
}
