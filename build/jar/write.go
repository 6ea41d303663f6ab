// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/tar"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dray-tools/dray/oci"
)

// writer writes the tar of a part: its files in the order of their names, 0644 of
// root, all of one time.
func (x *part) writer(at time.Time) func(ctx context.Context, w io.Writer) error {
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	slices.SortFunc(x.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return func(ctx context.Context, w io.Writer) error {
		for _, a := range x.archives() {
			if err := a.acquire(); err != nil {
				return err
			}
			defer a.release()
		}
		t := tar.NewWriter(w)
		for _, f := range x.files {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.path, "/"), Size: f.size, Mode: 0o644, ModTime: at.Truncate(time.Second)}
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			if err := f.copy(t); err != nil {
				return err
			}
		}
		return t.Close()
	}
}

// archives are those that the files come from.
func (x *part) archives() (all []*archive) {
	add := func(a *archive) {
		if a != nil && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, f := range x.files {
		add(f.from)
		if f.thin != nil {
			add(f.thin.from)
		}
	}
	return all
}

// copy writes just as many bytes as there should be.
func (f *file) copy(w io.Writer) error {
	switch {
	case f.thin != nil:
		return f.thin.write(w)
	case f.from == nil:
		_, err := w.Write(f.data)
		return err
	case f.entry == nil:
		_, err := io.Copy(w, io.NewSectionReader(f.from, 0, f.size))
		return err
	}
	return copyEntry(w, f)
}

func copyEntry(w io.Writer, f *file) error {
	rc, err := f.entry.Open()
	if err != nil {
		return oci.Wrap("", oci.Quote(f.entry.Name), broken(err))
	}
	defer rc.Close()
	n, err := io.Copy(w, reading{io.LimitReader(rc, f.size+1)})
	if err == nil && n != f.size {
		err = broken(io.ErrUnexpectedEOF)
	}
	return oci.Wrap("", oci.Quote(f.entry.Name), err)
}
