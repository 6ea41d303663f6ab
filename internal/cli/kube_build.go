// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/spec"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// A wanted reference is built for all places where it stands.
type wanted struct {
	text  string // ko://…, dray://…
	at    string // where it stands first, as file:line; "": on the command line
	local bool   // it is a directory, also where it looks like an import path
	job   int    // what builds it
}

func (w *wanted) path() string {
	p := strings.TrimPrefix(strings.TrimPrefix(w.text, koScheme), drayScheme)
	if w.local && filepath.IsLocal(p) && !strings.HasPrefix(p, ".") {
		return "./" + p
	}
	return p
}

func (w *wanted) fail(err error) error {
	return oci.Wrap("", strings.TrimPrefix(w.at+": "+w.text, ": "), err)
}

// referring builds what references mean.
type referring struct {
	a    *app
	c    *cobra.Command
	g    *given
	o    *buildFlags
	list []*wanted

	goKind *kind
	names  *goNames
	jobs   []dray.BuildJob
	images []func(b dray.BuiltImage, to []string) string // of each job: what stands for it
	after  []func(b *dray.Built) error
	found  map[string]int // the job of each place, and of each build of a dray.yaml
}

// build builds what the references mean, each once, and gives use what stands
// for them when all is written.
func (r *referring) build(use func(with map[string]string) error) error {
	if err := r.o.finish(r.a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return usage(r.c, err)
	}
	r.o.Attestors = nil // each build has its own
	r.o.use = func(b *dray.Built) error {
		with, err := r.results(b)
		if err != nil {
			return err
		}
		return use(with)
	}
	return r.a.buildAsked(r.c, r.o, r.ask)
}

// ask makes builds of the references.
func (r *referring) ask() ([]dray.BuildJob, error) {
	r.goKind = r.a.kind(&goFront{a: r.a})
	if err := r.ready(r.goKind); err != nil {
		return nil, err
	}
	var err error
	if r.names, err = r.goKind.frontend.(*goFront).names.options(r.a, r.goKind.Command, r.goKind.o); err != nil {
		return nil, usage(r.c, err)
	}
	r.found = map[string]int{}
	r.o.edit.both = r.goKind.o.edit.both // with what ko's flags say of it
	var programs []*wanted
	for _, w := range r.list {
		goes, err := r.add(w)
		if err != nil {
			return nil, w.fail(err)
		}
		if goes {
			programs = append(programs, w)
		}
	}
	if len(programs) > 0 {
		if err := r.addPrograms(programs); err != nil {
			return nil, err
		}
	}
	return r.jobs, r.check()
}

// ready gives a kind those flags of the command line that it has.
func (r *referring) ready(k *kind) error {
	k.Use = r.c.Use // for its name in errors
	r.c.Parent().AddCommand(k.Command)
	k.SetContext(r.c.Context())
	for _, v := range r.g.list {
		if k.Flags().Lookup(v.name) == nil {
			continue // it is of another kind
		}
		if err := k.Flags().Set(v.name, v.value); err != nil {
			return usage(r.c, err)
		}
	}
	if err := k.o.finish(r.a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return usage(r.c, err)
	}
	return nil
}

// add adds the build of a reference, unless it is of a Go program: those are
// looked for together.
func (r *referring) add(w *wanted) (isGo bool, err error) {
	if strings.HasPrefix(w.text, koScheme) {
		return true, nil
	}
	list := []string{w.path()}
	s, err := r.a.findSpec(list)
	if err != nil {
		return false, err
	}
	if s != nil {
		jobs, err := r.a.specJobs(r.c, r.ofSpec(), s)
		return false, errors.Join(err, r.one(w, jobs, r.o, absolute(s.path)))
	}
	f, err := recognise(r.a.frontends(), list)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, oci.Errorf(oci.ErrNotFound, "no such file or directory, and no such build in %s", spec.Name)
	case err != nil:
		return false, oci.Errorf(oci.ErrInvalid, "cannot see what it is: a build in %s would say so", spec.Name)
	}
	if _, ok := f.(*goFront); ok {
		w.local = isDir(w.path())
		return true, nil
	}
	place := absolute(w.path())
	if n, ok := r.found[place]; ok {
		w.job = n
		return false, nil
	}
	k := r.a.kind(f)
	if err := r.ready(k); err != nil {
		return false, err
	}
	r.a.note("%s is built as %s", w.path(), nameOf(f))
	k.o.edit.Targets = r.names.targets(nameOfPath(w.path()))
	jobs, err := f.jobs(k.Command, k.o, list)
	if err != nil {
		return false, err
	}
	return false, r.one(w, jobs, k.o, place)
}

// ofSpec are the flags for builds of dray.yaml: what they make is pushed, and
// what is a tag below KO_DOCKER_REPO means nothing to them.
func (r *referring) ofSpec() *given {
	g := &given{}
	for _, v := range r.g.list {
		if v.name != "tag" || slices.Contains(r.names.refs, v.value) {
			g.list = append(g.list, v)
		}
	}
	if !g.has("push") {
		g.list = append(g.list, givenFlag{"push", "true"})
	}
	return g
}

// one takes the only build that a reference means, unless it is taken already.
func (r *referring) one(w *wanted, jobs []dray.BuildJob, o *buildFlags, place string) error {
	if len(jobs) == 0 {
		return nil // there is another error
	}
	if len(jobs) > 1 {
		var names []string
		for _, j := range jobs {
			names = append(names, cmp.Or(j.Name, j.Builder.Name()))
		}
		return oci.Errorf(oci.ErrInvalid, "it means %d images, not one: %s", len(jobs), strings.Join(names, ", "))
	}
	key := place
	if jobs[0].Name != "" { // of a dray.yaml
		key += "\n" + jobs[0].Name
	}
	n, ok := r.found[key]
	if !ok {
		n = r.take(jobs[0], o, 0)
		r.found[key] = n
	}
	w.job = n
	return nil
}

// absolute is one name for a path, however it is written.
func absolute(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return filepath.Clean(p)
}

// take adds the nth build of a kind.
func (r *referring) take(j dray.BuildJob, o *buildFlags, n int) int {
	if o != r.o {
		j.Attestors = o.Attestors
	}
	result := o.result
	r.images = append(r.images, func(b dray.BuiltImage, to []string) string {
		if result != nil {
			return result(n, b)
		}
		for _, name := range to {
			if at, err := ref.ParseAny(name); err == nil && at.Scheme == ref.Registry {
				return resultLine(name, b.Root.Digest)
			}
		}
		return ""
	})
	r.jobs = append(r.jobs, j)
	return len(r.jobs) - 1
}

// check refuses builds whose images nobody could pull, and two of one name.
func (r *referring) check() error {
	taken := map[string]*wanted{}
	for n := range r.jobs {
		w := r.list[slices.IndexFunc(r.list, func(w *wanted) bool { return w.job == n })]
		j := &r.jobs[n]
		if r.images[n](dray.BuiltImage{}, j.Targets) == "" {
			return usage(r.c, w.fail(errors.New("its image has no name in a registry: set KO_DOCKER_REPO, or say -t REF")))
		}
		for _, t := range j.Targets {
			if other := taken[t]; other != nil {
				return usage(r.c, w.fail(fmt.Errorf("its image would be %s, as that of %s", t, other.text)))
			}
			taken[t] = w
		}
		if w.at != "" {
			j.Builder = located{j.Builder, w.at}
		}
	}
	return nil
}

// results are what stands for each reference.
func (r *referring) results(b *dray.Built) (map[string]string, error) {
	for _, i := range b.Images {
		if i.Kept {
			return nil, oci.Errorf(oci.ErrExists, "%s exists with other content, and --no-clobber says to keep it", i.To)
		}
	}
	with := map[string]string{}
	for _, w := range r.list {
		with[w.text] = r.images[w.job](b.Builds[w.job], r.jobs[w.job].Targets)
	}
	for _, f := range r.after {
		if err := f(b); err != nil {
			return nil, err
		}
	}
	return with, nil
}

// nameOfPath is a name for what is in a directory, of the form of an import path.
func nameOfPath(p string) string {
	p = filepath.ToSlash(filepath.Clean(p))
	if !filepath.IsLocal(p) || p == "." {
		if abs, err := filepath.Abs(p); err == nil {
			p = path.Base(filepath.ToSlash(abs))
		}
	}
	return p
}

func isDir(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.IsDir()
}
