// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A plan is what a Spec means.
type plan struct {
	s       *Spec
	o       Options
	dest    string     // clean, "." for the root
	mode    layer.Mode // Chmod
	dir     bool       // Dest is a directory
	made    int64      // its mode if it has to be made
	parts   []part     // of the tar, in order
	only    bool       // there are only files
	into    string     // the name of the only file, if Dest may turn out to be a directory
	unpacks bool       // a tar is among the parts

	materials []build.Material // that were fetched
}

// check refuses what is wrong whatever the sources have.
func (s *Spec) check() error {
	n := len(s.Sources) + len(s.Inline)
	switch {
	case n == 0:
		return oci.Errorf(oci.ErrInvalid, "%s has no source", s.name())
	case !strings.HasPrefix(s.Dest, "/"):
		return oci.Errorf(oci.ErrInvalid, "%s: the destination %s is not absolute", s.name(), oci.Quote(s.Dest))
	case n > 1 && !s.toDir():
		return s.needsSlash()
	case s.Checksum != "" && !s.Add:
		return oci.Errorf(oci.ErrInvalid, "--checksum is for ADD, not for COPY")
	case s.Checksum != "" && (n != 1 || len(s.Sources) != 1 || !isRemote(s.Sources[0])):
		return oci.Errorf(oci.ErrInvalid, "--checksum is for one URL or repository of git")
	}
	for _, src := range s.Sources {
		switch {
		case !isRemote(src) && s.From == nil:
			return oci.Errorf(oci.ErrInvalid, "%s: there is no context that it could be in", oci.Quote(src))
		case isRemote(src) && !s.Add:
			return oci.Errorf(oci.ErrInvalid, "COPY takes no URL: use ADD for %s", oci.Quote(Discreet(src)))
		}
	}
	for _, f := range s.Inline {
		if f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, "/\x00") {
			return oci.Errorf(oci.ErrInvalid, "%s is no name for a file", oci.Quote(f.Name))
		}
	}
	return nil
}

func (s *Spec) toDir() bool { return strings.HasSuffix(s.Dest, "/") }

func (s *Spec) needsSlash() error {
	return oci.Errorf(oci.ErrInvalid, "%s: several sources need a destination that ends with a slash: %s/", s.name(), s.Dest)
}

func newPlan(ctx context.Context, e *build.Engine, s Spec, o Options) (*plan, error) {
	p := &plan{s: &s, o: o, dest: clean(s.Dest), made: 0o755, dir: s.toDir(), only: !s.Parents}
	var err error
	if p.mode, err = layer.ParseMode(s.Chmod); err != nil {
		return nil, oci.Wrap("", "--chmod", err)
	}
	if err := p.sources(ctx, e, s.Sources); err != nil {
		return nil, err
	}
	for _, f := range s.Inline {
		p.parts = append(p.parts, &inline{f, p.file(f.Name)})
	}
	return p, nil
}

// sources plans what sources mean, in their order: of two that bring the same
// name the later one counts.
func (p *plan) sources(ctx context.Context, e *build.Engine, list []string) error {
	for len(list) > 0 {
		n := slices.IndexFunc(list, isRemote)
		var err error
		switch {
		case n == 0:
			n, err = 1, p.remote(ctx, e, list[0])
		case n < 0:
			n = len(list)
			fallthrough
		default:
			err = p.local(ctx, e, list[:n])
		}
		if err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// key is that of all parts; "" if one has none.
func (p *plan) key() string {
	all := ""
	for _, part := range p.parts {
		key := part.key()
		if key == "" {
			return ""
		}
		all += key + "\n"
	}
	return all
}

// file is where a file goes.
func (p *plan) file(name string) string {
	if p.s.toDir() {
		return path.Join(p.dest, name)
	}
	p.into = name
	return p.dest
}

// contents notes that what is in a directory goes to Dest. A mode in numbers is
// that of Dest as well, if it is made; what else is made is 0755, as it would be
// of no use as 0644.
func (p *plan) contents() {
	p.dir, p.only = true, false
	if c := p.s.Chmod; c != "" && c[0] >= '0' && c[0] <= '9' {
		p.made = p.mode.Apply(0, true)
	}
}

// write writes the tar.
func (p *plan) write(w *writer) error {
	if err := p.way(w); err != nil {
		return err
	}
	for _, part := range p.parts {
		if err := part.write(w); err != nil {
			return err
		}
	}
	return w.tw.Close()
}

// way writes the directories that lead to what is copied, which only count if
// they are not there. With Link nobody looks, so that they would always count.
func (p *plan) way(w *writer) error {
	for n, c := range p.dest {
		if c == '/' && !p.s.Link {
			if err := w.made(p.dest[:n], 0o755); err != nil {
				return err
			}
		}
	}
	if !p.dir || p.s.Link && p.only {
		return nil
	}
	return w.made(p.dest, p.made)
}

// local plans what is in s.From.
func (p *plan) local(ctx context.Context, e *build.Engine, sources []string) error {
	v, err := p.s.From.open(ctx)
	if err != nil {
		return err
	}
	defer v.close()
	var picks []pick
	for _, src := range sources {
		if err := checkPattern(src); err != nil {
			return err
		}
		if err := escapes(src); err != nil {
			return err
		}
		more, err := p.picks(v, src)
		if err != nil {
			return err
		}
		picks = append(picks, more...)
	}
	if len(picks) > 1 && !p.s.Parents && !p.s.toDir() {
		return p.s.needsSlash()
	}
	return p.group(e, v, picks)
}

// escapes refuses a path that leads out of where it begins.
func escapes(src string) error {
	if p := path.Clean(strings.TrimLeft(src, "/")); p == ".." || strings.HasPrefix(p, "../") {
		return oci.Errorf(oci.ErrInvalid, "%s leads out of the context", oci.Quote(src))
	}
	return nil
}

// group makes parts of picks, in order: tars that an ADD unpacks are parts of their own.
func (p *plan) group(e *build.Engine, v view, picks []pick) error {
	var list []pick
	flush := func() error {
		if len(list) == 0 {
			return nil
		}
		part, err := v.part(list, p.s.Exclude)
		p.parts, list = append(p.parts, part), nil
		return err
	}
	for _, k := range picks {
		if k.tar {
			a, err := p.archive(v, k)
			if err != nil {
				return err
			}
			if a != nil {
				if err := flush(); err != nil {
					return err
				}
				p.unpack(a, e)
				continue
			}
		}
		switch {
		case k.base != "":
			k.to = p.file(k.base)
		case !p.s.Parents:
			p.contents()
		}
		list = append(list, k)
	}
	return flush()
}

// picks finds what a source means.
func (p *plan) picks(v view, src string) ([]pick, error) {
	if p.s.Parents {
		return p.withParents(v, src)
	}
	dir, pattern := split(strings.TrimLeft(src, "/"))
	if pattern == nil {
		k, err := p.one(v, plain(strings.TrimLeft(src, "/")), false)
		if err != nil || k == nil {
			return nil, err
		}
		return []pick{*k}, nil
	}
	at, err := v.find(dir)
	if err != nil || !at.dir {
		return nil, absent(err)
	}
	matches, err := glob(v, at.real, pattern, false)
	if err != nil {
		return nil, err
	}
	var picks []pick
	for _, m := range matches {
		k, err := p.one(v, path.Join(at.real, m), true)
		if err != nil {
			return nil, err
		}
		if k != nil {
			picks = append(picks, *k)
		}
	}
	return picks, nil
}

// one is the pick of a path; nil if it is excluded.
func (p *plan) one(v view, name string, matched bool) (*pick, error) {
	f, err := v.find(name)
	if err != nil {
		return nil, err
	}
	base := path.Base(clean(name))
	if !f.dir || matched {
		exclude, err := newRules(p.s.Exclude)
		if err != nil {
			return nil, err
		}
		if out, _, err := exclude.out(base, state{}); (out && !(f.dir && exclude.back())) || err != nil {
			return nil, err
		}
	}
	unpack := p.s.Add
	if p.s.UnpackSet {
		unpack = p.s.Unpack
	}
	if f.dir {
		return &pick{from: f.real, to: p.dest}, nil
	}
	return &pick{from: f.real, base: base, tar: unpack && f.file && !f.link}, nil
}

// withParents finds what a source means whose path is kept below Dest: the part
// of it behind /./, if there is one.
func (p *plan) withParents(v view, src string) ([]pick, error) {
	pivot, rest, ok := strings.Cut(src, "/./")
	switch {
	case !ok:
		pivot, rest = "", src
	case isPattern(pivot):
		return nil, oci.Errorf(oci.ErrUnsupported, "%s: there can be no wildcard before /./", oci.Quote(src))
	}
	exclude, err := newRules(p.s.Exclude)
	if err != nil {
		return nil, err
	}
	rest = strings.TrimLeft(path.Clean("/"+rest), "/")
	at, err := v.find(plain(strings.TrimLeft(pivot, "/")))
	if err != nil {
		return nil, err
	}
	var matches []string
	if rest == "" {
		matches = []string{""}
	} else if matches, err = glob(v, at.real, strings.Split(rest, "/"), true); err != nil {
		return nil, err
	}
	if len(matches) == 0 && !isPattern(rest) {
		return nil, oci.Errorf(oci.ErrNotFound, "%s: not found (--parents does not follow links)", oci.Quote(src))
	}
	p.dir = true
	picks := []pick{{from: at.real, to: p.dest, only: true}}
	for _, m := range matches {
		if out, _, err := exclude.deep(m); err != nil {
			return nil, err
		} else if out && !exclude.back() {
			continue
		}
		for n, c := range m {
			if c == '/' {
				picks = append(picks, pick{from: path.Join(at.real, m[:n]), to: path.Join(p.dest, m[:n]), rel: m[:n], self: true, only: true})
			}
		}
		picks = append(picks, pick{from: path.Join(at.real, m), to: path.Join(p.dest, m), rel: m, self: m != ""})
	}
	return picks, nil
}
