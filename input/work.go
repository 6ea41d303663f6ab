// SPDX-License-Identifier: Apache-2.0

package input

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A work is an input and the layers that were made of it: one for each way in
// which what lies below can answer.
type work struct {
	m    *Maker
	in   *Input
	from origin

	turn chan struct{} // held by the one who finds or makes a layer; guards done
	done []*Layer

	mu      sync.Mutex // guards what follows, and Layer.made
	digest  oci.Digest // of all that from yields; "": not known
	size    int64
	files   []*growing
	uploads []*upload
}

func (w *work) take(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *work) release() { <-w.turn }

// layer finds or makes a layer.
func (w *work) layer(ctx context.Context, onto Onto, to oci.Sink) (*Layer, error) {
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	defer w.release()
	if w.m.o.Blind || onto.Windows || w.exact() { // it is not asked
		onto.Ground = nil
	}
	how := w.how(onto)
	for _, l := range w.done {
		if same, err := l.what.fits(ctx, how, onto.Ground); same || err != nil {
			return l, err
		}
	}
	what, err := w.recall(ctx, how, onto)
	if err != nil {
		return nil, err
	}
	var sent *upload
	var made *growing
	if what == nil {
		var stream oci.Streamer
		if to != nil {
			stream, _ = oci.As[oci.Streamer](to)
		}
		if what, made, sent, err = w.inLane(ctx, onto, stream); err != nil {
			return nil, err
		}
		w.m.memory.write(w.key(), *what)
	}
	l := &Layer{DiffID: what.DiffID, Entries: what.Entries, Sockets: int(w.in.sockets.Load()), Kept: what.Kept, KeptCount: what.KeptCount, CreatedBy: w.in.createdBy(what.Tops), what: *what, w: w, onto: onto, made: made, sent: sent, remaking: make(chan struct{}, 1)}
	w.done = append(w.done, l)
	return l, nil
}

// exact reports whether the input is a layer already.
func (w *work) exact() bool { return w.in.layer != nil || w.in.isLayer || w.m.o.Exact && !w.in.dir }

// how says all that the layer depends on, beside the input and the answers of
// what it will lie on.
func (w *work) how(onto Onto) string {
	if w.in.layer != nil {
		return version
	}
	o := w.m.o
	how := fmt.Sprintf("%s packing=%s chosen=%t repack=%t clamp=%s exact=%t windows=%t asked=%t", version, o.Packing.Key(),
		o.Packing != layer.Packing{}, o.Repack, o.Clamp.UTC().Format(time.RFC3339Nano), w.exact(), onto.Windows, onto.Ground != nil)
	if w.in.owner != nil {
		how += fmt.Sprintf(" owner=%d:%d", w.in.owner.UID, w.in.owner.GID)
	}
	if w.in.into != "" {
		how += fmt.Sprintf(" into=%q", w.in.into)
	}
	if w.in.follow || w.in.over != "" || w.in.meek {
		how += fmt.Sprintf(" follow=%t over=%q meek=%t", w.in.follow, w.in.over, w.in.meek)
	}
	return how
}

// identify finds out the digest of the input, if there is a chance that it is
// remembered: if something of its size is, or as long as it is not longer than
// all that is.
func (w *work) identify(ctx context.Context) (known bool, err error) {
	if w.key().digest != "" {
		return true, nil
	}
	if w.in.layer != nil {
		d := w.in.layer.Descriptor()
		return true, w.settled(d.Digest, d.Size)
	}
	if w.in.key != "" {
		return true, w.settled(w.in.key, 0)
	}
	most := w.from.size()
	if most < 0 {
		most = w.m.memory.largest()
	} else if !w.m.memory.has(most) {
		return false, nil
	}
	if most <= 0 {
		return false, nil
	}
	rc, err := w.from.open(ctx, 0, -1)
	if err != nil {
		return false, err
	}
	defer rc.Close()
	in := newMeter(ctx, rc, nil)
	if _, err := io.CopyBuffer(io.Discard, io.LimitReader(in, most+1), make([]byte, 256<<10)); err != nil {
		return false, err
	}
	if in.n > most {
		return false, nil
	}
	return true, w.settled(in.digest(), in.n)
}

// recall looks up what is remembered; nil if nothing is.
func (w *work) recall(ctx context.Context, how string, onto Onto) (*outcome, error) {
	if w.m.memory.dir == "" {
		return nil, nil
	}
	known, err := w.identify(ctx)
	if err != nil || !known {
		return nil, err
	}
	for _, o := range w.m.memory.read(w.key()) {
		if same, err := o.fits(ctx, how, onto.Ground); same || err != nil {
			return &o, err
		}
	}
	return nil, nil
}

// bigLayer is from where on packing one layer keeps all cores busy.
const bigLayer = 32 << 20

func (w *work) lane() chan struct{} {
	if n := w.from.size(); n >= 0 && n < bigLayer {
		return w.m.small
	}
	return w.m.big
}

// inLane is make, when there is a core for it.
func (w *work) inLane(ctx context.Context, onto Onto, to oci.Streamer) (*outcome, *growing, *upload, error) {
	lane := w.lane()
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
	case <-ctx.Done():
		return nil, nil, nil, context.Cause(ctx)
	}
	return w.make(ctx, onto, to)
}

// make reads the input and makes a layer: what comes packed and needs no change
// stays as it is, without a file; all else is packed into one.
func (w *work) make(ctx context.Context, onto Onto, to oci.Streamer) (*outcome, *growing, *upload, error) {
	reads, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r, err := w.read(reads)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { r.close() }()
	if w.keeps(r.comp) {
		what, err := w.check(reads, r, onto)
		if err != nil || what != nil {
			return what, nil, nil, err
		}
		r.close()
		next, err := w.read(reads)
		if err != nil {
			return nil, nil, nil, err
		}
		r = next
	}
	s := &sender{ctx: ctx, stop: stop, to: to}
	what, err := w.pack(reads, s, r, onto, w.rewriting(onto))
	if errors.Is(err, layer.ErrRepeats) {
		r.close()
		what, err = w.packAgain(reads, s, onto)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	g := s.g
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files = append(w.files, g)
	if s.up != nil {
		w.uploads = append(w.uploads, s.up)
	}
	return what, g, s.up, nil
}

// packAgain packs a tar that has several entries of a name, in two more passes.
func (w *work) packAgain(ctx context.Context, s *sender, onto Onto) (*outcome, error) {
	o := w.rewriting(onto)
	var err error
	if o.Repeats, err = w.repeats(ctx, onto); err != nil {
		return nil, err
	}
	r, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	s.up = nil
	return w.pack(ctx, s, r, onto, o)
}

// keeps reports whether a layer can have this packing.
func (w *work) keeps(c layer.Compression) bool {
	if w.in.layer != nil {
		return true
	}
	return !w.m.o.Repack && (c == layer.Gzip || c == layer.Zstd)
}

// check finds out whether the input can be the layer as it is; nil if not.
func (w *work) check(ctx context.Context, r *reading, onto Onto) (*outcome, error) {
	if w.in.layer != nil && (r.comp == layer.Bzip2 || r.comp == layer.XZ) {
		return nil, oci.Errorf(oci.ErrUnsupported, "a layer cannot be packed with %s", r.comp)
	}
	s := newSame(r.plain)
	done, err := r.rewrite(ctx, s, s, w.rewriting(onto))
	switch {
	case errors.Is(err, errDiffers), errors.Is(err, layer.ErrRepeats):
		return nil, nil
	case err != nil:
		return nil, err
	case done.Changed || s.ahead.Len() > 0:
		return nil, nil
	}
	if err := w.settle(r); err != nil {
		return nil, err
	}
	k := w.key()
	return &outcome{How: w.how(onto), Asked: done.Asked, Digest: k.digest, Size: k.size, DiffID: s.digest(),
		MediaType: layer.MediaType(oci.MediaLayer, r.comp), AsIs: true, Entries: done.Entries, Kept: done.Kept, KeptCount: done.KeptCount, Tops: done.Tops}, nil
}

// pack packs the input into a new file of a sender.
func (w *work) pack(ctx context.Context, s *sender, r *reading, onto Onto, o layer.RewriteOptions) (what *outcome, err error) {
	if s.g, err = newGrowing(w.m.o.TempDir); err != nil {
		return nil, err
	}
	if what, err = w.packTo(ctx, s, r, onto, o); err != nil {
		s.abort(err)
		return nil, errors.Join(err, s.g.Close())
	}
	s.end(what.descriptor(w.in))
	return what, nil
}

func (w *work) packTo(ctx context.Context, to io.Writer, r *reading, onto Onto, o layer.RewriteOptions) (*outcome, error) {
	p := w.m.o.Packing
	if p == (layer.Packing{}) {
		p.Compression = layer.Gzip
		if r.comp == layer.Zstd {
			p.Compression = layer.Zstd
		}
	}
	z, err := p.NewWriter(to)
	if err != nil {
		return nil, err
	}
	done, err := r.rewrite(ctx, z, r.plain, o)
	if cerr := z.Close(); err == nil { // also after an error: it ends what packs in the background
		err = cerr
	}
	if err == nil {
		err = w.settle(r)
	}
	if err != nil {
		return nil, err
	}
	packed := z.Packed()
	return &outcome{How: w.how(onto), Asked: done.Asked, Digest: packed.Digest, Size: packed.Size, DiffID: packed.DiffID,
		MediaType: p.MediaType(oci.MediaLayer), Annotations: packed.Annotations, Entries: done.Entries, Kept: done.Kept, KeptCount: done.KeptCount, Tops: done.Tops}, nil
}

// settle notes what the input was that has been read to its end. It must not
// become another while it is worked on.
func (w *work) settle(r *reading) error {
	if w.in.key != "" {
		return w.settled(w.in.key, 0)
	}
	d := r.raw.digest()
	if w.in.layer != nil { // its digest, which may be of another algorithm, was verified
		d = w.in.layer.Descriptor().Digest
	}
	return w.settled(d, r.raw.n)
}

func (w *work) settled(d oci.Digest, size int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.digest != "" && w.digest != d {
		return oci.Errorf(oci.ErrBusy, "it was changed while it was read")
	}
	w.digest, w.size = d, size
	return nil
}

// bytes finds the bytes of a layer, and makes them if it is only remembered. Who
// makes a layer that lies on this one may wait for it, with a lane and a turn in
// its hands: so this takes neither.
func (w *work) bytes(ctx context.Context, l *Layer) (*growing, error) {
	made := func() *growing {
		w.mu.Lock()
		defer w.mu.Unlock()
		return l.made
	}
	if g := made(); g != nil {
		return g, nil
	}
	select {
	case l.remaking <- struct{}{}:
		defer func() { <-l.remaking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if g := made(); g != nil {
		return g, nil
	}
	what, g, _, err := w.make(ctx, l.onto, nil)
	if err != nil {
		return nil, err
	}
	if g == nil || what.Digest != l.what.Digest || what.Size != l.what.Size || what.DiffID != l.what.DiffID {
		w.m.memory.forget(w.key())
		return nil, oci.Errorf(oci.ErrBusy, "it packs differently than it did before; that is forgotten now, so that the next try works")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.made = g
	return g, nil
}

func (w *work) key() key {
	w.mu.Lock()
	defer w.mu.Unlock()
	return key{w.digest, w.size}
}

// close removes the layers, when their uploads have ended.
func (w *work) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := []error{w.from.close()}
	for _, u := range w.uploads {
		u.cancel()
		<-u.over
	}
	for _, g := range w.files {
		errs = append(errs, g.Close())
	}
	w.files, w.uploads = nil, nil
	return errors.Join(errs...)
}
