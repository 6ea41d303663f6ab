// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// InOrder implements oci.Sequencer: what is written is a stream.
func (i *Image) InOrder() bool { return i.o.Write }

func (i *Image) writable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !i.o.Write {
		return oci.Errorf(oci.ErrDenied, "%s is open for reading only", i.place())
	}
	return nil
}

// Admit implements oci.Admitter. It finds out which layers of the image the
// engine has: Stat tells them, and they are not sent.
func (i *Image) Admit(ctx context.Context, m *oci.Manifest, from oci.Source) error {
	if err := i.writable(ctx); err != nil {
		return err
	}
	if m.IsIndex() {
		return oci.Errorf(oci.ErrUnsupported, "a Docker engine takes one image, not an index: choose one platform with --platform")
	}
	if err := i.out.Admit(ctx, m, from); err != nil {
		return err
	}
	return oci.Wrap("", i.place(), i.have.learn(ctx, m, from))
}

// Put implements oci.Sink: the blob is sent while it is read. A failed Put
// leaves a stream that cannot go on.
func (i *Image) Put(ctx context.Context, b oci.Blob, _ ...string) (oci.How, error) {
	if err := i.writable(ctx); err != nil {
		return 0, err
	}
	defer i.upload.watch(ctx)()
	how, err := i.out.Put(ctx, b)
	return how, oci.Wrap("write", i.place(), i.upload.explain(err))
}

// Tag implements oci.Sink. Any NAME:TAG will do.
func (i *Image) Tag(ctx context.Context, name string, d oci.Descriptor) error {
	if err := i.writable(ctx); err != nil {
		return err
	}
	err := i.out.Tag(ctx, name, d)
	if err == nil {
		i.have.name(name, d.Digest)
	}
	return oci.Wrap("", i.place(), err)
}

// Publish implements oci.Publisher.
func (i *Image) Publish(ctx context.Context, manifest oci.Blob, names ...string) error {
	if err := i.writable(ctx); err != nil {
		return err
	}
	defer i.upload.watch(ctx)()
	err := i.out.Publish(ctx, manifest, names...)
	for _, name := range names {
		i.have.name(name, manifest.Descriptor().Digest)
	}
	return oci.Wrap("write", i.place(), i.upload.explain(err))
}

// Commit implements oci.Committer: the engine has all of it, and takes it in.
func (i *Image) Commit(ctx context.Context) error {
	if i.out == nil {
		return nil
	}
	defer i.upload.watch(ctx)()
	err := i.upload.explain(i.out.Commit(ctx))
	if err == nil {
		err = i.upload.finish(ctx)
	}
	if err == nil {
		err = i.have.check(ctx)
	}
	return oci.Wrap("write", i.place(), err)
}

// Abort implements oci.Committer: the engine gets no end of the stream, and
// drops it.
func (i *Image) Abort() error {
	if i.out == nil {
		return nil
	}
	i.upload.abort()
	return i.out.Abort()
}

// An upload is the body of one request to load images, which begins with the
// first byte.
type upload struct {
	c *client

	mu     sync.Mutex
	pipe   *io.PipeWriter // nil until then
	cancel context.CancelFunc
	done   chan struct{} // closed when the answer is there
	err    error         // the answer
}

// errGivenUp is what the request ends with after Abort.
var errGivenUp = oci.Errorf(oci.ErrInvalid, "given up")

func (u *upload) begin() *io.PipeWriter {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pipe != nil {
		return u.pipe
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background()) // it outlives the Put that begins it
	u.pipe, u.cancel, u.done = w, cancel, make(chan struct{})
	go func() {
		defer close(u.done)
		u.err = u.c.load(ctx, r)
		r.CloseWithError(errors.Join(u.err, io.ErrClosedPipe))
	}()
	return w
}

// Write sends a part of the archive.
func (u *upload) Write(p []byte) (int, error) { return u.begin().Write(p) }

// explain gives the answer of the engine as the reason why it read no further.
func (u *upload) explain(err error) error {
	u.mu.Lock()
	begun := u.pipe != nil
	u.mu.Unlock()
	if err == nil || !begun || !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	<-u.done
	if u.err != nil && !errors.Is(u.err, errGivenUp) {
		return u.err
	}
	return err
}

// watch ends the request with the context: a write to an engine that does not
// read would wait for ever. The caller calls what it returns.
func (u *upload) watch(ctx context.Context) func() bool { return context.AfterFunc(ctx, u.abort) }

// finish ends the stream and waits for the answer.
func (u *upload) finish(ctx context.Context) error {
	u.mu.Lock()
	pipe := u.pipe
	u.mu.Unlock()
	if pipe == nil {
		return nil
	}
	pipe.Close()
	<-u.done // the context ends it, too: see watch
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return u.err
}

// abort ends the request without an end of its body.
func (u *upload) abort() {
	u.mu.Lock()
	pipe := u.pipe
	u.mu.Unlock()
	if pipe == nil {
		return
	}
	pipe.CloseWithError(errGivenUp)
	u.cancel()
	<-u.done
}

// load sends an archive and reads what the engine says to it: JSON values, one
// after the other, of which one may be an error.
func (c *client) load(ctx context.Context, body io.Reader) error {
	resp, err := c.do(ctx, http.MethodPost, "/images/load", url.Values{"quiet": {"1"}}, io.NopCloser(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return loaded(resp.Body)
}

// loaded reads the answer to a load. An answer that does not end well is an
// error, too.
func loaded(r io.Reader) error {
	limited := &io.LimitedReader{R: r, N: maxAnswer}
	for dec := json.NewDecoder(limited); ; {
		var line struct {
			Error       string
			ErrorDetail *struct{ Message string }
		}
		err := dec.Decode(&line)
		switch {
		case err == io.EOF && limited.N > 0:
			return nil
		case limited.N <= 0:
			return oci.Errorf(oci.ErrInvalid, "the Docker engine answers with more than %d bytes", maxAnswer)
		case err != nil:
			return oci.Errorf(oci.ErrBusy, "the answer of the Docker engine is not whole: %w", err)
		case line.ErrorDetail != nil && line.ErrorDetail.Message != "":
			return oci.Errorf(oci.ErrInvalid, "the Docker engine does not take it: %s", oci.Quote(line.ErrorDetail.Message))
		case line.Error != "":
			return oci.Errorf(oci.ErrInvalid, "the Docker engine does not take it: %s", oci.Quote(line.Error))
		}
	}
}
