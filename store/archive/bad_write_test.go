// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

// Interrupted at any moment, the archive is as it was and nothing is left.
func TestBad_098_Interrupted(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 2, 1000), ocitest.Image(2, 2, 3_000_000)
	file := made(t, archive.OCI, f, "1")
	before := read(t, file)
	for n := range g.Blobs {
		a := open(t, file, archive.Options{Write: true})
		for _, b := range g.Blobs[:n] {
			if _, err := a.Put(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if n == len(g.Blobs)-1 {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			wantErr(t, "commit", a.Commit(ctx), context.Canceled)
		}
		if err := a.Abort(); err != nil {
			t.Error(err)
		}
		wantAlone(t, file)
		if n > 0 {
			wantNothing(t, a, string(g.Blobs[0].Descriptor().Digest))
		}
		commit(t, a) // nothing
		if !bytes.Equal(before, read(t, file)) {
			t.Error("the archive has changed")
		}
	}
	// An image that is not whole is not taken.
	a := open(t, file, archive.Options{Write: true})
	if err := a.Publish(t.Context(), g.Blob(g.Root.Digest)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", a.Commit(t.Context()), oci.ErrNotFound)
	if !bytes.Equal(before, read(t, file)) {
		t.Error("the archive has changed")
	}
	push(t, a, g, "2") // it can still be completed
	wantGraph(t, open(t, file, archive.Options{}), g.Root)
	wantAlone(t, file)
}

func TestBad_098_StreamThatBreaks(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 2_000_000)
	var out bytes.Buffer
	a := open(t, "-", archive.Options{Write: true, Out: &out})
	layer := f.Layers()[0]
	wrong := mustRead(t, layer)
	wrong[1_500_000] ^= 1
	small := oci.Bytes("text/plain", []byte("right"))
	_, err := a.Put(t.Context(), oci.Bytes("text/plain", []byte("wrong"), small.Descriptor().Digest))
	wantErr(t, "small blob", err, oci.ErrCorrupt) // was seen before it was written
	if _, err := a.Put(t.Context(), small); err != nil {
		t.Error(err)
	}
	_, err = a.Put(t.Context(), oci.Bytes(oci.MediaLayer, wrong, layer.Descriptor().Digest))
	wantErr(t, "layer", err, oci.ErrCorrupt)
	_, err = a.Put(t.Context(), layer)
	wantErr(t, "put after that", err, oci.ErrInvalid)
	if err := a.Tag(t.Context(), "1", f.Root); err == nil {
		t.Error("tag of what is not there")
	}
	_, err = open(t, "-", archive.Options{In: &out}).Resolve(t.Context(), "")
	wantErr(t, "what came out", err, oci.ErrInvalid)
	a = open(t, "-", archive.Options{Write: true, Out: &failing{left: 1000}})
	_, err = a.Put(t.Context(), layer)
	wantErr(t, "put into a broken pipe", err, io.ErrClosedPipe)
}

type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestBad_101_NoPermission(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("for a user who is not root; TestBad_101_OtherUser is for root")
	}
	f := ocitest.Image(1, 1, 1000)
	file := made(t, archive.OCI, f, "1")
	if err := os.Chmod(filepath.Dir(file), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(file), 0o700) })
	a := open(t, file, archive.Options{Write: true})
	wantResolve(t, a, "1", f.Root)
	wantGraph(t, a, f.Root)
	_, err := a.Put(t.Context(), ocitest.Image(2, 1, 10).Blobs[0])
	wantErr(t, "put", err, fs.ErrPermission)
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		path string
		o    archive.Options
		want error
	}{
		"nothing there":     {filepath.Join(dir, "x"), archive.Options{}, oci.ErrNotFound},
		"a directory":       {dir, archive.Options{Write: true}, oci.ErrInvalid},
		"no such directory": {filepath.Join(dir, "a", "b"), archive.Options{Write: true}, oci.ErrNotFound},
		"no output":         {"-", archive.Options{Write: true}, oci.ErrInvalid},
	} {
		_, err := archive.Open(c.path, c.o)
		wantErr(t, name, err, c.want)
	}
	f := ocitest.Image(1, 1, 1000)
	a := open(t, made(t, archive.OCI, f, "1"), archive.Options{})
	_, err := a.Put(t.Context(), f.Blobs[0])
	wantErr(t, "put", err, oci.ErrDenied)
	wantErr(t, "tag", a.Tag(t.Context(), "2", f.Root), oci.ErrDenied)
	wantErr(t, "commit", a.Commit(t.Context()), oci.ErrDenied)
	if _, err := open(t, "-", archive.Options{}).Resolve(t.Context(), ""); err == nil {
		t.Error("no stream to read, and no error")
	}
}
