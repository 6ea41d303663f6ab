// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"io"

	"github.com/dray-tools/dray/oci"
)

// readHead reads the beginning of the file, and checks and closes it if that
// is all of it.
func (i *item) readHead() error {
	buf := heads.Get().(*[headSize + 1]byte)
	n, err := io.ReadFull(i.f, buf[:min(i.h.Size+1, headSize)])
	i.head = buf[:n]
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	if i.h.Size >= headSize && n == headSize {
		return nil // the rest follows
	}
	if int64(n) != i.h.Size {
		return changed(i.h.Name, nil)
	}
	return i.finish()
}

// finish checks that the file is as it was when it was opened, and closes it.
func (i *item) finish() error {
	now, err := i.f.Stat()
	i.f.Close()
	i.f = nil
	if err == nil && (now.Size() != i.info.Size() || !now.ModTime().Equal(i.info.ModTime())) {
		err = changed(i.h.Name, nil)
	}
	return err
}

// close lets go of an item that nobody wants any more.
func (i *item) close() {
	if i.ready != nil {
		<-i.ready
	}
	if i.f != nil {
		i.f.Close()
	}
}

// write takes the items in their order and writes them.
func (c *creator) write(ctx context.Context, tw *tar.Writer) error {
	buf := make([]byte, headSize)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case i, more := <-c.queue:
			if !more {
				return nil
			}
			if err := c.writeItem(ctx, tw, i, buf); err != nil {
				i.close()
				return err
			}
		}
	}
}

func (c *creator) writeItem(ctx context.Context, tw *tar.Writer, i *item, buf []byte) error {
	if i.ready != nil {
		<-i.ready
	}
	if i.err != nil {
		return i.err
	}
	if err := tw.WriteHeader(i.h); err != nil {
		return oci.Wrap("", oci.Quote(i.h.Name), err)
	}
	c.done.Entries++
	c.done.Bytes += i.h.Size
	if i.head == nil {
		return nil
	}
	_, err := tw.Write(i.head)
	heads.Put((*[headSize + 1]byte)(i.head[:headSize+1]))
	if err != nil || i.f == nil {
		return err
	}
	rest := &limited{ctx, i, i.h.Size - int64(len(i.head))}
	if _, err := io.CopyBuffer(onlyWriter{tw}, rest, buf); err != nil {
		return err
	}
	return i.finish()
}

// limited is the rest of a file that must have just that many bytes.
type limited struct {
	ctx  context.Context
	i    *item
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := context.Cause(l.ctx); err != nil {
		return 0, err
	}
	n, err := l.i.f.Read(p[:min(int64(len(p)), max(l.left, 1))])
	if l.left -= int64(n); l.left < 0 || err == io.EOF && l.left > 0 {
		return 0, changed(l.i.h.Name, nil)
	}
	return n, err
}
