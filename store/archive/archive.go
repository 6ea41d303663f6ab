// SPDX-License-Identifier: Apache-2.0

// Package archive keeps images in tar archives: OCI layouts in a tar
// (oci-archive:) and what "docker save" writes (docker-archive:).
//
// [Open] gives one archive as a store. What is put into it becomes visible to
// others with Commit: the new archive is written beside the old one and renamed
// over it, so that whatever fails or is killed, the old one stays byte for
// byte. Both kinds are written in the same form, blobs/ALGORITHM/HEX and
// index.json; Docker's has manifest.json as well, so that every engine reads it
// and digests survive.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// A Kind is what the archive means to its readers.
type Kind int

// The kinds of archives.
const (
	OCI    Kind = iota // an OCI image layout (image-spec, image-layout.md)
	Docker             // what "docker load" reads; images only, no indexes
)

func (k Kind) String() string {
	if k == Docker {
		return "docker-archive"
	}
	return "oci-archive"
}

// Options say how an archive is opened. The zero value reads an OCI archive.
type Options struct {
	Kind Kind
	// Write allows changes. A file need not exist then.
	Write bool
	// In is read where the path is "-"; nil is an empty stream. It is read
	// when the archive is first asked for something.
	In io.Reader
	// Out is written where the path is "-", as blobs come.
	Out io.Writer
	// TempDir is where compressed archives and streams are unpacked to be read;
	// empty means os.TempDir.
	TempDir string
	// Name is what messages call a stream; empty means standard input or
	// standard output.
	Name string
	// Omit names layers that the reader of a stream has already: they count as
	// there and are not written. nil omits nothing.
	Omit func(d oci.Digest) bool
}

// An Archive is one archive as one repository. It is an oci.Store, an
// oci.Committer, and can list, publish, read ranges and find referrers. It is
// safe for concurrent use; Puts run one after the other.
type Archive struct {
	o     Options
	file  string    // absolute, without links; empty for a stream
	pipe  string    // to be opened as out when it is written to; empty if it is none
	place string    // for messages
	out   io.Writer // of a stream

	loading turn // held while the archive is read
	writing turn // held by Put, Commit and Abort

	mu     sync.Mutex  // guards what follows
	base   *contents   // nil until it is asked for
	old    []*contents // what was base before
	opened []io.Closer // what may still be read from
	failed error       // of a stream: it cannot be read again
	closed bool

	pending *session
}

// Open opens an archive: a file, or "-" for a stream. ErrNotFound if there is
// no such file and Options.Write is not set, ErrInvalid if it is a directory.
// What is in it is read when it is first asked for. The caller closes it.
func Open(path string, o Options) (*Archive, error) {
	a := &Archive{o: o, place: path, loading: newTurn(), writing: newTurn(), pending: newSession()}
	if path == "-" {
		a.out = o.Out
		if o.Write && a.out == nil {
			return nil, oci.Errorf(oci.ErrInvalid, "%s: no stream to write to", o.Kind)
		}
		if a.place = "standard input"; o.Write {
			a.place = "standard output"
		}
		if o.Name != "" {
			a.place = o.Name
		}
		return a, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if abs, err = target(abs); err != nil {
		return nil, err
	}
	a.file = abs
	fi, err := os.Stat(abs)
	switch {
	case err == nil && fi.IsDir():
		return nil, oci.Errorf(oci.ErrInvalid, "%s is a directory, not an archive", path)
	case err == nil && o.Write && !fi.Mode().IsRegular(): // a pipe, /dev/stdout
		a.file, a.pipe = "", abs
		return a, nil
	case err == nil:
		return a, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case !o.Write:
		return nil, oci.Errorf(oci.ErrNotFound, "%s: no such file", path)
	}
	if _, err := os.Stat(filepath.Dir(abs)); err != nil {
		return nil, oci.Errorf(oci.ErrNotFound, "%s: %w", path, err)
	}
	return a, nil
}

// Locate implements oci.Locator: the host is the kind and the absolute path.
// Each stream is a host of its own.
func (a *Archive) Locate() (host, repository string) {
	if a.file == "" {
		return fmt.Sprintf("%s:-%p", a.o.Kind, a), ""
	}
	return a.o.Kind.String() + ":" + a.file, ""
}

// Close drops what was put and not committed, and closes all files.
func (a *Archive) Close() error {
	err := a.Abort()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, c := range append(a.old, a.base) {
		if c != nil {
			c.close()
		}
	}
	for _, c := range a.opened {
		err = errors.Join(err, c.Close())
	}
	a.base, a.old, a.opened = nil, nil, nil
	if f, ok := a.out.(*os.File); ok && f != a.o.Out {
		err = errors.Join(err, ignore(f.Close(), fs.ErrClosed))
	}
	return err
}

// contents reads the archive, once.
func (a *Archive) contents(ctx context.Context) (*contents, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c, err := a.loaded(); c != nil || err != nil {
		return c, err
	}
	release, err := a.loading.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if c, err := a.loaded(); c != nil || err != nil {
		return c, err
	}
	c, err := a.read(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == "" {
		a.failed = err
	}
	a.base = c
	return c, err
}

func (a *Archive) loaded() (*contents, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, fs.ErrClosed
	}
	return a.base, a.failed
}

// read opens the archive as it is now and finds out what it holds.
func (a *Archive) read(ctx context.Context) (*contents, error) {
	if a.file == "" && a.o.Write {
		return &contents{}, nil
	}
	s, err := a.source(ctx)
	if a.o.Write && (errors.Is(err, fs.ErrNotExist) || err == nil && s.size == 0) {
		s.close()
		return &contents{}, nil // to be made
	}
	if err != nil {
		return nil, err
	}
	c, err := a.parse(ctx, s)
	if err != nil {
		s.close()
		return nil, err
	}
	return c, nil
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// A turn is a lock that can be waited for with a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
