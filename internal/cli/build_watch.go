// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/internal/watch"
	"github.com/dray-tools/dray/ref"
)

// buildWatched builds, waits for changes and builds again, until it is
// interrupted. A build that goes wrong is told of, and the next change waited
// for.
func (a *app) buildWatched(c *cobra.Command, o *buildFlags, ask func() ([]dray.BuildJob, error)) error {
	if o.edit.dryRun {
		return usage(c, errors.New("--watch and --dry-run exclude each other"))
	}
	w, err := watch.New(watch.Options{Ignore: a.written(o)})
	if err != nil {
		return err
	}
	defer w.Close()
	ctx := c.Context()
	for watching := false; ; a.renew() {
		began := time.Now()
		changed, err := w.Add(o.watched, began)
		if err != nil {
			return err
		}
		jobs, err := ask()
		w.Ignore(o.writes...)
		for _, j := range jobs {
			w.Ignore(onDisk(j.Targets)...)
		}
		if err == nil {
			err = a.buildJobs(c, o, jobs)
		}
		if cause := interruption(ctx, err); cause != nil {
			return cause
		}
		for _, j := range jobs {
			more, err := w.Add(watchedBy(ctx, j.Builder), began)
			if changed = append(changed, more...); err != nil {
				return err
			}
		}
		if u := (usageError{}); err != nil && !watching && (len(jobs) == 0 || errors.As(err, &u)) {
			return err // that no change of a file will mend
		}
		watching = true
		a.tell(err)
		if len(changed) == 0 {
			a.note("waiting for changes")
			if changed, err = w.Wait(ctx); err != nil {
				return err
			}
		}
		a.note("%s", changes(changed))
	}
}

// watchedBy are the paths that a builder reads. One that does not know, maybe
// because what it reads is broken, is called by its directory.
func watchedBy(ctx context.Context, b build.Builder) []string {
	if x, ok := b.(build.Watcher); ok {
		if paths, err := x.Watch(ctx); err == nil {
			return paths
		}
	}
	return []string{b.Name()}
}

// written are the places on disk that builds write to, whose changes mean
// nothing.
func (a *app) written(o *buildFlags) []string {
	all := onDisk(append(o.edit.Targets, o.output...))
	for _, path := range []string{o.metadata, o.attest.dir, a.env.CacheDir} {
		if path != "" {
			all = append(all, path)
		}
	}
	return append(all, o.writes...)
}

// onDisk are the paths of references to places on disk.
func onDisk(names []string) (all []string) {
	for _, name := range names {
		if r, err := ref.ParseAny(name); err == nil && r.Path != "" {
			all = append(all, r.Path)
		}
	}
	return all
}

// changes names what has changed.
func changes(paths []string) string {
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	if len(names) == 0 {
		return "files have changed"
	}
	return "changed: " + strings.Join(names, ", ")
}

// renew begins another run: what was learnt about registries may not be so any
// more.
func (a *app) renew() {
	a.client.Close()
	a.client = dray.New(a.env)
}
