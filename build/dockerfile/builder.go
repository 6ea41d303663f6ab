// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"sync"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// Options say what is built. Files are read when Targets is called, so that a
// Builder can be run again after a change.
type Options struct {
	// Context is the directory that COPY and ADD take files from; or an address: of a
	// repository of git, as https://host/repo.git#branch:directory, or of a tar.
	Context string
	// File is the Dockerfile; "": Dockerfile in the context, or where there is none
	// Containerfile. In a context from elsewhere it is a path.
	File string
	// Text is the Dockerfile itself, if it is in no file; File is its name then.
	Text []byte
	// Name is what the result is called; "": as the context is.
	Name string
	// Target is the stage that is built, by name or number; "": the last.
	Target string
	// Args are the values of arguments that were given for this build.
	Args map[string]string
	// Contexts take the place of stages and images of that name, or are what --from
	// names: a directory or an address like Context, docker-image://REF, or
	// oci-layout://DIR[:TAG|@DIGEST], which is also written oci:DIR….
	Contexts map[string]string
	// Foreign says that the files of the context are not the user's: the Dockerfile is
	// not read where a link leads out of it.
	Foreign bool
	// Scratch is a directory for contexts from elsewhere, that has to be there until
	// the result is written; "": there can be none.
	Scratch string
	// Host is the platform of this machine: of BUILDPLATFORM, and what is built where
	// nothing else is said.
	Host oci.Platform
	// KeepTimes keeps the times of the context's files.
	KeepTimes bool
}

// New builds what a Dockerfile says. Its instructions have BuildKit's meaning,
// except that RUN is not supported: where the stages that are needed have one,
// Targets is ErrUnsupported and names all of them, before anything of a layer is
// read. Errors name file and line.
func New(o Options) build.Builder { return &builder{o: o} }

type builder struct {
	o Options

	mu   sync.Mutex
	plan *plan // of the last Targets
}

// Name implements build.Builder.
func (b *builder) Name() string {
	switch {
	case b.o.Name != "":
		return b.o.Name
	case b.o.Context != "":
		return b.o.Context
	}
	return "Dockerfile"
}

// Targets implements build.Builder. All is evaluated for each target, without
// its layers.
func (b *builder) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	p, err := b.o.load(ctx, e)
	if err != nil {
		return nil, err
	}
	p.swap = len(want.From) > 0
	if err := p.refuseOwn(); err != nil {
		return nil, err
	}
	targets, err := p.targets(ctx, want)
	if err != nil {
		return nil, err
	}
	lint, err := p.lint()
	if err != nil {
		return nil, err
	}
	all := make([]*evaluation, len(targets))
	var runs []*command
	for n, t := range targets {
		if all[n], err = p.evaluation(t, lint.Linter); err != nil {
			return nil, err
		}
		found, err := all[n].reach(ctx)
		if err != nil {
			return nil, err
		}
		runs = append(runs, found...)
	}
	if err := refuse(runs); err != nil {
		return nil, err
	}
	for _, x := range all {
		x.dry = true
		x.lintFile()
		if _, err := x.run(ctx); err != nil {
			return nil, err
		}
	}
	if err := lint.failed(); err != nil {
		return nil, err
	}
	switch n := len(lint.found); {
	case n == 1:
		e.Note("%s: 1 warning; --check says it", p.name)
	case n > 1:
		e.Note("%s: %d warnings; --check says them", p.name, n)
	}
	p.noteArgs()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan = p
	return targets, nil
}

// Build implements build.Builder.
func (b *builder) Build(ctx context.Context, _ *build.Engine, t build.Target) (*build.Stack, error) {
	b.mu.Lock()
	p := b.plan
	b.mu.Unlock()
	x, err := p.evaluation(t, nil)
	if err != nil {
		return nil, err
	}
	if _, err := x.reach(ctx); err != nil {
		return nil, err
	}
	s, err := x.run(ctx)
	if err == nil {
		x.inputs(s)
	}
	return s, err
}
