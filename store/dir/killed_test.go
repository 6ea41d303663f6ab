// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

// A failed copy leaves the old image byte for byte, and nothing beside it.
func TestBad_098_Abort(t *testing.T) {
	t.Parallel()
	path := made(t, ocitest.Image(1, 1, 10))
	before := snapshot(t, filepath.Dir(path))
	d := open(t, path, true)
	f := ocitest.Image(2, 2, 10)
	push(t, d, ocitest.Fixture{Blobs: f.Blobs[:2]})
	if maps.Equal(before, snapshot(t, filepath.Dir(path))) {
		t.Error("nothing was written")
	}
	if err := d.Abort(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, snapshot(t, filepath.Dir(path))) {
		t.Error("something was changed or left")
	}
	push(t, d, f) // and it can be used again
	publish(t, d, f)
	commit(t, d)
	wantImage(t, path, f)
}

func init() {
	children["killed"] = func(path string) error {
		d, err := dir.Open(path, dir.Options{Write: true})
		if err != nil {
			return err
		}
		f := large()
		if err := (ocitest.Fixture{Blobs: f.Blobs[:2]}).Push(context.Background(), d); err != nil {
			return err
		}
		half := cut{f.Layers()[1].(oci.RangeBlob), 2 << 20}
		_, err = d.Put(context.Background(), half)
		if err == nil {
			return errors.New("it was not cut")
		}
		fmt.Println("half")
		select {} // until killed
	}
}

// large is an image of a config and two layers of 4 MiB.
func large() ocitest.Fixture { return ocitest.Image(3, 2, 4<<20) }

// cut is a blob that ends after n bytes.
type cut struct {
	oci.RangeBlob
	n int64
}

func (c cut) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := c.RangeBlob.Open(ctx)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, c.n), broken{}), r}, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the line broke") }

// counted counts the bytes that are read of a blob.
type counted struct {
	oci.RangeBlob
	n atomic.Int64
}

func (c *counted) Open(ctx context.Context) (io.ReadCloser, error) {
	return oci.Observe(c.RangeBlob, func(n int) { c.n.Add(int64(n)) }).Open(ctx)
}

func (c *counted) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	return oci.Observe(c.RangeBlob, func(n int) { c.n.Add(int64(n)) }).(oci.RangeBlob).OpenRange(ctx, offset, length)
}

// A killed run leaves the old image as it was; the next goes on where it
// ended.
func TestBad_098_Killed(t *testing.T) {
	t.Parallel()
	old := ocitest.Image(1, 1, 10)
	path := made(t, old)
	before := snapshot(t, path)
	c := child(t, "killed", path)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, path, true).Put(t.Context(), old.Blobs[0])
	wantErr(t, "put while another writes", err, oci.ErrBusy)
	_ = c.Process.Kill()
	_ = c.Wait()
	if !maps.Equal(before, snapshot(t, path)) {
		t.Error("the old image was changed")
	}
	f := large()
	d := open(t, path, true)
	var moved int64
	for _, b := range f.Blobs {
		n := &counted{RangeBlob: b.(oci.RangeBlob)}
		if _, err := d.Put(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if !oci.IsManifest(b.Descriptor().MediaType) {
			moved += n.n.Load()
		}
	}
	if want := f.Layers()[1].Descriptor().Size - 2<<20; moved != want {
		t.Errorf("%d bytes were moved again, want %d", moved, want)
	}
	publish(t, d, f)
	commit(t, d)
	wantImage(t, path, f)
	wantAlone(t, path)
}

// What a killed run has left is hashed before it counts.
func TestBad_098_LeftoversAreChecked(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 2<<20)
	for _, old := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "image")
		if old {
			save(t, path, ocitest.Image(2, 1, 10))
		}
		part := filepath.Join(filepath.Dir(path), ".image.part")
		next := filepath.Join(part, "image")
		if err := os.MkdirAll(next, 0o755); err != nil {
			t.Fatal(err)
		}
		layers := f.Layers()
		write(t, filepath.Join(next, layers[0].Descriptor().Digest.Encoded()), make([]byte, layers[0].Descriptor().Size))
		write(t, filepath.Join(part, layers[1].Descriptor().Digest.Encoded()+".part"), make([]byte, 1000))
		write(t, filepath.Join(next, "stray"), []byte("x"))
		if err := os.Mkdir(filepath.Join(next, f.Blobs[0].Descriptor().Digest.Encoded()), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(part, f.Root.Digest.Encoded()+".manifest.json.part")); err != nil {
			t.Skip(err)
		}
		save(t, path, f)
		wantImage(t, path, f)
		wantAlone(t, path)
		if n := len(snapshot(t, path)); n != 6 {
			t.Errorf("%d files", n)
		}
	}
}

// Where directories cannot be swapped in one step a killed run can leave the
// old image aside; it is put back.
func TestBad_098_KilledBetweenRenames(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	path := made(t, f)
	part := filepath.Join(filepath.Dir(path), ".image.part")
	if err := os.MkdirAll(filepath.Join(part, "image"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, filepath.Join(part, "old")); err != nil {
		t.Fatal(err)
	}
	d := open(t, path, true)
	if how, err := d.Put(t.Context(), f.Blobs[0]); how != oci.Existed || err != nil {
		t.Errorf("%v, %v", how, err)
	}
	wantImage(t, path, f)
	if err := d.Abort(); err != nil {
		t.Fatal(err)
	}
	wantAlone(t, path)
}

// Two writers do not mix: each leaves one image, or is told that the other is
// at it.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "image")
	fixtures := []ocitest.Fixture{ocitest.Image(1, 3, 1000), ocitest.Image(2, 3, 1000)}
	var wg sync.WaitGroup
	var done atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			d := open(t, path, true)
			f := fixtures[i%2]
			err := f.Push(t.Context(), d)
			if err == nil {
				err = d.Publish(t.Context(), f.Blob(f.Root.Digest))
			}
			if err == nil {
				err = d.Commit(t.Context())
			}
			if err == nil {
				done.Add(1)
			} else if !errors.Is(err, oci.ErrBusy) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if done.Load() == 0 {
		t.Fatal("nobody was done")
	}
	d, err := open(t, path, false).Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fixtures {
		if f.Root.Digest == d.Digest {
			wantImage(t, path, f)
		}
	}
	if n := len(snapshot(t, path)); n != 7 {
		t.Errorf("%d files", n)
	}
	wantAlone(t, path)
}

// The hidden directory is not followed out, nor taken from others.
func TestHiddenDirectoryIsALink(t *testing.T) {
	t.Parallel()
	parent, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(parent, ".image.part")); err != nil {
		t.Skip(err)
	}
	f := ocitest.Image(1, 1, 10)
	_, err := open(t, filepath.Join(parent, "image"), true).Put(t.Context(), f.Blobs[0])
	wantErr(t, "put", err, oci.ErrInvalid)
	if n := len(snapshot(t, outside)); n != 1 {
		t.Error("a file was made outside")
	}
}
