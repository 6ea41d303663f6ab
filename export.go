// SPDX-License-Identifier: Apache-2.0

package dray

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/temp"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// Export writes the file system of an image as one tar, in which no layers and
// no whiteouts are left; see [layer.Flatten]. An index needs a platform, unless
// it holds just one image.
func (c *Client) Export(ctx context.Context, name string, s Side, p *oci.Platform, w io.Writer) error {
	return c.withLayers(ctx, name, s, p, func(layers []oci.Blob) error {
		return layer.Flatten(ctx, w, layers, layer.FlattenOptions{})
	})
}

// Unpack writes the file system of an image to a directory that is not there
// yet or empty; see [layer.Unpack] for what is safe about that. An index needs
// a platform, unless it holds just one image.
func (c *Client) Unpack(ctx context.Context, name string, s Side, p *oci.Platform, dir string, o layer.UnpackOptions) (*layer.Report, error) {
	var report *layer.Report
	err := c.withLayers(ctx, name, s, p, func(layers []oci.Blob) (err error) {
		report, err = layer.Unpack(ctx, dir, layers, o)
		return err
	})
	return report, err
}

// withLayers calls f with the layers of an image. Each is downloaded once, to
// a file that is removed afterwards, however often f opens it.
func (c *Client) withLayers(ctx context.Context, name string, s Side, p *oci.Platform, f func([]oci.Blob) error) (err error) {
	r, i, err := c.image(ctx, name, s, p)
	if err != nil {
		return err
	}
	layers := i.Layers()
	switch r.Scheme {
	case ref.Registry, ref.Daemon, ref.Podman:
		for n, b := range layers {
			s := &spooled{Blob: b, dir: c.env.TempDir}
			defer s.close()
			layers[n] = s
		}
	}
	return oci.Wrap("", r.String(), f(layers))
}

// image reads the manifest and config of an image. Of an index it takes the
// child of the platform, or the only image that there is beside attestations.
func (c *Client) image(ctx context.Context, name string, s Side, p *oci.Platform) (ref.Ref, *image.Image, error) {
	r, st, d, err := c.resolve(ctx, name, s, p)
	if err != nil {
		return r, nil, err
	}
	m, err := oci.Fetch(ctx, st, d)
	if err == nil && m.IsIndex() {
		var images []oci.Descriptor
		for _, x := range m.Manifests {
			if x.Platform == nil || x.Platform.OS != "unknown" {
				images = append(images, x)
			}
		}
		if len(images) != 1 {
			return r, nil, oci.Errorf(oci.ErrInvalid, "%s: an index has no files: choose one of its platforms: %s", r, platforms(m))
		}
		m, err = oci.Fetch(ctx, st, images[0])
	}
	if err != nil {
		return r, nil, err
	}
	i, err := image.Of(ctx, st, m)
	return r, i, oci.Wrap("", r.String(), err)
}

// spooled is a blob that is kept in a file when it has been read to its end
// once.
type spooled struct {
	oci.Blob
	dir string

	mu     sync.Mutex
	file   *temp.File // nil: not yet
	closed bool
}

func (b *spooled) Open(ctx context.Context) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil { // the reader of a layer verifies it again
		return io.NopCloser(oci.Section(b.file, b.Descriptor().Size, 0, -1)), nil
	}
	rc, err := b.Blob.Open(ctx)
	if err != nil {
		return nil, err
	}
	f, err := temp.Create(b.dir)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return &spooling{ReadCloser: rc, f: f, b: b}, nil
}

// keep makes a file that has all of the blob its content, unless there is one
// or nobody wants one any more.
func (b *spooled) keep(f *temp.File) (kept bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil && !b.closed {
		b.file = f
		return true
	}
	return false
}

func (b *spooled) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.file != nil {
		b.file.Close()
	}
}

// spooling writes down what is read; the end of it, which comes after the
// digest was found right, makes it the blob.
type spooling struct {
	io.ReadCloser
	f    *temp.File
	b    *spooled
	kept bool
}

func (s *spooling) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if _, werr := s.f.Write(p[:n]); werr != nil {
		return 0, werr
	}
	if err == io.EOF && !s.kept {
		s.kept = s.b.keep(s.f)
	}
	return n, err
}

func (s *spooling) Close() error {
	err := s.ReadCloser.Close()
	if !s.kept {
		err = errors.Join(err, s.f.Close())
	}
	return err
}
