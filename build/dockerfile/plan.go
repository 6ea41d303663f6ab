// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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
	o        Options
	e        *build.Engine
	name     string // of the Dockerfile, for errors
	path     string // of it; "": it is in no file
	text     []byte
	ignore   string // the file with patterns of what is left out; "": none
	ignored  []string
	dir      string // of the context; "": there is none
	context  place.Source
	set      *place.Set
	other    map[string]*other // contexts by the names that they have
	checking bool              // nothing will be built
	swap     bool              // the base of the target is the user's, not the file's

	materials []build.Material // contexts from elsewhere

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
func (o Options) load(ctx context.Context, e *build.Engine) (*plan, error) {
	p := &plan{o: o, e: e, name: o.File, text: o.Text, set: place.NewSet(place.Options{KeepTimes: o.KeepTimes}),
		used: map[string]bool{}, stacks: map[oci.Digest]*loading{}}
	dir, text, err := p.directory(ctx, o.Context)
	if err != nil {
		return nil, err
	}
	if p.dir = dir; text != nil {
		p.dir, p.text, p.name = "", text, ""
	}
	if p.text == nil {
		if p.path = p.name; p.name == "" || p.foreign() && !filepath.IsAbs(p.name) {
			p.name = cmp.Or(p.name, p.usualName())
			p.path = filepath.Join(p.dir, p.name)
		}
		if !p.foreign() {
			p.name = p.path
		}
	}
	p.name = cmp.Or(p.name, "Dockerfile")
	if p.path != "" {
		if p.text, err = p.read(); err != nil {
			return nil, err
		}
	}
	if p.dir != "" {
		if err := p.readIgnore(); err != nil {
			return nil, err
		}
		p.context = place.Context(p.dir, p.ignored)
	}
	return p, p.others(ctx)
}

// usualName is that of the Dockerfile if nobody says it: Containerfile, as Buildah
// and Podman know it, where there is no Dockerfile.
func (p *plan) usualName() string {
	for _, name := range []string{"Dockerfile", "Containerfile"} {
		f, err := p.open(filepath.Join(p.dir, name))
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
	return "Dockerfile"
}

// foreign reports whether the files of the context are not the user's.
func (p *plan) foreign() bool { return p.o.Foreign || p.dir != p.o.Context }

// read reads the Dockerfile.
func (p *plan) read() ([]byte, error) {
	f, err := p.open(p.path)
	if err == nil {
		defer f.Close()
		var text []byte
		if text, err = ReadText(f); err == nil {
			return text, nil
		}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && p.foreign() { // not where it is just now
		err = e.Err
	} else if ok {
		return nil, err
	}
	return nil, oci.Wrap("", p.name, err)
}

// open opens a file beside the Dockerfile. In a context that is not the user's,
// links do not lead out of it.
func (p *plan) open(name string) (*os.File, error) {
	if rel, err := filepath.Rel(p.dir, name); err == nil && filepath.IsLocal(rel) && p.foreign() {
		return os.OpenInRoot(p.dir, rel)
	}
	return os.Open(name)
}

// readIgnore finds what is left out of the context: what a file beside the
// Dockerfile says that is called like it, or else .dockerignore. For a Containerfile
// either may be called .containerignore, which comes first.
func (p *plan) readIgnore() error {
	ends := []string{".dockerignore"}
	if strings.Contains(strings.ToLower(filepath.Base(p.path)), "containerfile") {
		ends = []string{".containerignore", ".dockerignore"}
	}
	var names []string
	for _, end := range ends {
		if p.path != "" {
			names = append(names, p.path+end)
		}
	}
	for _, end := range ends {
		names = append(names, filepath.Join(p.dir, end))
	}
	for _, name := range names {
		f, err := p.open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.ignore = name
		p.ignored, err = patterns(f)
		return oci.Wrap("", name, err)
	}
	return nil
}

// patterns reads what is left out, and closes the file.
func patterns(f *os.File) ([]string, error) {
	defer f.Close()
	text, err := ReadText(f)
	if err != nil {
		return nil, err
	}
	list, err := ignorefile.ReadAll(bytes.NewReader(text))
	if err != nil {
		return nil, oci.Errorf(oci.ErrInvalid, "%w", err)
	}
	return list, nil
}

// evaluation begins to evaluate the Dockerfile for a target.
func (p *plan) evaluation(t build.Target, lint *linter.Linter) (*evaluation, error) {
	s, err := parse(p.name, p.text, lint)
	if err != nil {
		return nil, err
	}
	x := &evaluation{plan: p, script: s, platform: t.Platform, base: t.Base, lint: lint, known: map[string]bool{}, images: map[string]*stage{}}
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
