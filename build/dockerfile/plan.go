// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/oci"
)

// A plan is what all evaluations of a Dockerfile share.
type plan struct {
	o       Options
	e       *build.Engine
	name    string // of the Dockerfile, for errors
	text    []byte
	ignore  string // the file with patterns; "": none
	context place.Source
	set     *place.Set
	other   map[string]*other // contexts by the names that they have
	swap    bool              // the base of the target is the user's, not the file's

	mu     sync.Mutex
	used   map[string]bool // arguments that were given and are declared
	stacks map[oci.Digest]*loading
}

// A loading is an image that is begun with, read once.
type loading struct {
	sync.Mutex
	stack *build.Stack
}

// load reads the Dockerfile and what belongs to it.
func (o Options) load(e *build.Engine) (*plan, error) {
	p := &plan{o: o, e: e, name: o.File, text: o.Text, set: place.NewSet(place.Options{KeepTimes: o.KeepTimes}),
		used: map[string]bool{}, stacks: map[oci.Digest]*loading{}}
	if p.text == nil {
		if p.name == "" {
			p.name = filepath.Join(o.Context, "Dockerfile")
		}
		var err error
		if p.text, err = readBounded(p.name); err != nil {
			return nil, err
		}
	}
	if p.name == "" {
		p.name = "Dockerfile"
	}
	if o.Context != "" {
		patterns, err := p.patterns()
		if err != nil {
			return nil, err
		}
		p.context = place.Context(o.Context, patterns)
	}
	var err error
	p.other, err = o.others()
	return p, err
}

// readBounded reads a file that a Dockerfile could be.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = oci.Errorf(oci.ErrInvalid, "%s: more than %d bytes", name, maxText)
	}
	return text, err
}

// patterns are what is left out of the context: those of a file beside the
// Dockerfile that is called like it, or else those of .dockerignore.
func (p *plan) patterns() ([]string, error) {
	names := []string{filepath.Join(p.o.Context, ".dockerignore")}
	if p.o.Text == nil {
		names = append([]string{p.name + ".dockerignore"}, names...)
	}
	for _, name := range names {
		patterns, err := readIgnore(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		p.ignore = name
		return patterns, err
	}
	return nil, nil
}

func readIgnore(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: %w", name, err)
	}
	return patterns, nil
}

// evaluation begins to evaluate the Dockerfile for a target.
func (p *plan) evaluation(t build.Target, lint *linter.Linter) (*evaluation, error) {
	s, err := parse(p.name, p.text, lint)
	if err != nil {
		return nil, err
	}
	x := &evaluation{plan: p, script: s, platform: t.Platform, base: t.Base, lint: lint, images: map[string]*stage{}}
	if x.global, err = x.globals(p.o.Args); err != nil {
		return nil, err
	}
	for n := range s.stages {
		x.all = append(x.all, &stage{evaluation: x, Stage: s.stages[n], index: n})
	}
	if x.target, err = x.find(p.o.Target); err != nil {
		return nil, err
	}
	x.root, err = x.rootOf(x.target)
	return x, err
}

// stack is a stack on a base, whose manifest and config are read once.
func (p *plan) stack(ctx context.Context, b *build.Base) (*build.Stack, error) {
	if b.Source == nil {
		return p.e.Stack(ctx, b)
	}
	p.mu.Lock()
	l := p.stacks[b.Image.Digest]
	if l == nil {
		l = &loading{}
		p.stacks[b.Image.Digest] = l
	}
	p.mu.Unlock()
	l.Lock()
	defer l.Unlock()
	if l.stack == nil {
		s, err := p.e.Stack(ctx, b)
		if err != nil {
			return nil, err
		}
		l.stack = s
	}
	c, err := l.stack.Clone()
	if err == nil {
		c.Base = b
	}
	return c, err
}

// use notes that an argument that was given is declared.
func (p *plan) use(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[name] = true
}

// noteArgs says which arguments nothing has asked for.
func (p *plan) noteArgs() {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.o.Args)) {
		if !p.used[name] && !forBuilders(name) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		p.e.Note("%s: nothing declares the build argument %s", p.name, strings.Join(names, ", "))
	}
}
