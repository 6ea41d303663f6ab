// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"context"
	"fmt"
	"io"
	"iter"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/oci"
)

// Fail is a store that asks Hook before everything it does and fails with the
// error that Hook returns. op is "resolve", "stat", "open", "range", "put",
// "mount" (a put with repositories to mount from; comes after "put"), "tag",
// "publish", "tags", "referrers", "delete", "untag", "stream", or "read" for every read
// of an opened blob. For what has a name rather than a digest, the descriptor
// has the name as annotation org.opencontainers.image.ref.name. Hook is called
// by several goroutines at once and may block. What the store below cannot do
// is ErrUnsupported; if it does not tell its place, Fail has one of its own.
type Fail struct {
	oci.Store
	Hook func(op string, d oci.Descriptor) error
}

func (f *Fail) hook(op string, d oci.Descriptor) error {
	if f.Hook == nil {
		return nil
	}
	return f.Hook(op, d)
}

func named(name string, d oci.Descriptor) oci.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationRefName: name}
	return d
}

// Resolve implements oci.Source.
func (f *Fail) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	if err := f.hook("resolve", named(name, oci.Descriptor{})); err != nil {
		return oci.Descriptor{}, err
	}
	return f.Store.Resolve(ctx, name)
}

// Stat implements oci.Source and oci.Sink.
func (f *Fail) Stat(ctx context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if err := f.hook("stat", d); err != nil {
		return d, err
	}
	return f.Store.Stat(ctx, d)
}

// Open implements oci.Source.
func (f *Fail) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if err := f.hook("open", d); err != nil {
		return nil, err
	}
	r, err := f.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	return &failReader{r, f, d}, nil
}

// OpenRange implements oci.Ranger.
func (f *Fail) OpenRange(ctx context.Context, d oci.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if err := f.hook("range", d); err != nil {
		return nil, err
	}
	inner, ok := oci.As[oci.Ranger](f.Store)
	if !ok {
		return nil, unsupported("range")
	}
	r, err := inner.OpenRange(ctx, d, offset, length)
	if err != nil {
		return nil, err
	}
	return &failReader{r, f, d}, nil
}

type failReader struct {
	io.ReadCloser
	f *Fail
	d oci.Descriptor
}

func (r *failReader) Read(p []byte) (int, error) {
	if err := r.f.hook("read", r.d); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

// Put implements oci.Sink.
func (f *Fail) Put(ctx context.Context, b oci.Blob, from ...string) (oci.How, error) {
	if err := f.hook("put", b.Descriptor()); err != nil {
		return 0, err
	}
	if len(from) > 0 {
		if err := f.hook("mount", b.Descriptor()); err != nil {
			return 0, err
		}
	}
	return f.Store.Put(ctx, b, from...)
}

// Tag implements oci.Sink.
func (f *Fail) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if err := f.hook("tag", named(name, d)); err != nil {
		return err
	}
	return f.Store.Tag(ctx, name, d)
}

// Publish implements oci.Publisher.
func (f *Fail) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	if err := f.hook("publish", manifest.Descriptor()); err != nil {
		return err
	}
	return oci.Publish(ctx, f.Store, manifest, names...)
}

// Tags implements oci.Lister.
func (f *Fail) Tags(ctx context.Context) iter.Seq2[string, error] {
	if err := f.hook("tags", oci.Descriptor{}); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	if inner, ok := oci.As[oci.Lister](f.Store); ok {
		return inner.Tags(ctx)
	}
	return func(yield func(string, error) bool) { yield("", unsupported("tags")) }
}

// Referrers implements oci.Referrer.
func (f *Fail) Referrers(ctx context.Context, d oci.Descriptor, artifactType string) iter.Seq2[oci.Descriptor, error] {
	if err := f.hook("referrers", d); err != nil {
		return func(yield func(oci.Descriptor, error) bool) { yield(oci.Descriptor{}, err) }
	}
	if inner, ok := oci.As[oci.Referrer](f.Store); ok {
		return inner.Referrers(ctx, d, artifactType)
	}
	return func(yield func(oci.Descriptor, error) bool) { yield(oci.Descriptor{}, unsupported("referrers")) }
}

// Delete implements oci.Deleter.
func (f *Fail) Delete(ctx context.Context, d oci.Descriptor) error {
	if err := f.hook("delete", d); err != nil {
		return err
	}
	if inner, ok := oci.As[oci.Deleter](f.Store); ok {
		return inner.Delete(ctx, d)
	}
	return unsupported("delete")
}

// Untag implements oci.Untagger.
func (f *Fail) Untag(ctx context.Context, name string) error {
	if err := f.hook("untag", named(name, oci.Descriptor{})); err != nil {
		return err
	}
	if inner, ok := oci.As[oci.Untagger](f.Store); ok {
		return inner.Untag(ctx, name)
	}
	return unsupported("untag")
}

// Stream implements oci.Streamer.
func (f *Fail) Stream(ctx context.Context, r io.Reader, done func() (oci.Descriptor, error)) error {
	if err := f.hook("stream", oci.Descriptor{}); err != nil {
		return err
	}
	if inner, ok := oci.As[oci.Streamer](f.Store); ok {
		return inner.Stream(ctx, r, done)
	}
	return unsupported("stream")
}

// Locate implements oci.Locator.
func (f *Fail) Locate() (host, repository string) {
	if inner, ok := oci.As[oci.Locator](f.Store); ok {
		return inner.Locate()
	}
	return fmt.Sprintf("fail:%p", f), ""
}

func unsupported(op string) error { return oci.Errorf(oci.ErrUnsupported, "%s: not supported", op) }
