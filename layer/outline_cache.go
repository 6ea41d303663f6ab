// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dray-tools/dray/internal/disk"
	"github.com/dray-tools/dray/oci"
)

// Outlines remembers layers without their contents, by digest, in a directory
// that processes can share. What goes wrong there is no error: then the layer
// is read. The zero value keeps nothing. It is safe for concurrent use and must
// not be copied.
type Outlines struct {
	Dir      string // "": nothing is kept
	Limits   Limits
	MaxBytes int64 // of all that is kept, of which the oldest goes: 1 GiB

	mu      sync.Mutex
	reading map[string]*reading
	slots   chan struct{} // of layers that are being read
	heavy   chan struct{} // of those of them that take much memory
}

// A reading is a layer that is being read.
type reading struct {
	done    chan struct{}
	outline *Outline
	err     error
	gone    bool // who read it does not want it any more
}

// outlineReads is how many layers are read at the same time.
const outlineReads = 8

// Cached is the outline of a layer, if it is kept: that of the layer as it was
// read, else that of the table of contents which the descriptor names. The
// table is part of the question, because it is the manifest that vouches for
// it, and another one may vouch for another table.
func (o *Outlines) Cached(d oci.Descriptor) (*Outline, bool) {
	if o.Dir == "" || oci.CheckDescriptor(d) != nil {
		return nil, false
	}
	for _, table := range []oci.Digest{"", tableOf(d)} {
		if out := o.load(d.Digest, table); out != nil {
			return out, true
		}
	}
	return nil, false
}

// Of is the outline of a layer, which is read if it is not kept; the errors are
// those of ReadOutline. A layer that is being read already is waited for.
func (o *Outlines) Of(ctx context.Context, b oci.Blob) (*Outline, error) {
	out, _, err := o.of(ctx, b)
	return out, err
}

// of also tells whether it was read just now, by whomever.
func (o *Outlines) of(ctx context.Context, b oci.Blob) (out *Outline, now bool, err error) {
	d := b.Descriptor()
	if err := oci.CheckDescriptor(d); err != nil {
		return nil, false, err
	}
	for {
		if out, ok := o.Cached(d); ok {
			return out, false, nil
		}
		r, first := o.start(outlineName(d.Digest, tableOf(d)))
		if first {
			o.read(ctx, b, r)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
		if first || !r.gone {
			return r.outline, true, r.err
		}
	}
}

func (o *Outlines) start(name string) (r *reading, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.reading[name]; r != nil {
		return r, false
	}
	if o.reading == nil {
		o.reading = map[string]*reading{}
		o.slots, o.heavy = make(chan struct{}, outlineReads), make(chan struct{}, 1)
	}
	r = &reading{done: make(chan struct{})}
	o.reading[name] = r
	return r, true
}

func (o *Outlines) read(ctx context.Context, b oci.Blob, r *reading) {
	defer func() {
		r.gone = r.err != nil && ctx.Err() != nil
		o.mu.Lock()
		d := b.Descriptor()
		delete(o.reading, outlineName(d.Digest, tableOf(d)))
		o.mu.Unlock()
		close(r.done)
	}()
	if r.err = take(ctx, o.slots); r.err != nil {
		return
	}
	defer func() { <-o.slots }()
	heavy := false
	defer func() {
		if heavy {
			<-o.heavy
		}
	}()
	r.outline, r.err = readOutline(ctx, b, func() error {
		err := take(ctx, o.heavy)
		heavy = err == nil
		return err
	}, o.Limits)
	if r.err == nil {
		o.keep(r.outline)
	}
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outlineName is the name of the file: digests that have been checked, in
// letters that every file system has.
func outlineName(layer, table oci.Digest) string {
	name := string(layer.Algorithm()) + "-" + layer.Encoded()
	if table != "" { // as short as a name must be on some systems
		name += "-" + oci.FromBytes([]byte(table)).Encoded()[:32]
	}
	return name
}

// load reads a file; nil if it is not there or not right.
func (o *Outlines) load(layer, table oci.Digest) *Outline {
	name := filepath.Join(o.Dir, outlineName(layer, table))
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxOutline+maxOutlineLine {
		return nil
	}
	raw := bytes.NewBuffer(make([]byte, 0, fi.Size()+bytes.MinRead))
	if _, err := io.Copy(raw, io.LimitReader(f, fi.Size())); err != nil {
		return nil
	}
	out, err := parseOutline(raw.Bytes(), o.Limits)
	if err != nil || out.Layer != layer || out.Table != table {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // the oldest is what was not used for longest
	return out
}

// keep writes a file, whole or not at all.
func (o *Outlines) keep(out *Outline) {
	if o.Dir == "" {
		return
	}
	_ = disk.Keep(filepath.Join(o.Dir, outlineName(out.Layer, out.Table)), out.write) // else it is read again
	o.trim()
}

// trim removes the oldest files beyond the bound, and what interrupted
// processes have left.
func (o *Outlines) trim() {
	list, err := os.ReadDir(o.Dir)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	left := cmp.Or(o.MaxBytes, 1<<30)
	for _, e := range list {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			files = append(files, fi)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, fi := range files {
		if left -= fi.Size(); left < 0 {
			os.Remove(filepath.Join(o.Dir, fi.Name()))
		}
	}
}
