// SPDX-License-Identifier: Apache-2.0

// Package watch waits for files to change.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options say what counts as a change.
type Options struct {
	// Ignore are files and directories that do not count, with all below them, and
	// with the unfinished files that become them. Directories of version control
	// never do.
	Ignore []string
	// Quiet is how long nothing must have changed before Wait returns; 0: 100 ms.
	Quiet time.Duration
}

// A Watcher waits for changes of files and directories. It is for one goroutine.
type Watcher struct {
	quiet   time.Duration
	ignore  []string
	system  *fsnotify.Watcher
	trees   []string        // directories that count with all below them
	files   map[string]bool // files that count; their directories are watched, for editors replace files
	watched map[string]bool // directories
}

// New makes a watcher of nothing. The caller closes it.
func New(o Options) (*Watcher, error) {
	w := &Watcher{quiet: o.Quiet, files: map[string]bool{}, watched: map[string]bool{}}
	if w.quiet == 0 {
		w.quiet = 100 * time.Millisecond
	}
	w.Ignore(o.Ignore...)
	var err error
	w.system, err = fsnotify.NewWatcher()
	return w, err
}

// Ignore adds files and directories whose changes do not count.
func (w *Watcher) Ignore(paths ...string) {
	for _, path := range paths {
		if path = real(path); !slices.Contains(w.ignore, path) {
			w.ignore = append(w.ignore, path)
		}
	}
}

// real is the path that the system tells of; that of the nearest directory that
// is there, of what is not.
func real(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if dir, err := filepath.EvalSymlinks(abs); err == nil {
		return dir
	}
	if up := filepath.Dir(abs); up != abs {
		return filepath.Join(real(up), filepath.Base(abs))
	}
	return abs
}

// Close ends the watching.
func (w *Watcher) Close() error { return w.system.Close() }

// Add watches more files and directories, the latter with all below them. What
// is not there yet is watched for. It returns what has changed since a time among
// that which was not watched before.
func (w *Watcher) Add(paths []string, since time.Time) (changed []string, err error) {
	for _, path := range paths {
		path = real(path)
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			if !slices.Contains(w.trees, path) {
				w.trees = append(w.trees, path)
			}
			more, err := w.tree(path, since)
			if changed = append(changed, more...); err != nil {
				return changed, err
			}
			continue
		}
		if !w.files[path] && err == nil && info.ModTime().After(since) {
			changed = append(changed, path)
		}
		w.files[path] = true
		if err := w.dir(filepath.Dir(path)); err != nil && !gone(err) {
			return changed, err
		}
	}
	return changed, nil
}

// gone reports whether something is not there, or cannot be seen: then the build
// will say so.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) }

// tree watches a directory and all below it.
func (w *Watcher) tree(top string, since time.Time) (changed []string, err error) {
	fresh := map[string]bool{} // directories that were not watched
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && !gone(err):
			return err
		case err != nil:
			return nil
		case path != top && w.ignored(path):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		isNew := fresh[filepath.Dir(path)]
		if d.IsDir() {
			isNew = !w.watched[path]
			fresh[path] = isNew
			if err := w.dir(path); err != nil && !gone(err) {
				return err
			}
		}
		if d.IsDir() && w.holdsIgnored(path) {
			return nil // it says no more than that those were written
		}
		if info, err := d.Info(); err == nil && isNew && info.ModTime().After(since) {
			changed = append(changed, path)
		}
		return nil
	})
	return changed, err
}

func (w *Watcher) dir(path string) error {
	if w.watched[path] {
		return nil
	}
	if err := w.system.Add(path); err != nil {
		if errors.Is(err, syscall.ENOSPC) { // as inotify says it
			err = fmt.Errorf("%w: there are more directories than the system watches for one user", syscall.ENOSPC)
		}
		return fmt.Errorf("watch %s: %w", path, err)
	}
	w.watched[path] = true
	return nil
}

// Wait waits until something has changed and then nothing for a while, and
// returns the paths. What changed since the last call counts. It returns an error
// when the context ends, or if the system cannot watch any more.
func (w *Watcher) Wait(ctx context.Context) ([]string, error) {
	return settle(ctx, w.quiet, w.system.Events, w.system.Errors, w.counts)
}

// settle collects changes until none has come for a while.
func settle(ctx context.Context, quiet time.Duration, events <-chan fsnotify.Event, errs <-chan error, counts func(fsnotify.Event) []string) ([]string, error) {
	var paths []string
	var calm <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case err, ok := <-errs:
			if !ok {
				return nil, os.ErrClosed
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) { // else too much has changed to be told
				return nil, err
			}
			calm = time.After(quiet)
		case e, ok := <-events:
			if !ok {
				return nil, os.ErrClosed
			}
			for _, path := range counts(e) {
				if calm = time.After(quiet); !slices.Contains(paths, path) && len(paths) < 100 {
					paths = append(paths, path)
				}
			}
		case <-calm:
			slices.Sort(paths)
			return paths, nil
		}
	}
}

// counts are the changes that an event tells of. New directories are watched, and
// what is in them already has changed.
func (w *Watcher) counts(e fsnotify.Event) []string {
	if w.ignored(e.Name) {
		return nil
	}
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		delete(w.watched, e.Name) // what comes under its name next is another
	}
	if w.files[e.Name] {
		return []string{e.Name}
	}
	if !slices.ContainsFunc(w.trees, func(top string) bool { return within(e.Name, top) }) {
		return nil
	}
	paths := []string{e.Name}
	if info, err := os.Lstat(e.Name); err == nil && info.IsDir() && e.Has(fsnotify.Create) {
		more, _ := w.tree(e.Name, time.Time{}) // what cannot be watched is told by the build
		paths = append(paths, more...)
	}
	return paths
}

// ignored reports whether changes of a path do not count.
func (w *Watcher) ignored(path string) bool {
	if slices.ContainsFunc(w.ignore, func(top string) bool { return within(path, top) || unfinished(path, top) }) {
		return true
	}
	for _, top := range w.trees {
		if rest, ok := strings.CutPrefix(path, top+string(filepath.Separator)); ok {
			for _, name := range strings.Split(rest, string(filepath.Separator)) {
				if slices.Contains([]string{".git", ".hg", ".svn", ".jj"}, name) {
					return true
				}
			}
		}
	}
	return false
}

// holdsIgnored reports whether something in a directory is ignored.
func (w *Watcher) holdsIgnored(dir string) bool {
	return slices.ContainsFunc(w.ignore, func(path string) bool { return filepath.Dir(path) == dir })
}

// unfinished reports whether a path is that of an unfinished file or directory
// which becomes another, or is in one.
func unfinished(path, whole string) bool {
	dir, base := filepath.Split(whole)
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (strings.HasPrefix(rest, base+".dray-") || strings.HasPrefix(rest, "."+base+".part"))
}

func within(path, top string) bool {
	return path == top || strings.HasPrefix(path, strings.TrimSuffix(top, string(filepath.Separator))+string(filepath.Separator))
}
