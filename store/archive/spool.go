// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// What a compressed archive may become on disk: ratio times its bytes beyond
// what is free, and no more than maxSpool.
const (
	freeSpool  = 4 << 30
	spoolRatio = 200
	maxSpool   = 1 << 40
)

// A file is a plain tar that can be read anywhere.
type file struct {
	io.ReaderAt
	size int64
	info fs.FileInfo // of the archive's file; nil for a stream
	done func()
}

func (f *file) close() {
	if f != nil && f.done != nil {
		f.done()
	}
}

// Close implements io.Closer.
func (f *file) Close() error {
	f.close()
	return nil
}

// source opens the archive: a regular file as it is, anything else as an
// unpacked copy without a name.
func (a *Archive) source(ctx context.Context) (*file, error) {
	in := a.o.In
	if a.file != "" {
		f, err := openFile(ctx, a.file, os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		in = f
	} else if in == nil {
		return nil, oci.Errorf(oci.ErrInvalid, "no stream to read from")
	}
	f, ok := in.(*os.File)
	if ok {
		plain, err := a.direct(f)
		if plain != nil {
			return plain, nil
		}
		if a.file != "" {
			defer f.Close()
			defer interrupt(ctx, f)()
		}
		if err != nil {
			return nil, err
		}
		if a.o.Write {
			return nil, oci.Errorf(oci.ErrUnsupported, "it is compressed: unpack it before adding to it")
		}
	}
	return a.spool(ctx, in)
}

// direct uses a regular file that is not compressed, from where it stands; nil
// if it is not one.
func (a *Archive) direct(f *os.File) (*file, error) {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return nil, err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	var head [6]byte
	n, err := f.ReadAt(head[:], at)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if layer.Sniff(head[:n]) != layer.None {
		return nil, nil
	}
	out := &file{ReaderAt: io.NewSectionReader(f, at, fi.Size()-at), size: fi.Size() - at, info: fi}
	if a.file != "" {
		out.done = func() { f.Close() }
	}
	return out, nil
}

// spool unpacks a stream into a temporary file.
func (a *Archive) spool(ctx context.Context, in io.Reader) (_ *file, err error) {
	temp, err := os.CreateTemp(a.o.TempDir, "dray-archive-*")
	if err != nil {
		return nil, err
	}
	remove := func() { os.Remove(temp.Name()) }
	remove() // where an open file can lose its name
	out := &file{ReaderAt: temp, done: func() { temp.Close(); remove() }}
	defer func() {
		if err != nil {
			out.close()
		}
	}()
	q := &quota{in: in}
	plain, kind, err := layer.Decompress(q)
	if err != nil {
		return nil, cut(ctx, err)
	}
	defer plain.Close()
	q.bounded = kind != layer.None
	out.size, err = copyTo(ctx, temp, q.limit(plain))
	if f, ok := in.(*os.File); ok && a.file != "" && err == nil {
		out.info, err = f.Stat()
	}
	return out, err
}

// A quota counts what goes into a decompressor and bounds what comes out.
type quota struct {
	in      io.Reader
	read    atomic.Int64 // decompressors read ahead in goroutines
	out     int64
	bounded bool
}

func (q *quota) Read(p []byte) (int, error) {
	n, err := q.in.Read(p)
	q.read.Add(int64(n))
	return n, err
}

func (q *quota) limit(plain io.Reader) io.Reader {
	if !q.bounded {
		return plain
	}
	return readerFunc(func(p []byte) (int, error) {
		n, err := plain.Read(p)
		if q.out += int64(n); q.out > maxSpool || q.out > freeSpool && q.out-freeSpool > spoolRatio*q.read.Load() {
			return 0, oci.Errorf(oci.ErrInvalid, "unpacks to more than %d bytes, %d times its size", q.out, spoolRatio)
		}
		return n, err
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var buffers = sync.Pool{New: func() any { return new([1 << 20]byte) }}

// copyTo copies with one large buffer, until the context ends.
func copyTo(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	buf := buffers.Get().(*[1 << 20]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := r.Read(buf[:])
		n += int64(m)
		if _, werr := w.Write(buf[:m]); werr != nil {
			return n, cut(ctx, werr)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, cut(ctx, err)
		}
	}
}
