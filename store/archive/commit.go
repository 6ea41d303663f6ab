// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"github.com/dray-tools/dray/oci"
)

// Commit implements oci.Committer: it completes the archive and renames it over
// the old one, whose images stay. What was put and is not below what was
// published or tagged is dropped. Writers of one archive wait for one another
// here, and each begins with what the one before has left. ErrNotFound if
// something below a new image is missing, ErrBusy if another program has
// overwritten it meanwhile, or a name no longer means what Move wants. Blobs of the old archive are verified as they are
// copied: ErrCorrupt.
//
// A stream gets its end; nothing can be put after it.
func (a *Archive) Commit(ctx context.Context) error {
	if err := a.writable(); err != nil {
		return err
	}
	release, err := a.writing.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if len(a.pending.namings()) == 0 {
		return a.reset(oci.Errorf(oci.ErrInvalid, "the stream has no image"))
	}
	if a.file == "" {
		err = a.finish(ctx)
	} else {
		err = a.replace(ctx)
	}
	return oci.Wrap("write", a.place, err)
}

// finish completes a stream.
func (a *Archive) finish(ctx context.Context) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	defer a.watch(ctx)()
	if a.pending.broken != nil {
		return a.pending.broken
	}
	r, list, err := a.reach(ctx, &contents{})
	if err != nil {
		return err
	}
	if err := a.documents(ctx, r, newIndex(), list); err != nil {
		return err
	}
	return a.reset(oci.Errorf(oci.ErrInvalid, "the stream is complete"))
}

// replace completes the part and puts it in the place of the archive.
func (a *Archive) replace(ctx context.Context) error {
	unlock, err := hold(ctx, a.file+".dray-lock", true)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := a.refresh(ctx)
	if err == nil {
		err = a.moved(ctx, c)
	}
	if err != nil {
		return err
	}
	r, list, err := a.reach(ctx, c)
	if err != nil {
		return err
	}
	s := a.pending
	if !c.empty() && !c.legacy && slices.Equal(list, c.entries) && !slices.ContainsFunc(s.order, func(d oci.Digest) bool { return r.seen[d] }) {
		return a.reset(nil) // it says all that already
	}
	if err := a.begin(ctx); err != nil {
		return err
	}
	if err := s.compact(ctx, r.seen); err != nil {
		return err
	}
	end := s.end
	index := c.index
	if index == nil || a.o.Kind == Docker {
		index = newIndex()
	}
	if err := a.documents(ctx, r, index, list); err != nil {
		s.end = end
		return err
	}
	if runtime.GOOS == "windows" { // where a file that is open cannot be replaced
		c.close()
	}
	if err := s.part.place(a.file, s.end); err != nil {
		s.end = end
		return err
	}
	a.mu.Lock()
	a.opened = append(a.opened, c.file, s.part.f) // for who still reads
	a.base = nil
	a.mu.Unlock()
	s.mu.Lock()
	taken := s.part
	s.part = nil
	s.mu.Unlock()
	taken.release()
	return a.reset(nil)
}

// refresh reads the archive again if it has changed.
func (a *Archive) refresh(ctx context.Context) (*contents, error) {
	c, err := a.contents(ctx)
	if err != nil {
		return nil, err
	}
	now, err := os.Stat(a.file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.empty():
		return c, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err == nil && !c.empty() && os.SameFile(now, c.file.info) && now.Size() == c.file.info.Size() && now.ModTime().Equal(c.file.info.ModTime()):
		return c, nil
	}
	a.mu.Lock()
	a.old = append(a.old, c)
	a.base = nil
	a.mu.Unlock()
	return a.contents(ctx)
}

// reach finds what the archive will be: its entries and all they lead to.
func (a *Archive) reach(ctx context.Context, c *contents) (*reach, []*entry, error) {
	list, err := a.merge(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	a.mu.Lock()
	from := slices.Concat([]*contents{c}, a.old)
	a.mu.Unlock()
	r := &reach{a: a, from: from, seen: map[oci.Digest]bool{}, parsed: map[oci.Digest]bool{}, manifests: map[oci.Digest]*oci.Manifest{}}
	list, err = r.all(ctx, c, list)
	return r, list, err
}

// compact takes the blobs that nothing leads to out of the part.
func (s *session) compact(ctx context.Context, live map[oci.Digest]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var end int64
	for _, d := range s.order {
		at, gone := s.blobs[d], !live[d]
		head, err := header(blobName(d), at.size)
		if err != nil {
			return err
		}
		from, total := at.off-int64(len(head)), int64(len(head))+at.size+padding(at.size)
		if gone {
			delete(s.blobs, d)
			continue
		}
		if from != end { // forwards within one file, in pieces that are read before they are written
			if _, err := copyTo(ctx, io.NewOffsetWriter(s.part.f, end), io.NewSectionReader(s.part.f, from, total)); err != nil {
				return err
			}
			s.blobs[d] = span{end + int64(len(head)), at.size}
		}
		end += total
	}
	s.order = slices.DeleteFunc(s.order, func(d oci.Digest) bool { return !live[d] })
	s.end = end
	return nil
}

// documents writes what follows the blobs of the session: those of the old
// archive that stay, what lists the images, and the end of the tar.
func (a *Archive) documents(ctx context.Context, r *reach, index *document, list []*entry) error {
	s := a.pending
	for _, f := range r.copies {
		if _, err := s.append(ctx, blobName(f.d.Digest), f.d.Size, oci.Verify(io.NopCloser(again(f.r)), f.d)); err != nil {
			return busy(err, f.late)
		}
	}
	var docs []text
	if a.o.Kind == Docker {
		var err error
		if docs, err = a.dockerDocuments(ctx, r, list); err != nil {
			return err
		}
		list = dockerEntries(list)
	}
	raw, err := index.bytes(list)
	if err != nil {
		return err
	}
	docs = append(docs, text{indexName, raw}, text{layoutName, []byte(layoutContent)})
	for _, d := range docs {
		if _, err := s.append(ctx, d.name, int64(len(d.raw)), section(d.raw)); err != nil {
			return err
		}
	}
	w := s.out
	if s.part != nil {
		w = io.NewOffsetWriter(s.part.f, s.end)
	}
	n, err := w.Write(make([]byte, 1024)) // the end of a tar
	s.end += int64(n)
	return err
}
