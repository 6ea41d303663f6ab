// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// settled is the age from which on a file's time tells apart any two versions
// of it; file systems count in ticks of up to some ten milliseconds.
const settled = 100 * time.Millisecond

// An indexCache keeps the parsed index.json until the file changes.
type indexCache struct {
	mu sync.Mutex
	fi fs.FileInfo
	x  *index
}

// index reads index.json; the caller must not change what it gets.
func (l *Dir) index(root *os.Root) (*index, error) {
	l.cache.mu.Lock()
	defer l.cache.mu.Unlock()
	fi, err := disk.StatRegular(root, indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = oci.Errorf(oci.ErrCorrupt, "the layout has no file %s", indexFile)
	}
	if err != nil {
		return nil, oci.Wrap("", l.place.String(), err)
	}
	if old := l.cache.fi; old != nil && os.SameFile(old, fi) && old.Size() == fi.Size() && old.ModTime().Equal(fi.ModTime()) {
		return l.cache.x, nil
	}
	l.cache.fi = nil
	raw, err := disk.ReadFile(root, indexFile, maxIndex)
	if err != nil {
		return nil, oci.Wrap("", l.place.String(), err)
	}
	x, err := parseIndex(raw)
	if err != nil {
		return nil, oci.Wrap("", l.place.String(), err)
	}
	if time.Since(fi.ModTime()) > settled { // else it may change again without showing it
		l.cache.fi, l.cache.x = fi, x
	}
	return x, nil
}

// A change is one edit of index.json. If edit returns an error, nothing of it
// is kept.
type change struct {
	edit func(*os.Root, *index) error
	err  error
	done chan struct{}
}

// A changeQueue gathers the changes that goroutines want at the same time, so
// that they cost one lock, one write and one sync together.
type changeQueue struct {
	turn    chan struct{} // holds one token
	mu      sync.Mutex
	waiting []*change
}

func (q *changeQueue) init() {
	q.turn = make(chan struct{}, 1)
	q.turn <- struct{}{}
}

// take removes c from the queue; false if somebody is at it already.
func (q *changeQueue) take(c *change) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, c)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// change edits index.json under the lock of the layout. It returns when the
// new index.json is on disk.
func (l *Dir) change(ctx context.Context, root *os.Root, edit func(*os.Root, *index) error) error {
	q := &l.queue
	c := &change{edit: edit, done: make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	q.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		if q.take(c) {
			return ctx.Err()
		}
		<-c.done
		return c.err
	case <-q.turn:
	}
	defer func() { q.turn <- struct{}{} }()
	select {
	case <-c.done:
		return c.err
	default:
	}
	unlock, err := l.lock(ctx, root)
	if err != nil {
		q.take(c) // the others try for themselves
		return err
	}
	defer unlock()
	q.mu.Lock()
	batch := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	l.apply(root, batch)
	return c.err
}

// apply runs a batch of changes under the lock.
func (l *Dir) apply(root *os.Root, batch []*change) {
	x, err := l.index(root)
	if err == nil {
		x = x.clone()
		for _, c := range batch {
			next := x.clone()
			if c.err = c.edit(root, next); c.err == nil {
				x = next
			}
		}
		err = l.save(root, x)
	}
	for _, c := range batch {
		if c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// save writes index.json if it has changed. Before it points at blobs their
// names must be durable, also those that other processes have made.
func (l *Dir) save(root *os.Root, x *index) error {
	if !x.dirty {
		return nil
	}
	raw := x.bytes()
	if len(raw) > maxIndex {
		return oci.Errorf(oci.ErrInvalid, "%s would have %d bytes, more than %d", indexFile, len(raw), maxIndex)
	}
	for _, alg := range algorithms {
		if err := disk.SyncDir(root, blobsDir+"/"+alg); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return oci.Wrap("sync", l.place.String(), err)
		}
	}
	if err := writeFile(root, indexFile, raw); err != nil {
		return oci.Wrap("write", l.place.String(), err)
	}
	x.dirty = false
	return nil
}
