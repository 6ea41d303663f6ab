// SPDX-License-Identifier: Apache-2.0

package input

import (
	"cmp"
	"context"
	"io"
	"sync"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// Made is the tar of a layer that write makes: the same bytes each time it is
// called, for the same key, by which it is remembered. It is taken as a layer is.
// write ends when its context does.
func Made(name, key string, write func(ctx context.Context, w io.Writer) error) *Input {
	return &Input{name: name, by: name, key: oci.FromBytes([]byte(key)), isLayer: true, origin: func(Options) (origin, error) { return made(write), nil }}
}

// TarOptions say what becomes of a tar that is written by the program itself.
type TarOptions struct {
	By    string       // what it is made of, for the history of an image; "": its name
	Owner *layer.Owner // of directories that have to be made; nil: root
	// Into is the name that a single file gets in a directory that lies in its
	// place; "": it replaces that.
	Into string
	// Follow, Over and Meek are those of layer.RewriteOptions.
	Follow bool
	Over   string
	Meek   bool
	// Key names all that the tar depends on: equal keys, equal bytes. With it what is
	// remembered is found without the tar being written. "": it is known by its bytes.
	Key string
}

// Tar is a tar that write makes: the same bytes each time it is called, by which
// it is remembered. Its paths follow what it is put on, as those of File do. write
// ends when its context does.
func Tar(name string, o TarOptions, write func(ctx context.Context, w io.Writer) error) *Input {
	in := &Input{name: name, by: cmp.Or(o.By, name), dir: true, owner: o.Owner, into: o.Into, follow: o.Follow, over: o.Over, meek: o.Meek,
		origin: func(Options) (origin, error) { return made(write), nil }}
	if o.Key != "" {
		in.key = oci.FromBytes([]byte(o.Key))
	}
	return in
}

// made is an origin that is made when it is opened.
type made func(ctx context.Context, w io.Writer) error

func (made) size() int64  { return -1 }
func (made) close() error { return nil }

func (m made) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if offset != 0 || length >= 0 {
		return nil, oci.Errorf(oci.ErrUnsupported, "it has to be read from its start")
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	t := &making{PipeReader: r, cancel: cancel}
	t.wg.Go(func() { w.CloseWithError(m(ctx, w)) })
	return t, nil
}

// A making ends what writes when nobody reads any more.
type making struct {
	*io.PipeReader
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (m *making) Close() error {
	m.cancel()
	err := m.PipeReader.Close()
	m.wg.Wait()
	return err
}
