// SPDX-License-Identifier: Apache-2.0

package place

import (
	"archive/tar"
	"context"
	"io"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// copySize is how much of a file is read at once.
const copySize = 256 << 10

// A writer writes the tar of a Spec.
type writer struct {
	ctx   context.Context
	tw    *tar.Writer
	mode  layer.Mode
	times bool // of files are kept
	apart bool // other names of a file of a context are files of their own
	buf   []byte
	hook  func(name string) // for tests: a file has been opened
}

// time is what a file that is not from an image says.
func (w *writer) time(t time.Time) time.Time {
	if !w.times || t.IsZero() {
		return time.Unix(0, 0)
	}
	return t.Truncate(time.Second)
}

// put writes an entry, with the mode that was asked for. r has the content of a
// file: as many bytes as the header says, or it is ErrBusy.
func (w *writer) put(h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeSymlink { // other names of a file too: engines give it the mode of each of them
		h.Mode = w.mode.Apply(h.Mode, h.Typeflag == tar.TypeDir)
	}
	return w.putExact(h, r)
}

// putExact is put without a change.
func (w *writer) putExact(h *tar.Header, r io.Reader) error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		if h.Name == "." {
			return nil
		}
		h.Name += "/"
	}
	if h.ModTime.Nanosecond() != 0 {
		h.Format = tar.FormatPAX
	}
	if err := w.tw.WriteHeader(h); err != nil {
		return oci.Errorf(oci.ErrInvalid, "%s: %w", oci.Quote(h.Name), err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return w.copy(h, r)
}

// copy writes the content of a file.
func (w *writer) copy(h *tar.Header, r io.Reader) error {
	if w.buf == nil {
		w.buf = make([]byte, copySize)
	}
	for left := h.Size; ; {
		if err := context.Cause(w.ctx); err != nil {
			return err
		}
		n, err := r.Read(w.buf[:min(max(left, 1), copySize)])
		if left -= int64(n); left < 0 || err == io.EOF && left > 0 {
			return changed(h.Name)
		}
		if _, bad := w.tw.Write(w.buf[:n]); bad != nil {
			return bad
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// changed is the error for what is no longer what it was a moment ago.
func changed(name string) error {
	return oci.Errorf(oci.ErrBusy, "%s was changed while it was read", oci.Quote(name))
}

// A made directory lies at a Dest that is not there.
func (w *writer) made(name string, mode int64) error {
	return w.putExact(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: time.Unix(0, 0)}, nil)
}
