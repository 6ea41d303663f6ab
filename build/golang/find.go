// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// A Program is a main package.
type Program struct {
	ImportPath string
	Name       string // of its file in an image, without .exe: the last element of ImportPath
	Dir        string // of the package, absolute

	work   string // where the go command runs
	module string // the directory of its module; "": none
	entry  *Build // of Config; nil: none
	tool   *tool
}

// Find finds the programs that patterns mean, as the go command understands
// them: import paths, directories, and those with … in them, of which only the
// programs count. ko:// before an import path is dropped. They come in the order
// of the patterns, each once. Directories may be in several modules. p is a
// platform to be built, for build constraints.
func Find(ctx context.Context, patterns []string, p oci.Platform, o Options) ([]*Program, error) {
	t := newTool(o)
	env, err := variables(p)
	if err != nil {
		return nil, err
	}
	asked := make([]place, len(patterns))
	for n, s := range patterns {
		if asked[n], err = o.place(s); err != nil {
			return nil, err
		}
	}
	entries, err := o.entries()
	if err != nil {
		return nil, err
	}
	found, err := t.list(ctx, slices.Concat(asked, entries), env)
	if err != nil {
		return nil, err
	}
	var out []*Program
	for n, a := range asked {
		for i, e := range entries { // of a module that the directory knows nothing of
			if given := found[len(asked)+i]; len(given) == 1 && given[0].ImportPath == a.pattern {
				found[n], a.dir = given, e.dir
			}
		}
		list, err := a.programs(found[n])
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			if !slices.ContainsFunc(out, func(p *Program) bool { return p.ImportPath == f.ImportPath && p.Dir == f.Dir }) {
				out = append(out, f.program(t, a.dir))
			}
		}
	}
	return out, o.match(out, found[len(asked):], entries)
}

// A place is what one pattern means: a pattern of go's, and where that holds.
type place struct {
	given, pattern, dir string
}

// place finds out where the go command has to run for a pattern: in the
// directory of the user, or in that of another module.
func (o *Options) place(s string) (place, error) {
	p := place{given: s, pattern: strings.TrimPrefix(s, "ko://"), dir: cmp.Or(o.Dir, ".")}
	if strings.HasSuffix(p.pattern, ".go") || p.pattern == "" || strings.HasPrefix(p.pattern, "-") {
		return p, oci.Errorf(oci.ErrInvalid, "%s: want the import path or the directory of a program", oci.Quote(s))
	}
	if !isLocal(p.pattern) {
		return p, nil
	}
	p.pattern = path.Clean(filepath.ToSlash(p.pattern)) // as go list repeats it
	if !isLocal(p.pattern) {
		p.pattern = "./" + p.pattern
	}
	dir, rest, _ := strings.Cut(filepath.ToSlash(p.pattern), "...")
	dir = join(o.Dir, filepath.FromSlash(dir))
	info, err := os.Stat(dir)
	switch {
	case err != nil && rest == "" && !strings.HasSuffix(p.pattern, "..."):
		return p, err
	case err != nil || !info.IsDir():
		return p, nil // go says what is wrong
	}
	here, there := moduleOf(p.dir), moduleOf(dir)
	if there == "" || there == here {
		return p, nil
	}
	p.dir = dir
	p.pattern = "."
	if strings.HasSuffix(s, "...") {
		p.pattern = "./..."
	}
	return p, nil
}

func isLocal(s string) bool {
	return s == "." || s == ".." || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || filepath.IsAbs(s) ||
		strings.HasPrefix(s, `.\`) || strings.HasPrefix(s, `..\`)
}

// moduleOf is the directory of the module that a directory is in; "": none.
func moduleOf(dir string) string {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if info, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && info.Mode().IsRegular() {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return ""
}

// join is a path relative to a directory.
func join(dir, p string) string {
	if dir == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// A listed is what go list says of a package.
type listed struct {
	Dir, ImportPath, Name string
	Standard              bool
	Match                 []string
	Module                *struct {
		Path, Dir, GoMod string
		Main             bool
	}
	Error *struct{ Err string }
}

// list asks the go command about all places, once for each directory that it has
// to run in.
func (t *tool) list(ctx context.Context, all []place, env []string) ([][]listed, error) {
	var dirs []string
	for _, p := range all {
		if !slices.Contains(dirs, p.dir) {
			dirs = append(dirs, p.dir)
		}
	}
	out := make([][]listed, len(all))
	err := oci.Parallel(ctx, len(dirs), func(ctx context.Context, n int) error {
		args := []string{"list", "-e", "-json=Dir,ImportPath,Name,Standard,Match,Module,Error", "--"}
		for _, p := range all {
			if p.dir == dirs[n] && !slices.Contains(args[4:], p.pattern) {
				args = append(args, p.pattern)
			}
		}
		found, err := t.packages(ctx, dirs[n], env, args)
		if err != nil {
			return err
		}
		for i, p := range all {
			for _, f := range found {
				if p.dir == dirs[n] && slices.Contains(f.Match, p.pattern) {
					out[i] = append(out[i], f)
				}
			}
		}
		return nil
	})
	return out, err
}

func (t *tool) packages(ctx context.Context, dir string, env, args []string) (out []listed, err error) {
	raw, err := t.run(ctx, dir, env, args...)
	if err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, oci.Wrap("", "go list", err)
		}
		out = append(out, p)
	}
}

// programs are those among the packages that a pattern has matched.
func (a place) programs(found []listed) (out []listed, err error) {
	many := strings.Contains(a.pattern, "...")
	why := ""
	for _, f := range found {
		switch {
		case f.Name == "main" && f.Error == nil:
			out = append(out, f)
		case many && f.Name != "main":
			if f.Error != nil && f.ImportPath == a.pattern { // it matches nothing, as above the modules of a go.work
				why = ": " + strings.TrimPrefix(strings.TrimSpace(f.Error.Err), "pattern "+a.pattern+": ")
			}
		case f.Error != nil && !isLocal(a.pattern) && isDir(filepath.Join(a.dir, a.pattern)):
			return nil, oci.Errorf(oci.ErrInvalid, "%s: there is no such package; the directory is ./%s", oci.Quote(a.given), a.pattern)
		case f.Error != nil:
			return nil, oci.Wrap("", a.given, oci.Errorf(oci.ErrInvalid, "%s", strings.TrimSpace(f.Error.Err)))
		default:
			return nil, oci.Errorf(oci.ErrInvalid, "%s is no program: its package is %s, not main", oci.Quote(a.given), f.Name)
		}
	}
	if len(out) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: there are no programs%s", oci.Quote(a.given), why)
	}
	return out, nil
}

func (f listed) program(t *tool, dir string) *Program {
	p := &Program{ImportPath: f.ImportPath, Name: path.Base(f.ImportPath), Dir: f.Dir, work: dir, tool: t}
	if f.Module != nil {
		p.module = f.Module.Dir
	}
	return p
}

// entries are the places of the builds of Config.
func (o *Options) entries() (out []place, err error) {
	for n, b := range o.Config.Builds {
		dir := join(cmp.Or(o.Dir, "."), b.Dir)
		main := cmp.Or(b.Main, ".")
		if info, err := os.Stat(join(dir, main)); err != nil {
			return nil, oci.Wrap("", o.Config.name(n), err)
		} else if info.Mode().IsRegular() {
			main = filepath.Dir(main)
		}
		if main = filepath.ToSlash(filepath.Clean(main)); !filepath.IsAbs(main) && main != ".." && !strings.HasPrefix(main, "../") {
			main = "./" + strings.TrimPrefix(main, "./")
			main = strings.TrimSuffix(main, "/.")
		}
		out = append(out, place{o.Config.name(n), main, dir})
	}
	return out, nil
}

// match gives programs the builds of Config that are meant for them: those of
// the same package, and of those the last, as ko does. They are built where these
// say.
func (o *Options) match(list []*Program, found [][]listed, entries []place) error {
	for n, packages := range found {
		if len(packages) != 1 {
			return oci.Errorf(oci.ErrInvalid, "%s: no package in %s", entries[n].given, oci.Quote(entries[n].dir))
		}
		for _, p := range list {
			if p.ImportPath == packages[0].ImportPath {
				p.entry, p.work = &o.Config.Builds[n], entries[n].dir
			}
		}
	}
	return nil
}
