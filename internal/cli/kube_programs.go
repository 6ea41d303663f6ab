// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

// addPrograms adds the builds of Go programs, which are looked for at once.
func (r *referring) addPrograms(list []*wanted) error {
	k := r.goKind
	if len(list) > 1 && len(r.names.refs) > 0 {
		return usage(r.c, fmt.Errorf("-t names one image, and these are several: %s and %s: set KO_DOCKER_REPO for names of their own", list[0].text, list[1].text))
	}
	jobs, err := k.jobs(k.Command, k.o, pathsOf(list))
	if err != nil || !oneEach(list, jobs) {
		first, single := r.programs(list)
		if single != nil {
			return single
		}
		if err != nil { // of all together
			return err
		}
		if jobs, err = k.jobs(k.Command, k.o, pathsOf(first)); err != nil {
			return err
		}
	} else {
		for n, w := range list {
			w.job = n
		}
	}
	base := len(r.jobs)
	for n, j := range jobs {
		r.take(j, k.o, n)
	}
	for _, w := range list {
		w.job += base
	}
	if k.o.after != nil {
		r.after = append(r.after, func(b *dray.Built) error {
			return k.o.after(&dray.Built{Plan: b.Plan, Builds: b.Builds[base : base+len(jobs)]})
		})
	}
	return nil
}

func pathsOf(list []*wanted) (all []string) {
	for _, w := range list {
		all = append(all, w.path())
	}
	return all
}

// oneEach reports whether each reference certainly means the build at its place.
func oneEach(list []*wanted, jobs []dray.BuildJob) bool {
	if len(jobs) != len(list) {
		return false
	}
	for n, w := range list {
		p := w.path()
		local := strings.HasPrefix(p, ".") || filepath.IsAbs(p)
		if strings.Contains(p, "...") || !local && p != jobs[n].Builder.Name() {
			return false
		}
	}
	return true
}

// programs looks for programs one by one, and numbers them: references may mean
// the same. first are those that mean each for the first time.
func (r *referring) programs(list []*wanted) (first []*wanted, err error) {
	var names []string
	for _, w := range list {
		jobs, err := r.goKind.jobs(r.goKind.Command, r.goKind.o, []string{w.path()})
		if err != nil {
			return nil, w.fail(err)
		}
		if len(jobs) != 1 {
			return nil, w.fail(oci.Errorf(oci.ErrInvalid, "it means %d programs, not one", len(jobs)))
		}
		name := jobs[0].Builder.Name()
		if w.job = slices.Index(names, name); w.job < 0 {
			w.job = len(names)
			names, first = append(names, name), append(first, w)
		}
	}
	return first, nil
}
