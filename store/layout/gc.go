// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/dray-tools/dray/oci"
)

// DefaultGrace is how old something must be before GC removes it.
const DefaultGrace = time.Hour

// GCOptions say what GC may remove. The zero value removes what nothing has
// named for an hour.
type GCOptions struct {
	// Grace protects what is younger: blobs of a copy that has not come to
	// its tag yet. It must be longer than the longest copy. Zero means
	// DefaultGrace, less than zero none at all: then no copy may be running.
	// Half blobs below ingest are kept for an hour at least.
	Grace time.Duration
	// DryRun removes nothing and reports what would be removed.
	DryRun bool
	// Sparse accepts manifests that are named by an index but not there.
	Sparse bool
	// Now is the clock; nil means that of the file system the layout is on.
	Now func() time.Time
}

// A Report tells what GC did.
type Report struct {
	Layouts   int       `json:"layouts"`   // that were looked through
	Kept      int       `json:"kept"`      // blobs and manifests
	Referrers int       `json:"referrers"` // entries whose subject is gone
	Bytes     int64     `json:"bytes"`     // in the files removed
	Removed   []Removed `json:"removed"`   // blobs, manifests and half blobs
}

// Removed is a file that GC has removed.
type Removed struct {
	Path string `json:"path"` // absolute
	Size int64  `json:"size"`
}

// GC removes the blobs of a layout that nothing in index.json leads to, and
// half blobs that nobody has worked on. Referrers without a name (signatures,
// SBOMs) live as long as their subject. dir is one layout, or a tree of them,
// each of which is treated for itself.
//
// It runs under the lock of the layout; a Put that meets an old blob refreshes
// it. If a manifest cannot be read, GC stops with the error and has removed
// nothing from that layout.
func GC(ctx context.Context, dir string, o GCOptions) (Report, error) {
	var r Report
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	t := Tree(dir, Options{}).(*tree)
	if t.single() {
		return r, t.dirOf("", "").gc(ctx, o, &r)
	}
	if _, err := os.Stat(t.dir); err != nil {
		return r, err
	}
	names, err := t.walk(ctx, isLayout)
	if err != nil {
		return r, err
	}
	for _, n := range names {
		if err := t.repository(n).gc(ctx, o, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (l *Dir) gc(ctx context.Context, o GCOptions, r *Report) error {
	root, err := l.reading(ctx)
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := l.lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := storeTime(root, o.Now)
	if err != nil {
		return oci.Wrap("gc", l.place.String(), err)
	}
	x, err := l.index(root)
	if err != nil {
		return err
	}
	s := &sweep{l: l, root: root, o: o, now: now, live: map[oci.Digest]bool{}, seen: map[oci.Digest]bool{}, r: r}
	x = x.clone()
	if err := s.mark(ctx, x); err != nil {
		return oci.Wrap("gc", l.place.String(), err)
	}
	if !o.DryRun {
		if err := l.save(root, x); err != nil {
			return err
		}
	}
	r.Layouts++
	r.Kept += len(s.live)
	return oci.Wrap("gc", l.place.String(), s.run(ctx))
}

// storeTime is the time by the clock that also stamps the files: that of a
// file server may differ from ours.
func storeTime(root *os.Root, now func() time.Time) (time.Time, error) {
	if now != nil {
		return now(), nil
	}
	f, name, err := newTemp(root)
	if err != nil {
		return time.Time{}, err
	}
	defer root.Remove(ingestDir)
	defer root.Remove(name)
	defer f.Close()
	if _, err := f.WriteString("now"); err != nil {
		return time.Time{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return fi.ModTime(), nil
}

// A sweep is one run of GC over one layout, under its lock.
type sweep struct {
	l    *Dir
	root *os.Root
	o    GCOptions
	now  time.Time
	live map[oci.Digest]bool
	seen map[oci.Digest]bool // of live, what was looked into
	r    *Report
}

// mark finds what is alive, and drops from x the referrers that are not.
func (s *sweep) mark(ctx context.Context, x *index) error {
	type weak struct {
		d  oci.Descriptor
		of oci.Digest
	}
	var waiting []weak
	for i := range x.entries {
		e := &x.entries[i]
		if e.err != nil {
			return e.err
		}
		if len(e.names()) == 0 && oci.IsManifest(e.d.MediaType) {
			sub, err := s.l.subject(s.root, e.d)
			if err != nil {
				return err
			}
			if sub.of != "" && s.old(blobPath(e.d.Digest), s.o.Grace) {
				waiting = append(waiting, weak{e.d, sub.of})
				continue
			}
		}
		if err := s.reach(ctx, e.d, true); err != nil {
			return err
		}
	}
	for again := true; again; {
		again = false
		for i, w := range waiting {
			if w.of != "" && s.live[w.of] {
				again, waiting[i].of = true, ""
				if err := s.reach(ctx, w.d, true); err != nil {
					return err
				}
			}
		}
	}
	dead := map[oci.Digest]bool{}
	for _, w := range waiting {
		dead[w.d.Digest] = w.of != "" && !s.live[w.d.Digest]
	}
	s.r.Referrers += x.remove(func(e *entry) bool { return dead[e.d.Digest] && len(e.names()) == 0 })
	return nil
}

// reach marks a descriptor and all it leads to. What is not called a manifest
// is still looked into where it can be one.
func (s *sweep) reach(ctx context.Context, d oci.Descriptor, top bool) error {
	todo := []oci.Descriptor{d}
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if s.seen[d.Digest] {
			continue
		}
		s.seen[d.Digest], s.live[d.Digest] = true, true
		m, err := s.l.manifest(s.root, d)
		if err != nil && !oci.IsManifest(d.MediaType) {
			continue
		}
		if s.o.Sparse && errors.Is(err, oci.ErrNotFound) && !top {
			continue
		}
		if err != nil {
			return err
		}
		top = false
		for _, c := range m.Children() {
			if m.IsIndex() {
				todo = append(todo, c)
			} else {
				s.live[c.Digest] = true
			}
		}
	}
	return nil
}

// old reports whether a file has not been touched for that long.
func (s *sweep) old(name string, grace time.Duration) bool {
	fi, err := s.root.Lstat(name)
	return err == nil && s.now.Sub(fi.ModTime()) >= grace
}

// run removes what is not alive.
func (s *sweep) run(ctx context.Context) error {
	for _, alg := range algorithms {
		dir := path.Join(blobsDir, alg)
		err := s.each(ctx, dir, func(e fs.DirEntry) error {
			d, err := oci.ParseDigest(alg + ":" + e.Name())
			if err != nil || s.live[d] || !s.old(path.Join(dir, e.Name()), s.o.Grace) {
				return nil
			}
			return s.removeBlob(path.Join(dir, e.Name()), d)
		})
		if err != nil {
			return err
		}
	}
	err := s.each(ctx, ingestDir, func(e fs.DirEntry) error {
		name := path.Join(ingestDir, e.Name())
		if !s.old(name, max(s.o.Grace, DefaultGrace)) {
			return nil
		}
		return s.remove(name, name)
	})
	if !s.o.DryRun {
		s.root.Remove(ingestDir)
	}
	return err
}

// each calls do for the regular files of a directory.
func (s *sweep) each(ctx context.Context, dir string, do func(fs.DirEntry) error) error {
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.Type().IsRegular() {
			continue
		}
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

// removeBlob moves the file aside before it looks at its age for the last
// time: a Put that refreshes the blob without the lock either did so before,
// and gets it back, or finds nothing and sends it again.
func (s *sweep) removeBlob(name string, d oci.Digest) error {
	if s.o.DryRun {
		return s.remove(name, name)
	}
	aside := path.Join(ingestDir, "gc-"+d.Encoded()+".tmp")
	if err := s.root.Mkdir(ingestDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.root.Rename(name, aside); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	if !s.old(aside, s.o.Grace) {
		return s.root.Rename(aside, name)
	}
	s.l.known.drop(d)
	return s.remove(aside, name)
}

func (s *sweep) remove(file, shown string) error {
	fi, err := s.root.Lstat(file)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	if !s.o.DryRun {
		if err := s.root.Remove(file); err != nil {
			return ignore(err, fs.ErrNotExist)
		}
	}
	s.r.Bytes += fi.Size()
	s.r.Removed = append(s.r.Removed, Removed{filepath.Join(s.l.place.String(), filepath.FromSlash(shown)), fi.Size()})
	return nil
}
