// SPDX-License-Identifier: Apache-2.0

// Package jar builds images of Java archives.
package jar

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// How an archive is put into an image.
const (
	Exploded = "exploded" // its files, so that a change of the application changes small layers only
	Packaged = "packaged" // as it is
	// Thin is for Spring Boot: libraries beside a small jar that names them, without
	// Spring Boot's loader, which starts faster and can use class data sharing.
	Thin = "thin"
)

// Options say what becomes of an archive.
type Options struct {
	Mode string // Exploded, Packaged or Thin; "": Exploded, unless that would change what the program does
	// MainClass is what is started; "": what the manifest says, or the only class that can be.
	MainClass string
	JVMFlags  []string // for java, one word each
	// AppRoot is the directory of the image that all is put into; "": /app, and of a
	// WAR that of Jetty's image. A WAR on another base needs one.
	AppRoot string
}

// New builds images of a jar, an executable archive of Spring Boot or a WAR.
// Without a base that is chosen by the version of Java that its classes need.
//
// Targets is ErrInvalid for archives that are broken or want to be put outside of
// their directory, for libraries of its Class-Path that are missing, and if
// nothing can be started.
func New(path string, o Options) build.Builder { return &builder{path: path, o: o} }

type builder struct {
	path string
	o    Options

	mu   sync.Mutex
	plan *plan // of the last Targets
}

// Name implements build.Builder.
func (b *builder) Name() string { return b.path }

// Targets implements build.Builder.
func (b *builder) Targets(ctx context.Context, e *build.Engine, want build.Want) ([]build.Target, error) {
	p, err := read(b.path, b.o)
	if _, named := errors.AsType[*fs.PathError](err); named {
		return nil, err
	} else if err != nil {
		return nil, oci.Wrap("", b.path, err)
	}
	d := build.Default{Linux: true}
	named := len(want.From) > 0
	switch {
	case p.kind == kindWAR:
		d.From, err = jettyBase, p.onServer(named)
	case !named:
		d.From, err = baseFor(p.java)
	}
	if err != nil {
		return nil, oci.Wrap("", b.path, err)
	}
	if !named {
		e.Note("%s is put on %s: it needs Java %d", b.path, d.From, p.java)
	}
	for _, n := range p.notes {
		e.Note("%s: %s", b.path, n)
	}
	if err := p.makeInputs(filepath.Base(b.path), e); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.plan = p
	b.mu.Unlock()
	return e.Targets(ctx, want, d)
}

// Build implements build.Builder.
func (b *builder) Build(ctx context.Context, e *build.Engine, t build.Target) (*build.Stack, error) {
	b.mu.Lock()
	p := b.plan
	b.mu.Unlock()
	s, err := e.Stack(ctx, t.Base)
	if err != nil {
		return nil, err
	}
	for _, part := range p.parts {
		if _, err := s.Add(ctx, part.in, build.AddOptions{}); err != nil {
			return nil, err
		}
	}
	s.Components = append(s.Components, p.components...)
	p.compare(e, s)
	if p.entrypoint == nil {
		return s, nil
	}
	words := p.entrypoint(style{windows: s.Platform().OS == "windows"})
	return s, s.Apply(edit.SetEntrypoint(words...), edit.Unset(edit.Cmd))
}

// Watch implements build.Watcher.
func (b *builder) Watch(context.Context) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.plan == nil {
		return []string{b.path}, nil
	}
	return append([]string{b.path}, b.plan.beside...), nil
}

// Describe implements build.Describer.
func (b *builder) Describe(context.Context) (build.About, error) {
	all := map[string]any{"file": filepath.Base(b.path)}
	for name, value := range map[string]string{"mode": b.o.Mode, "mainClass": b.o.MainClass, "appRoot": b.o.AppRoot} {
		if value != "" {
			all[name] = value
		}
	}
	if len(b.o.JVMFlags) > 0 {
		all["jvmFlags"] = b.o.JVMFlags
	}
	return build.About{Type: "jar", Parameters: all}, nil
}
