// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dray-tools/dray/oci"
)

// maxHops is how many links a path may lead through.
const maxHops = 40

// target follows links, also one that leads to a file that is to be made.
func target(path string) (string, error) {
	for range maxHops {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return real, nil
		}
		fi, err := os.Lstat(path)
		if err != nil || fi.Mode().Type() != fs.ModeSymlink {
			return path, nil // whoever opens it finds out why
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // ".." in a link is that of where it is
		if err != nil {
			return "", err
		}
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(dir, to)
		}
	}
	return "", oci.Errorf(oci.ErrInvalid, "%s: more than %d links", path, maxHops)
}

// openFile is os.OpenFile that waits no longer than the context: a pipe opens
// when somebody is at its other end.
func openFile(ctx context.Context, name string, flag int) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result, 1)
	go func() {
		f, err := os.OpenFile(name, flag, 0)
		done <- result{f, err}
	}()
	select {
	case r := <-done:
		return r.f, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.f != nil {
				r.f.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// interrupt ends reads and writes of a pipe with the context. The caller calls
// what it returns.
func interrupt(ctx context.Context, f *os.File) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
}

// watch is interrupt for the pipe that is written, if it is one.
func (a *Archive) watch(ctx context.Context) (stop func() bool) {
	if f, ok := a.out.(*os.File); ok && a.pipe != "" {
		return interrupt(ctx, f)
	}
	return func() bool { return true }
}

// openPipe opens what is written to when that is first needed.
func (a *Archive) openPipe(ctx context.Context) error {
	if a.pipe == "" || a.out != nil {
		return nil
	}
	f, err := openFile(ctx, a.pipe, os.O_WRONLY)
	if err == nil {
		a.out = f
	}
	return err
}

// cut is the error of the context where that is why a file was not read or
// written further.
func cut(ctx context.Context, err error) error {
	if cerr := ctx.Err(); cerr != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return cerr
	}
	return err
}
