// SPDX-License-Identifier: Apache-2.0

package input

import (
	"context"
	"errors"
	"math"

	"github.com/dray-tools/dray/oci"
)

// early is how much of a layer has to be there before it is sent while it is
// still packed. What is smaller goes in one request, when its digest is known.
const early = 8 << 20

// A sender is where a layer is packed to: a file, and a sink that gets what is
// in the file as it grows. Packing does not wait for the sink.
type sender struct {
	ctx  context.Context
	stop context.CancelCauseFunc // ends the packing
	g    *growing
	to   oci.Streamer   // nil: none
	d    oci.Descriptor // valid when g is whole
	up   *upload        // nil: has not begun
}

// An upload is one of a layer that may still be packed.
type upload struct {
	cancel context.CancelFunc
	over   chan struct{}
	err    error // valid when over
	sent   bool  // valid when over: the sink has it
}

func (s *sender) Write(p []byte) (int, error) {
	n, err := s.g.Write(p)
	if err == nil && s.up == nil && s.to != nil && s.g.length() > early {
		ctx, cancel := context.WithCancel(s.ctx)
		s.up = &upload{cancel: cancel, over: make(chan struct{})}
		go s.send(ctx, s.up)
	}
	return n, err
}

// send sends the file to the sink. If that breaks off, the layer is still to be
// sent in the ordinary way; only that the sink will never take it ends all.
func (s *sender) send(ctx context.Context, up *upload) {
	defer close(up.over)
	defer up.cancel()
	err := s.to.Stream(ctx, s.g.reader(ctx, 0, -1), func() (oci.Descriptor, error) {
		_, err := s.g.wait(ctx, math.MaxInt64)
		return s.d, err
	})
	up.sent = err == nil
	if isRefusal(err) {
		up.err = err
		s.stop(err)
	}
}

func isRefusal(err error) bool {
	return errors.Is(err, oci.ErrUnauthorized) || errors.Is(err, oci.ErrDenied)
}

// end says what the whole file is.
func (s *sender) end(d oci.Descriptor) {
	s.d = d
	s.g.end(nil)
}

// abort ends the upload of what will never be whole.
func (s *sender) abort(err error) {
	s.g.end(err)
	if s.up != nil {
		s.up.cancel()
		<-s.up.over
	}
}

// done reports whether the sink has got it.
func (u *upload) done() bool {
	if u == nil {
		return false
	}
	select {
	case <-u.over:
		return u.sent
	default:
		return false
	}
}

// wait waits for the end of the upload, if there is one.
func (u *upload) wait(ctx context.Context) error {
	if u == nil {
		return nil
	}
	select {
	case <-u.over:
		if u.err != nil {
			return u.err
		}
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}
