// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// CreateOptions say how a directory becomes a layer.
type CreateOptions struct {
	Packing Packing // not of WriteTar
	// Prefix is the directory of the image that the content is put below. It gets an
	// entry with the mode and owner of the source. A single file becomes it, or is
	// put into it if there is a slash at its end.
	Prefix string
	// Time is what every entry says; the zero value is the beginning of 1970.
	Time time.Time
	// KeepTime keeps the times of files, to the second, but none after Time, unless
	// that is zero.
	KeepTime bool
	// KeepOwner keeps owners, and setuid and setgid with them. Without it all
	// belongs to root, where those bits would give away root's rights.
	KeepOwner bool
	// Owner is whom everything belongs to instead; nil: root.
	Owner *Owner
	// Mode changes the modes of files and directories, last of all.
	Mode Mode
}

// Created is a layer that Create has written.
type Created struct {
	Descriptor oci.Descriptor // with annotations, if the packing has some
	DiffID     oci.Digest
	Entries    int
	Bytes      int64 // of the files
	Sockets    int   // left out: they mean nothing in a layer
}

// Create writes a layer with all that is in a directory, but not the directory
// itself unless that has a Prefix, or with a single file. Equal content gives
// equal bytes whoever runs it: entries are in order, links are kept as they are
// and never followed, hard links stay hard links, capabilities are kept, other
// attributes are not. Nothing outside of src is read. ErrInvalid for what a layer
// cannot hold, or if w is a file in src; ErrBusy if a file changes while it is read.
func Create(ctx context.Context, w io.Writer, src string, o CreateOptions) (Created, error) {
	z, err := o.Packing.NewWriter(w)
	if err != nil {
		return Created{}, err
	}
	done, err := create(ctx, z, w, src, o)
	if err != nil {
		z.abort()
		return Created{}, err
	}
	if err := z.Close(); err != nil {
		return Created{}, err
	}
	p := z.Packed()
	done.DiffID = p.DiffID
	done.Descriptor = oci.Descriptor{MediaType: o.Packing.MediaType(oci.MediaLayer), Digest: p.Digest, Size: p.Size, Annotations: p.Annotations}
	return done, nil
}

// regularFile is what a writer writes to, or nil.
func regularFile(w io.Writer) fs.FileInfo {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}

const (
	readAhead = 32        // entries
	headSize  = 256 << 10 // bytes of each file that are read ahead
	readers   = 4
	maxDeep   = 500 // directories within directories, each of which is kept open
)

// A creator is a pipe: one goroutine walks the directory, some read the
// beginnings of the files ahead, and the caller's writes the tar.
type creator struct {
	o     CreateOptions
	self  fs.FileInfo           // of the file that the layer is written to, if it is one
	links map[disk.Inode]string // where files with several names were first
	queue chan *item            // in order
	work  chan *item            // those of queue with a file
	done  Created
}

// An item is an entry on its way through the pipe.
type item struct {
	h     *tar.Header
	f     *os.File // not yet read to its end
	info  fs.FileInfo
	head  []byte
	err   error
	ready chan struct{} // closed when head is there
}

var heads = sync.Pool{New: func() any { return new([headSize + 1]byte) }}

func (c *creator) run(ctx context.Context, src *placed, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var walked error
	wg.Go(func() {
		defer close(c.queue)
		defer close(c.work)
		if src.file == "" {
			walked = c.all(ctx, src)
		} else {
			walked = c.single(ctx, src)
		}
	})
	for range readers {
		wg.Go(func() {
			for i := range c.work {
				i.err = i.readHead()
				close(i.ready)
			}
		})
	}
	tw := tar.NewWriter(w)
	err := c.write(ctx, tw)
	cancel()
	for i := range c.queue { // after an error
		i.close()
	}
	wg.Wait()
	if err == nil {
		err = walked
	}
	if err == nil {
		err = tw.Close()
	}
	return err
}

// walk queues what is in a directory in byte order, with what is below a
// directory right after it.
func (c *creator) walk(ctx context.Context, root *os.Root, prefix string, depth int) error {
	if depth > maxDeep {
		return oci.Errorf(oci.ErrInvalid, "%s: directories are nested more than %d deep", oci.Quote(prefix), maxDeep)
	}
	names, err := list(root)
	if err != nil {
		return changed(prefix, err)
	}
	for _, name := range names {
		info, err := root.Lstat(name)
		if err != nil {
			return changed(prefix+name, err)
		}
		if strings.HasPrefix(name, whiteoutPrefix) {
			return checkHidden(prefix + name)
		}
		if info.Mode()&fs.ModeSocket != 0 {
			c.done.Sockets++
			continue
		}
		i, err := c.item(root, prefix, name, info)
		if err != nil {
			return err
		}
		if err := c.send(ctx, i); err != nil {
			return err
		}
		if info.IsDir() {
			if err := c.walkInto(ctx, root, prefix, name, info, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func list(root *os.Root) ([]string, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (c *creator) walkInto(ctx context.Context, root *os.Root, prefix, name string, info fs.FileInfo, depth int) error {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return changed(prefix+name, err)
	}
	defer sub.Close()
	if now, err := sub.Stat("."); err != nil || !os.SameFile(now, info) {
		return changed(prefix+name, err)
	}
	return c.walk(ctx, sub, prefix+name+"/", depth+1)
}

// changed is the error for what is no longer what it was a moment ago.
func changed(name string, err error) error {
	if err == nil || os.IsNotExist(err) {
		return oci.Errorf(oci.ErrBusy, "%s was changed while it was read", oci.Quote(name))
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok { // its own path begins at the directory
		return &fs.PathError{Op: e.Op, Path: name, Err: e.Err}
	}
	return err
}

// send puts an item into the queue, and first to those who read ahead.
func (c *creator) send(ctx context.Context, i *item) error {
	if i.f != nil {
		i.ready = make(chan struct{})
		select {
		case c.work <- i:
		case <-ctx.Done():
			i.f.Close()
			return context.Cause(ctx)
		}
	}
	select {
	case c.queue <- i:
		return nil
	case <-ctx.Done():
		i.close()
		return context.Cause(ctx)
	}
}

// item makes the header of a file, and opens it if it has content.
func (c *creator) item(root *os.Root, prefix, name string, info fs.FileInfo) (*item, error) {
	i := &item{h: &tar.Header{Name: prefix + name, ModTime: c.time(info), Mode: int64(info.Mode().Perm())}, info: info}
	st := disk.StatOf(info)
	c.owner(i.h, info, st)
	i.h.Mode = c.o.Mode.Apply(i.h.Mode, info.IsDir())
	switch mode := info.Mode(); {
	case mode.IsDir():
		i.h.Typeflag, i.h.Name = tar.TypeDir, i.h.Name+"/"
	case mode&fs.ModeSymlink != 0:
		i.h.Typeflag, i.h.Mode = tar.TypeSymlink, 0o777
		var err error
		if i.h.Linkname, err = root.Readlink(name); err != nil {
			return nil, changed(i.h.Name, err)
		}
	case mode&fs.ModeNamedPipe != 0:
		i.h.Typeflag = tar.TypeFifo
	case mode&fs.ModeCharDevice != 0:
		i.h.Typeflag, i.h.Devmajor, i.h.Devminor = tar.TypeChar, st.Major, st.Minor
	case mode&fs.ModeDevice != 0:
		i.h.Typeflag, i.h.Devmajor, i.h.Devminor = tar.TypeBlock, st.Major, st.Minor
	case mode.IsRegular():
		return i, c.regular(i, root, name, st)
	default:
		return nil, oci.Errorf(oci.ErrInvalid, "%s: a layer cannot hold a file of the kind %s", oci.Quote(i.h.Name), mode.Type())
	}
	return i, nil
}

func (c *creator) time(info fs.FileInfo) time.Time {
	if t := info.ModTime(); c.o.KeepTime && (c.o.Time.IsZero() || t.Before(c.o.Time)) {
		return t.Truncate(time.Second)
	}
	if c.o.Time.IsZero() {
		return time.Unix(0, 0)
	}
	return c.o.Time.Truncate(time.Second)
}

func (c *creator) owner(h *tar.Header, info fs.FileInfo, st disk.Stat) {
	if info.Mode()&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	if !st.Known { // Windows, which does not know who may execute what
		h.Mode = 0o755
	}
	switch {
	case c.o.Owner != nil:
		h.Uid, h.Gid = c.o.Owner.UID, c.o.Owner.GID
		return
	case !c.o.KeepOwner:
		return
	}
	h.Uid, h.Gid = st.UID, st.GID
	if info.Mode()&fs.ModeSetuid != 0 {
		h.Mode |= 0o4000
	}
	if info.Mode()&fs.ModeSetgid != 0 {
		h.Mode |= 0o2000
	}
}

func (c *creator) regular(i *item, root *os.Root, name string, st disk.Stat) error {
	i.h.Typeflag = tar.TypeReg
	if st.Links > 1 {
		if first, again := c.links[st.Inode]; again {
			i.h.Typeflag, i.h.Linkname = tar.TypeLink, first
			return nil
		}
		c.links[st.Inode] = i.h.Name
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe may have taken its place
	if err != nil {
		return changed(i.h.Name, err)
	}
	now, err := f.Stat()
	if err != nil || !os.SameFile(now, i.info) || !now.Mode().IsRegular() {
		f.Close()
		return changed(i.h.Name, err)
	}
	if c.self != nil && os.SameFile(now, c.self) {
		f.Close()
		return oci.Errorf(oci.ErrInvalid, "%s is what the layer is written to: it cannot be in the directory that it is made of", oci.Quote(i.h.Name))
	}
	i.f, i.info, i.h.Size = f, now, now.Size()
	if caps := disk.Capabilities(f); caps != "" {
		i.h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": caps}
	}
	return nil
}
