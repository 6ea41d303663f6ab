// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A Set puts files on stacks. What is the same for several stacks, as the images
// of several platforms, is read and packed once. It is safe for concurrent use.
type Set struct {
	o    Options
	hook func(name string) // for tests: a file has been opened

	mu     sync.Mutex
	inputs map[string]*shared
}

// A shared input is that of equal specs; nil if they mean nothing.
type shared struct {
	once      sync.Once
	in        *input.Input
	materials []build.Material
	err       error
}

// NewSet makes a Set.
func NewSet(o Options) *Set { return &Set{o: o, inputs: map[string]*shared{}} }

// Add puts what a Spec means on a stack, as one layer with this line of history;
// where it means nothing, as a pattern that matches nothing, only the line.
//
// ErrNotFound for a source that is not there, ErrInvalid for what cannot be
// copied so, ErrBusy for a file that changes while it is read, ErrCorrupt for
// what does not match its checksum. Errors begin with Spec.At.
func (x *Set) Add(ctx context.Context, e *build.Engine, onto *build.Stack, s Spec, createdBy string) error {
	return oci.Wrap("", s.At, x.add(ctx, e, onto, s, createdBy))
}

func (x *Set) add(ctx context.Context, e *build.Engine, onto *build.Stack, s Spec, createdBy string) error {
	s.normalize(e)
	if err := s.check(); err != nil {
		return err
	}
	var owner *layer.Owner
	if s.Chown != "" {
		var err error
		if owner, err = Owner(ctx, e, onto, s.Chown); err != nil {
			return oci.Wrap("", "--chown", err)
		}
	}
	sh := x.share(&s, owner)
	sh.once.Do(func() { sh.err = sh.make(ctx, x, e, s, owner) })
	if sh.err != nil {
		return oci.Wrap("", s.name(), sh.err)
	}
	onto.Materials = append(onto.Materials, sh.materials...)
	if sh.in == nil {
		return onto.AddEmpty(createdBy)
	}
	o := build.AddOptions{Link: s.Link}
	o.History.CreatedBy = createdBy
	_, err := onto.Add(ctx, sh.in, o)
	return err
}

// name is what errors and the progress call it.
func (s *Spec) name() string {
	list := []string{"COPY"}
	if s.Add {
		list[0] = "ADD"
	}
	for _, src := range s.Sources {
		list = append(list, Discreet(src))
	}
	for _, f := range s.Inline {
		list = append(list, "<<"+f.Name)
	}
	const most = 4
	if len(list) > most+1 {
		list = append(list[:most:most], "…")
	}
	return strings.Join(list, " ")
}

// normalize makes paths of Windows such with slashes.
func (s *Spec) normalize(e *build.Engine) {
	if !s.Windows {
		return
	}
	s.Dest = slashes(s.Dest)
	list := s.Sources
	s.Sources = nil
	for _, src := range list {
		if !isURL(src) {
			src = slashes(src)
		}
		s.Sources = append(s.Sources, src)
	}
	if s.Chown != "" || s.Chmod != "" {
		e.Note("%s: --chown and --chmod mean nothing for Windows", s.At)
		s.Chown, s.Chmod = "", ""
	}
}

// slashes is a path of Windows without its drive.
func slashes(p string) string {
	if len(p) >= 2 && p[1] == ':' && (len(p) == 2 || strings.ContainsAny(p[2:3], `/\`)) {
		p = p[2:]
	}
	return strings.ReplaceAll(p, `\`, "/")
}

// share finds the input of an equal Spec, which perhaps has to be made.
func (x *Set) share(s *Spec, owner *layer.Owner) *shared {
	key := s.key()
	if s.From != nil {
		key += " " + s.From.id()
	}
	if owner != nil {
		key += fmt.Sprint(" ", *owner)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	sh := x.inputs[key]
	if sh == nil {
		sh = &shared{}
		x.inputs[key] = sh
	}
	return sh
}

// key is all of a Spec but where its sources are.
func (s *Spec) key() string {
	c := *s
	c.From, c.At = nil, ""
	raw, err := json.Marshal(c)
	if err != nil { // strings and bytes can be marshalled
		return fmt.Sprintf("%p", s)
	}
	return string(raw)
}

// version changes when the same Spec becomes another tar.
const version = "place-2"

// make makes the input; none if the Spec means nothing.
func (sh *shared) make(ctx context.Context, x *Set, e *build.Engine, s Spec, owner *layer.Owner) error {
	p, err := newPlan(ctx, e, s, x.o)
	if err != nil || len(p.parts) == 0 {
		return err
	}
	o := input.TarOptions{Owner: owner, Into: p.into, Follow: p.into != "", Over: p.dest, Meek: !p.unpacks}
	if key := p.key(); key != "" {
		o.Key = fmt.Sprint(version, " ", x.o.KeepTimes, " ", s.key(), " ", key)
	}
	sh.materials = p.materials
	sh.in = input.Tar(s.name(), o, func(ctx context.Context, out io.Writer) error {
		return p.write(&writer{ctx: ctx, tw: tar.NewWriter(out), mode: p.mode, times: x.o.KeepTimes, apart: len(p.parts) > 1, hook: x.hook})
	})
	return nil
}
