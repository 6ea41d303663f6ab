// SPDX-License-Identifier: Apache-2.0

package input

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A reading is one pass over an input.
type reading struct {
	rc    io.Closer
	raw   *meter // what the input has
	plain *bounded
	comp  layer.Compression
	over  bool
}

func (w *work) read(ctx context.Context) (*reading, error) {
	rc, err := w.from.open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	var seen func(int)
	if f := w.m.o.Progress; f != nil {
		f(w.in, 0)
		seen = func(n int) { f(w.in, n) }
	}
	raw := newMeter(ctx, rc, seen)
	plain, comp, err := layer.Decompress(raw)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return &reading{rc: rc, raw: raw, plain: &bounded{ReadCloser: plain, left: w.m.o.MaxBytes}, comp: comp}, nil
}

func (r *reading) close() {
	if r.over {
		return
	}
	r.over = true
	r.plain.Close()
	r.rc.Close()
}

// rewrite makes the tar of the layer out of plain, which reads r.plain, and
// reads what may follow it.
func (r *reading) rewrite(ctx context.Context, to io.Writer, plain io.Reader, o layer.RewriteOptions) (layer.Rewritten, error) {
	done, err := layer.Rewrite(ctx, to, plain, o)
	return done, r.finish(err, plain, o)
}

// repeats is a pass for a tar that has several entries of a name.
func (w *work) repeats(ctx context.Context, onto Onto) (*layer.Repeats, error) {
	r, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	o := w.rewriting(onto)
	found, err := layer.FindRepeats(ctx, r.plain, o)
	if err = r.finish(err, r.plain, o); err == nil {
		err = w.settle(r)
	}
	return found, err
}

// finish reads what follows the tar that plain was, and says what is wrong with it.
func (r *reading) finish(err error, plain io.Reader, o layer.RewriteOptions) error {
	if !r.plain.began && (err == nil || errors.Is(err, oci.ErrInvalid)) {
		err = oci.Errorf(oci.ErrInvalid, "it is empty, where a tar is needed")
	}
	if errors.Is(err, oci.ErrInvalid) && r.plain.began && !r.plain.fault && !isTar(r.plain.head) {
		err = oci.Errorf(oci.ErrInvalid, "it is no tar")
	}
	for _, rest := range []io.Reader{plain, r.raw} {
		if err == nil {
			_, err = io.Copy(io.Discard, rest)
		}
	}
	if err == nil && !o.Exact && r.plain.zeros < 512 {
		err = oci.Errorf(oci.ErrInvalid, "it does not end as a tar does: it was cut off")
	}
	return err
}

// rewriting says what a layer needs that will lie there.
func (w *work) rewriting(onto Onto) layer.RewriteOptions {
	return layer.RewriteOptions{Ground: onto.Ground, Windows: onto.Windows && w.in.layer == nil, Clamp: w.m.o.Clamp, Exact: w.exact(), Limits: w.m.o.Limits,
		Owner: w.in.owner, Into: w.in.into, Follow: w.in.follow, Over: w.in.over, Meek: w.in.meek}
}

// A meter hashes and counts, and ends with the context.
type meter struct {
	ctx  context.Context
	r    io.Reader
	h    hash.Hash
	n    int64
	seen func(n int) // may be nil
}

func newMeter(ctx context.Context, r io.Reader, seen func(int)) *meter {
	return &meter{ctx, r, sha256.New(), 0, seen}
}

func (m *meter) Read(p []byte) (int, error) {
	if err := context.Cause(m.ctx); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.h.Write(p[:n])
	m.n += int64(n)
	if n > 0 && m.seen != nil {
		m.seen(n)
	}
	return n, err
}

func (m *meter) digest() oci.Digest { return digest.NewDigest(digest.SHA256, m.h) }

// bounded ends with ErrInvalid at a limit.
type bounded struct {
	io.ReadCloser
	left  int64
	began bool
	head  []byte // the first block
	fault bool   // what is read is broken
	zeros int    // at the end of what was read, as far as they matter
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.began = b.began || n > 0
	b.head = append(b.head, p[:min(n, 512-len(b.head))]...)
	b.fault = b.fault || err != nil && err != io.EOF
	if b.left -= int64(n); b.left < 0 {
		return 0, oci.Errorf(oci.ErrInvalid, "it unpacks to more than is allowed")
	}
	tail := p[max(0, n-512):n]
	zeros := len(tail) - len(bytes.TrimRight(tail, "\x00"))
	if zeros == n {
		zeros = min(b.zeros+n, 512)
	}
	b.zeros = zeros
	return n, err
}

// isTar reports whether a tar can begin with a block.
func isTar(block []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(block)).Next()
	return len(block) == 512 && !errors.Is(err, tar.ErrHeader)
}

var errDiffers = errors.New("it does not stay as it is")

// A same is read and written by what rewrites a tar, and ends that as soon as it
// writes something else than it has read.
type same struct {
	r     io.Reader
	ahead bytes.Buffer // read and not yet written
	h     hash.Hash
}

func newSame(r io.Reader) *same { return &same{r: r, h: sha256.New()} }

func (s *same) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.ahead.Write(p[:n])
	return n, err
}

func (s *same) Write(p []byte) (int, error) {
	if !bytes.Equal(s.ahead.Next(len(p)), p) {
		return 0, errDiffers
	}
	s.h.Write(p)
	return len(p), nil
}

func (s *same) digest() oci.Digest { return digest.NewDigest(digest.SHA256, s.h) }
