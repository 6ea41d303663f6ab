// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Options are what an engine works with.
type Options struct {
	// Open finds a base by its name, in a registry or elsewhere.
	Open  func(ctx context.Context, name string) (Opened, error)
	Maker *input.Maker // of layers
	// Outlines is what is known of the files of layers.
	Outlines *layer.Outlines
	// To takes large layers while they are packed; nil: nothing does.
	To oci.Sink
	// Static puts what the base Static has on a stack from scratch; nil: there is no
	// such base.
	Static func(ctx context.Context, s *Stack) error

	Deep    bool      // read bases also where no link is to be expected
	Docker  bool      // images from scratch get Docker's media types
	Created time.Time // of images and lines of history; zero: as the base
	Time    time.Time // the latest time that files may say; zero: times stay, or are 1970
	Limits  layer.Limits

	CacheDir string       // for what builders keep, each in a folder of its own; "": nothing is kept
	TempDir  string       // "": the system's
	HTTP     *http.Client // for what is not in registries; without credentials
}

// An Opened is what a name means.
type Opened struct {
	Source   oci.Source
	Manifest *oci.Manifest
	// Ref is the name in full, for annotations; "" of what is in no registry, or has
	// no tag.
	Ref string
	// Repository is where it is, host/name; "" of what is in no registry.
	Repository string
}

// An Engine has what builders need, for one run. It is safe for concurrent use.
type Engine struct {
	o Options
	*shared
}

// shared is what all builds of a run have in common.
type shared struct {
	mu    sync.Mutex
	bases map[string]*opening
	read  map[oci.Digest]oci.Descriptor // layers of bases that had to be read
	sent  map[oci.Digest]bool           // layers that To has got
	notes []string
}

// NewEngine makes an engine.
func NewEngine(o Options) *Engine {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	return &Engine{o, &shared{bases: map[string]*opening{}, read: map[oci.Digest]oci.Descriptor{}, sent: map[oci.Digest]bool{}}}
}

// With is the same engine for a build that has a base Static, or a depth of its own.
func (e *Engine) With(static func(ctx context.Context, s *Stack) error, deep bool) *Engine {
	with := &Engine{e.o, e.shared}
	if static != nil {
		with.o.Static = static
	}
	with.o.Deep = e.o.Deep || deep
	return with
}

// Options are those that the engine was made with.
func (e *Engine) Options() Options { return e.o }

// Note says something that the user should know, once.
func (e *Engine) Note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !slices.Contains(e.notes, text) {
		e.notes = append(e.notes, text)
	}
}

// Notes are what was said so far.
func (e *Engine) Notes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := slices.Sorted(slices.Values(e.notes)) // builds run at the same time
	if len(e.read) == 0 {
		return all
	}
	var bytes int64
	for _, d := range e.read {
		bytes += d.Size
	}
	what := "1 layer"
	if n := len(e.read); n > 1 {
		what = fmt.Sprintf("%d layers", n)
	}
	text := fmt.Sprintf("read %s of base images (%.1f MB) to find out what is where in them", what, max(0.1, float64(bytes)/1e6))
	if e.o.CacheDir != "" {
		text += "; that is remembered"
	}
	return append(all, text)
}

// Sent reports whether To has got a layer while it was packed.
func (e *Engine) Sent(d oci.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sent[d]
}

// noteRead notes the layers of a base that were read.
func (e *Engine) noteRead(read []oci.Descriptor, below []oci.Blob) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range read {
		if slices.ContainsFunc(below, func(b oci.Blob) bool { return b.Descriptor().Digest == d.Digest }) {
			e.read[d.Digest] = d
		}
	}
}

// noteMade notes what is worth to be known of a layer that was made.
func (e *Engine) noteMade(l *input.Layer, docker bool) {
	if l.Sent() {
		e.mu.Lock()
		e.sent[l.Descriptor().Digest] = true
		e.mu.Unlock()
	}
	if docker && l.Descriptor().MediaType == oci.MediaLayerZstd {
		e.Note("layers packed with zstd are not read by Docker engines before 23")
	}
	if n := l.KeptCount; n > 0 {
		names := strings.Join(l.Kept, ", ")
		if more := n - len(l.Kept); more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		what := "keeps its"
		if n > 1 {
			what = "keep their"
		}
		e.Note("the base's %s %s mode and owner (--exact takes the tar as it is)", names, what)
	}
}

// Default are the platforms that are built if the user asks for none.
type Default struct {
	// Platforms; none: all that the bases have.
	Platforms []oci.Platform
	Linux     bool   // with no Platforms: only those of Linux, if there are any
	From      string // the base, if the user gives none
}

// Targets is how most builders choose: the platforms that are wanted of the
// bases that are wanted, in the bases' order. ErrNotFound if a platform is in
// none of them, ErrInvalid if there are several images for one.
func (e *Engine) Targets(ctx context.Context, want Want, d Default) ([]Target, error) {
	from := want.From
	if len(from) == 0 {
		from = []string{d.From}
	}
	platforms := want.Platforms
	if len(platforms) == 0 && !want.All {
		platforms = d.Platforms
	}
	var all []*Base
	for _, name := range from {
		list, err := e.Bases(ctx, name)
		if err != nil {
			return nil, err
		}
		if list == nil { // no base limits the platforms
			if len(from) > 1 {
				return nil, oci.Errorf(oci.ErrInvalid, "%s goes with no other base", name)
			}
			return e.fromNothing(name, platforms)
		}
		all = append(all, list...)
	}
	other := func(b *Base) bool { return b.Platform.OS != "linux" }
	if d.Linux && len(platforms) == 0 && !want.All && slices.ContainsFunc(all, func(b *Base) bool { return !other(b) }) {
		all = slices.DeleteFunc(all, other)
	}
	return choose(all, platforms, len(d.Platforms) > 0 && len(want.Platforms) == 0)
}

func (e *Engine) fromNothing(name string, platforms []oci.Platform) (out []Target, err error) {
	if len(platforms) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "the base %s has no platform: say which are to be built (--platform)", name)
	}
	for n, p := range platforms {
		if slices.ContainsFunc(platforms[:n], func(q oci.Platform) bool { return oci.FormatPlatform(p) == oci.FormatPlatform(q) }) {
			continue
		}
		if name == Static && p.OS == "windows" {
			return nil, NeedsWindows("the base "+name+" is none for Windows", platforms)
		}
		out = append(out, Target{p, &Base{Name: name, Platform: p}})
	}
	return out, once(out)
}

// NeedsWindows is the error of a build for Windows that has no base for it: what
// is wrong, and what can be done. all are the platforms that were wanted.
func NeedsWindows(what string, all []oci.Platform) error {
	var rest []string
	for _, p := range all {
		if p.OS != "windows" {
			rest = append(rest, oci.FormatPlatform(p))
		}
	}
	without := ""
	if len(rest) > 0 {
		without = ", or leave it out with --platform " + strings.Join(rest, ",")
	}
	return oci.Errorf(oci.ErrInvalid, "%s: name one with --from, as mcr.microsoft.com/windows/nanoserver:ltsc2022%s", what, without)
}

// choose picks the images for platforms; none: all. Where the platforms are a
// builder's default, a base that is a single image decides.
func choose(all []*Base, platforms []oci.Platform, byDefault bool) (out []Target, err error) {
	found := make([]bool, len(platforms))
	if byDefault && !slices.ContainsFunc(all, func(b *Base) bool { return b.Index.Digest != "" }) {
		platforms = nil
	}
	for _, b := range all {
		take := len(platforms) == 0
		for n, p := range platforms {
			if oci.MatchPlatform(p, b.Platform) {
				take, found[n] = true, true
			}
		}
		if take {
			out = append(out, Target{b.Platform, b})
		}
	}
	for n, p := range platforms {
		if !found[n] {
			return nil, oci.Wrap("base", all[0].Name, oci.Errorf(oci.ErrNotFound, "no image for %s; there is %s", oci.FormatPlatform(p), platformsOf(all)))
		}
	}
	return out, once(out)
}

// once checks that there is one target for a platform.
func once(list []Target) error {
	seen := map[string]string{}
	for _, t := range list {
		p, key := oci.NormalizePlatform(t.Platform), slot(t.Platform)
		if old, ok := seen[key]; ok {
			return oci.Errorf(oci.ErrInvalid, "two images would be for %s: of %s and of %s", oci.FormatPlatform(p), old, t.Base.Name)
		}
		seen[key] = cmp.Or(t.Base.Name, Scratch)
	}
	return nil
}
