// SPDX-License-Identifier: Apache-2.0

// Package input makes layers of what users have: tar files, directories,
// streams; each once, remembered by content.
//
// [File], [Stream], [Dir], [Tar], [Blob] and [Made] say what there is, [Maker.Layer]
// makes a layer of it that does not break what it is put on.
package input

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Options say how layers are made. The zero value packs with gzip.
type Options struct {
	// Packing is that of what does not come packed, or not in a way that layers
	// can have. Zero: gzip, and zstd for what comes as zstd.
	Packing layer.Packing
	// Repack packs everything, also what comes packed and could stay as it is.
	Repack bool
	// Clamp is the latest time that entries may say; zero: times stay.
	Clamp time.Time
	// Blind asks nobody where paths lead: they stay as they are.
	Blind bool
	// Exact says that tars are layers: whiteouts are allowed, nothing is moved.
	Exact bool
	// CacheDir is where results are remembered; "": nowhere.
	CacheDir string
	// TempDir is where layers are kept until Close; "": the system's.
	TempDir string
	Limits  layer.Limits
	// MaxBytes bounds a layer without its packing; 0: 64 GiB.
	MaxBytes int64
	// Progress, if given, is called when reading an input begins, with 0, and with
	// the number of bytes each time some have been read. Several goroutines call
	// it.
	Progress func(in *Input, n int)
}

// An Input is something that a layer can be made of.
type Input struct {
	name   string // for errors
	by     string // for the history of an image
	dir    bool
	origin func(o Options) (origin, error)
	owner  *layer.Owner // of directories that have to be made
	into   string       // the name of a single file in a directory that is in its place
	layer  oci.Blob     // the layer that it is, nil if none
	key    oci.Digest   // what is made is known by it; "": by its content

	isLayer bool // what is written is one, taken as it is
	follow  bool // as in layer.RewriteOptions, like those below
	over    string
	meek    bool

	sockets atomic.Int64 // that were left out of a directory
}

// Name is what errors call it.
func (in *Input) Name() string { return in.name }

// File is a tar, plain or packed with gzip, zstd, bzip2 or xz, whatever its
// name. What cannot be read twice, such as a pipe or /dev/stdin, is kept on
// disk as it comes.
func File(path string) *Input {
	return &Input{name: path, by: "file " + filepath.Base(path), origin: func(o Options) (origin, error) {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			return nil, oci.Errorf(oci.ErrInvalid, "it is a directory, not a tar")
		case isStream(path, info):
			return &spool{dir: o.TempDir, most: o.MaxBytes, path: path}, nil
		}
		return &file{path, info}, nil
	}}
}

// Stream is a tar like that of File, which is read once and not closed. It is
// kept on disk as it comes.
func Stream(name string, r io.Reader) *Input {
	return &Input{name: name, by: "file " + name, origin: func(o Options) (origin, error) {
		return &spool{dir: o.TempDir, most: o.MaxBytes, r: r}, nil
	}}
}

// Dir is what is in a directory, put into the directory dest of the image, which
// gets mode and owner of src if it is new; a file becomes dest, or is put into it
// if that ends with a slash or is a directory of the base. Parents of dest that
// have to be made belong to o.Owner, or to root. A drive that dest begins with is
// dropped. The rest of o says what entries look like; its Packing is not used.
func Dir(src, dest string, o layer.CreateOptions) *Input {
	if len(dest) > 2 && dest[1] == ':' && (dest[2] == '/' || dest[2] == '\\') {
		dest = strings.ReplaceAll(dest[2:], `\`, "/")
	}
	o.Prefix = dest
	in := &Input{name: src, by: "dir " + filepath.Base(src) + " in " + dest, dir: true}
	in.owner = o.Owner
	if info, err := os.Stat(src); err == nil && info.Mode().IsRegular() && dest != "" && !strings.HasSuffix(dest, "/") {
		in.into = filepath.Base(src)
	}
	in.origin = func(Options) (origin, error) {
		if _, err := os.Stat(src); err != nil {
			return nil, err
		}
		return made(func(ctx context.Context, w io.Writer) error {
			done, err := layer.WriteTar(ctx, w, src, o)
			in.sockets.Store(int64(done.Sockets))
			return err
		}), nil
	}
	return in
}

// Blob is a layer that is somewhere already. It is taken as it is and only read
// if its diff ID is not remembered. Media types that are none of a layer are
// replaced by that of its content.
func Blob(b oci.Blob) *Input {
	name := string(b.Descriptor().Digest)
	return &Input{name: name, by: "layer " + name, layer: b, origin: func(Options) (origin, error) { return blob{b}, nil }}
}

// Onto is what a layer will lie on.
type Onto struct {
	Ground  layer.Ground // nil: paths stay as they are
	Windows bool         // the layer needs the form of Windows
}

// A Maker makes layers, each once. It is safe for concurrent use. Close removes
// its files, which the layers need.
type Maker struct {
	o          Options
	memory     memory
	big, small chan struct{} // slots: packing uses all cores for big layers

	mu     sync.Mutex
	closed bool
	works  map[*Input]*work
}

// New makes a Maker.
func New(o Options) *Maker {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 30
	}
	m := &Maker{o: o, works: map[*Input]*work{}, big: make(chan struct{}, 1), small: make(chan struct{}, max(1, min(runtime.GOMAXPROCS(0), 8)-1))}
	if o.CacheDir != "" {
		m.memory.dir = filepath.Join(o.CacheDir, "layers")
	}
	return m
}

// Layer makes a layer of an input, or finds the one that it has made for a place
// that gives the same. While it is packed it is sent to a sink that is a
// Streamer, if it is large; to may be nil, and whatever to has not got in the
// end has to be put there in the ordinary way. Layer returns when that is over.
//
// ErrInvalid if the input is no tar or cannot be a layer there, ErrBusy if it
// changes while it is read; ErrUnauthorized and ErrDenied are the sink's.
func (m *Maker) Layer(ctx context.Context, in *Input, onto Onto, to oci.Sink) (*Layer, error) {
	if err := m.o.Packing.Check(); err != nil {
		return nil, err
	}
	w, err := m.work(in)
	if err == nil {
		var l *Layer
		if l, err = w.layer(ctx, onto, to); err == nil {
			return l, l.sent.wait(ctx)
		}
	}
	return nil, in.explain(ctx, err)
}

// explain says which input an error is about, unless it is about none.
func (in *Input) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if isRefusal(err) { // of the sink, or of where a blob is
		return err
	}
	var p *os.PathError
	if errors.As(err, &p) && p.Path == in.name && err == error(p) {
		return err
	}
	return oci.Wrap("", in.name, err)
}

// work is what is done for an input, one object for each.
func (m *Maker) work(in *Input) (*work, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.works[in]; w != nil {
		return w, nil
	}
	if m.closed {
		return nil, os.ErrClosed
	}
	from, err := in.origin(m.o)
	if err != nil {
		return nil, err
	}
	w := &work{m: m, in: in, from: from, turn: make(chan struct{}, 1)}
	m.works[in] = w
	return w, nil
}

// Close removes the layers. It must not be called while Layer runs.
func (m *Maker) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var errs []error
	for _, w := range m.works {
		errs = append(errs, w.close())
	}
	m.works = nil
	return errors.Join(errs...)
}
