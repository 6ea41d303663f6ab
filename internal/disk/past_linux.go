// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	pastFrom  = 16 << 20 // bytes; what comes after them goes past the page cache
	pastBlock = 4096     // bytes; the alignment that disks want
)

// past writes a file that gets large past the page cache, where the file system
// is known to do that well: the file is synced anyway, and copying it into
// memory first costs as much as hashing it, and takes the memory of others.
type past struct {
	w      io.Writer
	n      int64
	file   *os.File // nil: not possible
	direct bool
}

func (p *past) Write(b []byte) (int, error) {
	whole := len(b)%pastBlock == 0
	before := p.n
	if p.n += int64(len(b)); before < pastFrom && p.n >= pastFrom {
		p.file = suited(p.w)
	}
	switch {
	case p.file == nil:
	case !whole: // what comes after it is not at a block
		p.end()
	case !p.direct:
		p.set(true)
	}
	n, err := p.w.Write(b)
	if p.direct && n == 0 && errors.Is(err, unix.EINVAL) {
		p.end()
		return p.w.Write(b)
	}
	return n, err
}

// end makes the file an ordinary one again.
func (p *past) end() {
	if p.direct {
		p.set(false)
	}
	p.file = nil
}

func (p *past) set(direct bool) {
	p.control(func(fd uintptr) error {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		if flags &^= unix.O_DIRECT; direct {
			flags |= unix.O_DIRECT
		}
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
		return err
	})
	p.direct = direct
}

func (p *past) control(f func(fd uintptr) error) {
	c, err := p.file.SyscallConn()
	if err == nil {
		cerr := c.Control(func(fd uintptr) { err = f(fd) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		p.file, p.direct = nil, false
	}
}

// suited is w as a file whose system writes past its cache as fast as into it,
// if its position is at a block.
func suited(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	var fs unix.Statfs_t
	if err != nil || at%pastBlock != 0 || unix.Fstatfs(int(f.Fd()), &fs) != nil {
		return nil
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC && fs.Type != unix.XFS_SUPER_MAGIC {
		return nil
	}
	return f
}
