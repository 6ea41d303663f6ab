// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// A sink takes streams, and nothing else.
type sink struct {
	oci.Sink
	begun func()                      // is called when there is something to read
	after int64                       // bytes, after which
	fail  func(context.Context) error // is returned; nil: never

	mu    sync.Mutex
	calls int
	got   []byte
	d     oci.Descriptor
	err   error
}

func (s *sink) Stream(ctx context.Context, r io.Reader, done func() (oci.Descriptor, error)) error {
	d, got, err := s.stream(ctx, r, done)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.d, s.got, s.err = d, got, err
	return err
}

func (s *sink) stream(ctx context.Context, r io.Reader, done func() (oci.Descriptor, error)) (d oci.Descriptor, got []byte, err error) {
	if s.begun != nil {
		s.begun()
	}
	if s.fail != nil {
		if got, err = io.ReadAll(io.LimitReader(r, s.after)); err == nil {
			err = s.fail(ctx)
		}
		return d, got, err
	}
	if got, err = io.ReadAll(r); err == nil {
		d, err = done()
	}
	return d, got, err
}

func (s *sink) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// large is a tar that stays large when it is packed.
func large(t testing.TB) []byte {
	return makeTar(t, text("app"), entry{"large", ocitest.Random(1, 12<<20)})
}

func TestSentWhilePacked(t *testing.T) {
	t.Parallel()
	for _, c := range []layer.Compression{layer.Gzip, layer.Zstd, layer.None} {
		s := &sink{}
		m := maker(t, input.Options{Packing: layer.Packing{Compression: c}})
		l, err := m.Layer(t.Context(), input.File(inFile(t, large(t))), input.Onto{}, s)
		if err != nil {
			t.Fatal(err)
		}
		if s.calls != 1 || s.d.Digest != l.Descriptor().Digest || s.d.Size != int64(len(s.got)) || oci.FromBytes(s.got) != s.d.Digest {
			t.Errorf("%s: %d calls, %d bytes of %+v, want %+v", c, s.calls, len(s.got), s.d, l.Descriptor())
		}
		if !l.Sent() {
			t.Errorf("%s: not said to be sent", c)
		}
		unpacked(t, l)
	}
}

// What is small, and what is a layer as it came, is sent in the ordinary way.
func TestNotSentEarly(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{"small": makeTar(t, text("app")), "packed": packed(t, layer.Gzip, large(t))} {
		s := &sink{}
		if l, err := maker(t, input.Options{}).Layer(t.Context(), input.File(inFile(t, raw)), input.Onto{}, s); err != nil || s.calls != 0 || l.Sent() {
			t.Errorf("%s: %d calls, %v", name, s.calls, err)
		}
	}
}

// The upload goes on while the input has not even ended.
func TestSendingOverlapsPacking(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, entry{"large", ocitest.Random(1, 40<<20)})
	begun := make(chan struct{})
	s := &sink{begun: func() { close(begun) }}
	in := input.Stream("stdin", io.MultiReader(bytes.NewReader(raw[:30<<20]), waiting{begun}, bytes.NewReader(raw[30<<20:])))
	if _, err := maker(t, input.Options{}).Layer(t.Context(), in, input.Onto{}, s); err != nil {
		t.Fatal(err)
	}
}

type waiting struct{ for_ chan struct{} }

func (w waiting) Read([]byte) (int, error) { <-w.for_; return 0, io.EOF }

// Packing does not wait for a sink that does not take anything.
func TestPackingDoesNotWait(t *testing.T) {
	t.Parallel()
	packedAll := make(chan struct{})
	s := &sink{begun: func() { <-packedAll }}
	raw := large(t)
	in := input.Stream("stdin", io.MultiReader(bytes.NewReader(raw), closing{packedAll}))
	l, err := maker(t, input.Options{}).Layer(t.Context(), in, input.Onto{}, s)
	if err != nil || s.d.Digest != l.Descriptor().Digest {
		t.Errorf("got %+v, %v", s.d, err)
	}
}

type closing struct{ c chan struct{} }

func (c closing) Read([]byte) (int, error) { close(c.c); return 0, io.EOF }

// An upload that breaks is no error: the layer is sent later.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	for _, after := range []int64{0, 1 << 20} {
		for _, kind := range []error{oci.ErrUnsupported, oci.ErrBusy, oci.ErrCorrupt, errBroken} {
			s := &sink{after: after, fail: func(context.Context) error { return kind }}
			m := maker(t, input.Options{})
			l, err := m.Layer(t.Context(), input.File(inFile(t, large(t))), input.Onto{}, s)
			if err != nil || s.calls != 1 {
				t.Fatalf("%v: %d calls, %v", kind, s.calls, err)
			}
			if l.Sent() {
				t.Errorf("%v: said to be sent", kind)
			}
			unpacked(t, l)
		}
	}
}

// A sink that will never take the layer ends its making.
func TestRefusedUpload(t *testing.T) {
	t.Parallel()
	for _, kind := range []error{oci.ErrUnauthorized, oci.ErrDenied} {
		refusal := oci.Wrap("push", "host/repo", kind)
		s := &sink{after: 1000, fail: func(context.Context) error { return refusal }}
		in := &stalled{bytes.NewReader(large(t)), make(chan struct{})} // would never end
		_, err := maker(t, input.Options{}).Layer(t.Context(), input.Stream("stdin", in), input.Onto{}, s)
		close(in.wait)
		if !errors.Is(err, kind) || err.Error() != refusal.Error() {
			t.Errorf("got %v, want %v", err, refusal)
		}
	}
}

// An input that turns out to be bad when it is half sent leaves no upload.
func TestUploadOfBadInput(t *testing.T) {
	t.Parallel()
	raw := large(t)
	s := &sink{}
	_, err := maker(t, input.Options{}).Layer(t.Context(), input.File(inFile(t, raw[:11<<20])), input.Onto{}, s)
	if !errors.Is(err, oci.ErrInvalid) || s.calls != 1 || s.ended() == nil || s.d.Digest != "" {
		t.Errorf("got %v after %d calls that ended with %v", err, s.calls, s.ended())
	}
}
