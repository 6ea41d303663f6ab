// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// copySize is how much of a file is read and written at once.
const copySize = 256 << 10

// A rewriter passes entries from one tar to another.
type rewriter struct {
	o      RewriteOptions
	prefix string // "": none
	r      *Reader
	tap    *tap
	out    *bufio.Writer
	where  *whereabouts // nil: paths stay
	form   *windowsForm // nil: none
	names  *roster      // nil: all are written as they come
	left   []string     // directories of the Ground that have entries
	buf    []byte
	head   bytes.Buffer // a new header
	done   Rewritten
}

func newRewriter(out *bufio.Writer, in io.Reader, o RewriteOptions) (*rewriter, error) {
	r := &rewriter{o: o, out: out, buf: make([]byte, copySize)}
	r.r = NewReader(in, o.Limits)
	r.tap = &tap{r: r.r.raw.r, s: r.r.raw, out: out}
	r.r.raw.r = r.tap
	if o.Windows {
		r.form = &windowsForm{seen: map[[16]byte]spelling{}, exact: o.Exact}
	}
	if o.Exact {
		return r, nil
	}
	r.names = newRoster(o.Repeats)
	var err error
	if r.prefix, err = cleanPrefix(o.Prefix, o.Windows); err != nil {
		return nil, err
	}
	switch {
	case o.Windows:
		r.where = newWhereabouts(nowhere{}, func(Answer) {})
	case o.Ground != nil:
		r.where = newWhereabouts(o.Ground, func(a Answer) { r.done.Asked = append(r.done.Asked, a) })
	}
	return r, nil
}

// cleanPrefix brings a prefix into the form of Entry.Name; "" is the root. A
// drive (C:\) means that it is meant for Windows.
func cleanPrefix(s string, windows bool) (string, error) {
	if windows || drive(s) {
		s = windowsPath(s)
	}
	if s == "" {
		return "", nil
	}
	name, err := cleanName(s)
	switch {
	case err != nil:
		return "", err
	case name == ".":
		return "", nil
	}
	return name, checkHidden(name)
}

// checkHidden refuses names that would take away what is below the layer.
func checkHidden(name string) error {
	if strings.HasPrefix(name, whiteoutPrefix) || strings.Contains(name, "/"+whiteoutPrefix) {
		return oci.Errorf(oci.ErrInvalid, "%s: names that begin with %s mean in a layer that something is gone", oci.Quote(name), whiteoutPrefix)
	}
	return nil
}

func (r *rewriter) run(ctx context.Context) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		e, err := r.r.next()
		if err == io.EOF {
			return r.finish()
		}
		if err != nil {
			return err
		}
		if err := r.entry(ctx, e); err != nil {
			return err
		}
	}
}

// entry passes one entry, with its content; nil: one that Reader passes over.
func (r *rewriter) entry(ctx context.Context, e *Entry) error {
	if e == nil {
		switch {
		case r.r.raw.flag == tar.TypeXGlobalHeader:
			r.tap.rest = r.r.raw.need
			return r.flushHead()
		case !r.o.Exact: // of aufs
			return checkHidden(strings.TrimLeft(r.r.raw.wantName, "/"))
		}
		return r.keep(ctx)
	}
	if !r.o.Exact && (e.Kind == Whiteout || e.Kind == Opaque) {
		return checkHidden(strings.TrimLeft(e.Header.Name, "/"))
	}
	if r.form != nil {
		if err := r.begin(e); err != nil {
			return err
		}
	}
	if r.o.Exact {
		r.done.Entries++
		r.top(e.Name)
		if r.times(e.Header) != kept {
			return r.replace(ctx, e)
		}
		return r.keep(ctx)
	}
	was := e.Name
	act, err := r.change(ctx, e)
	if err == nil && act != dropped {
		act, err = r.once(e, act)
	}
	if err != nil {
		return oci.Wrap("", oci.Quote(was), err)
	}
	if act == dropped {
		r.done.Changed = true
		r.tap.head = r.tap.head[:0]
		r.tap.body = bodyLeft // to the next entry's reader, which passes it
		return nil
	}
	r.done.Entries++
	r.top(e.Header.Name)
	if act == kept {
		return r.keep(ctx)
	}
	return r.replace(ctx, e)
}

// keep passes an entry as it is.
func (r *rewriter) keep(ctx context.Context) error {
	if err := r.flushHead(); err != nil {
		return err
	}
	r.tap.body = bodyCopied
	if r.r.raw.sparse { // its holes would be filled; the next entry's reader passes what there is
		return nil
	}
	return r.copyBody(ctx, io.Discard)
}

// replace passes an entry with another header.
func (r *rewriter) replace(ctx context.Context, e *Entry) error {
	r.done.Changed = true
	r.tap.head = r.tap.head[:0]
	h := e.Header
	if h.Size = e.Size; r.r.raw.sparse {
		h.Typeflag = tar.TypeReg
	}
	if err := r.write(h); err != nil {
		return err
	}
	if !r.r.raw.sparse {
		r.tap.body = bodyCopied
		return r.copyBody(ctx, io.Discard)
	}
	r.tap.body = bodyLeft // maps of holes cannot be written
	if err := r.copyBody(ctx, r.out); err != nil {
		return err
	}
	return r.zeros(padded(e.Size) - e.Size)
}

func (r *rewriter) copyBody(ctx context.Context, w io.Writer) error {
	for {
		n, err := r.r.Read(r.buf)
		if _, bad := w.Write(r.buf[:n]); bad != nil {
			return bad
		}
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (r *rewriter) flushHead() error {
	_, err := r.out.Write(r.tap.head)
	r.tap.head = r.tap.head[:0]
	return err
}

func (r *rewriter) zeros(n int64) error {
	for n > 0 {
		m := min(n, int64(len(zeros)))
		if _, err := r.out.Write(zeros[:m]); err != nil {
			return err
		}
		n -= m
	}
	return nil
}

// write writes a new header.
func (r *rewriter) write(h *tar.Header) error {
	setFormat(h)
	r.head.Reset()
	if err := tar.NewWriter(&r.head).WriteHeader(h); err != nil {
		return oci.Wrap("", oci.Quote(h.Name), oci.Errorf(oci.ErrInvalid, "%w", err))
	}
	_, err := r.out.Write(r.head.Bytes())
	return err
}

// writeDir writes a directory that the tar does not have: a new one, or an odd one
// of the Ground with its mode and owner, since some engines (Docker's on overlay2)
// make parents that a layer does not name anew, as 0755 of root.
func (r *rewriter) writeDir(p Place) error {
	name := p.Path
	at := r.o.Clamp
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	h := &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: at}
	switch {
	case p.Odd:
		h.Mode, h.Uid, h.Gid = p.Mode, p.UID, p.GID
	case r.o.Owner != nil:
		h.Uid, h.Gid = r.o.Owner.UID, r.o.Owner.GID
	}
	if r.form != nil {
		windowsHeader(h, attrDirectory)
	}
	v, err := r.names.take(name, Dir, "", h)
	if v.drop || err != nil {
		return err
	}
	if v.h != nil {
		h = v.h
	}
	r.done.Changed = true
	r.done.Entries++
	r.top(h.Name)
	return r.write(h)
}

// finish writes the end of the tar as it was, or one if it has none and is not
// passed as it is.
func (r *rewriter) finish() error {
	if r.r.raw.state != inEnd && len(r.tap.head) > 0 || len(r.tap.head) > len(zeros) {
		return oci.Errorf(oci.ErrInvalid, "the tar ends with the first part of a header")
	}
	r.keptDirs()
	bare := r.form != nil && !r.o.Exact && (!r.form.files || !r.form.hives)
	mend := r.r.raw.state != inEnd && (bare || r.done.Changed)
	if mend && r.tap.body != bodyLeft { // the last padding may be cut
		if err := r.zeros(r.r.raw.need); err != nil {
			return err
		}
	}
	if bare {
		if err := r.tops(true, true, false); err != nil {
			return err
		}
	}
	if err := r.flushHead(); err != nil {
		return err
	}
	if mend {
		return r.zeros(1024)
	}
	return r.zeros(r.tap.tail)
}
