// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

func init() {
	children["write"] = childWrite
	children["stop"] = childStop
}

const perChild = 3

// childWrite adds images to the archive, one commit each.
func childWrite(file string, args []string) error {
	n, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	for i := range uint64(perChild) {
		if err := addOne(file, 100*n+i); err != nil {
			return err
		}
	}
	return nil
}

func addOne(file string, seed uint64) error {
	a, err := archive.Open(file, archive.Options{Write: true})
	if err != nil {
		return err
	}
	defer a.Close()
	f := ocitest.Image(seed, 2, 100_000)
	if err := f.Push(context.Background(), a, fmt.Sprint("own-", seed), "latest"); err != nil {
		return err
	}
	return a.Commit(context.Background())
}

// Writers of one archive, in one process and in several, lose nothing of one
// another.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "image.tar")
	var all []*exec.Cmd
	for n := range 3 {
		c := child(t, "write", file, strconv.Itoa(n+1))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			if err := addOne(file, uint64(1000+n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range all {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	a := open(t, file, archive.Options{})
	seeds := []uint64{1000, 1001, 1002, 1003}
	for n := range uint64(3) {
		for i := range uint64(perChild) {
			seeds = append(seeds, 100*(n+1)+i)
		}
	}
	for _, seed := range seeds {
		f := ocitest.Image(seed, 2, 100_000)
		wantResolve(t, a, fmt.Sprint("own-", seed), f.Root)
		wantGraph(t, a, f.Root)
	}
	if _, err := a.Resolve(t.Context(), "latest"); err != nil {
		t.Error(err)
	}
	wantAlone(t, file)
}

// What one writer planned with is still there when another has replaced it.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	f, g, h := ocitest.Image(1, 2, 1000), ocitest.Image(2, 1, 10), ocitest.Image(3, 1, 10)
	file := made(t, archive.OCI, f, "1")
	a := open(t, file, archive.Options{Write: true})
	wantResolve(t, a, "1", f.Root) // all of it is there, so only a name is written
	if err := a.Tag(t.Context(), "again", f.Root); err != nil {
		t.Fatal(err)
	}
	push(t, open(t, file, archive.Options{Write: true}), g, "1") // f is dropped
	wantNothing(t, open(t, file, archive.Options{}), string(f.Root.Digest))
	commit(t, a)
	b := open(t, file, archive.Options{})
	wantResolve(t, b, "1", g.Root)
	wantResolve(t, b, "again", f.Root)
	wantGraph(t, b, f.Root)

	// Overwritten in place, what it relied on is gone.
	a = open(t, file, archive.Options{Write: true})
	if err := a.Tag(t.Context(), "third", f.Root); err != nil {
		t.Fatal(err)
	}
	other := read(t, made(t, archive.OCI, h, "h"))
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(other); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", a.Commit(t.Context()), oci.ErrBusy)
	if !bytes.Equal(other, read(t, file)) {
		t.Error("the archive has changed")
	}
}

// childStop stops in the middle of a layer, or just before the rename, for ever.
func childStop(file string, _ []string) error {
	a, err := archive.Open(file, archive.Options{Write: true})
	if err != nil {
		return err
	}
	f := ocitest.Image(7, 2, 3_000_000)
	for i, b := range f.Blobs {
		if i == 2 {
			b = stopping{b}
		}
		if _, err := a.Put(context.Background(), b); err != nil {
			return err
		}
	}
	return nil
}

type stopping struct{ oci.Blob }

func (s stopping) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := s.Blob.Open(ctx)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 2_000_000), stopped{}), r}, nil
}

// stopped says so and never returns.
type stopped struct{}

func (stopped) Read([]byte) (int, error) {
	fmt.Println("half")
	time.Sleep(time.Hour)
	return 0, io.EOF
}

// A run that is killed leaves the archive as it was, and what it leaves beside
// it is removed by the next.
func TestBad_098_Killed(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 1000)
	file := made(t, archive.OCI, f, "1")
	before := read(t, file)
	var all []*exec.Cmd
	for range 2 { // at the same time
		c := child(t, "stop", file)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "half\n" {
			t.Fatalf("%q, %v", line, err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
	}
	if !bytes.Equal(before, read(t, file)) {
		t.Error("the archive has changed")
	}
	g := ocitest.Image(7, 2, 3_000_000)
	push(t, open(t, file, archive.Options{Write: true}), g, "7")
	wantAlone(t, file)
	a := open(t, file, archive.Options{})
	wantResolve(t, a, "1", f.Root)
	wantGraph(t, a, g.Root)
}

// The part is synced before it is renamed; a name that others could write to is
// not used.
func TestBad_099_PartOfSomebodyElse(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 1000)
	file := filepath.Join(t.TempDir(), "image.tar")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, file+".dray-part"); err != nil {
		t.Skip(err)
	}
	push(t, open(t, file, archive.Options{Write: true}), f, "1")
	wantGraph(t, open(t, file, archive.Options{}), f.Root)
	wantAlone(t, file)
	if err := os.Symlink(victim, file+".dray-lock"); err != nil {
		t.Fatal(err)
	}
	a := open(t, file, archive.Options{Write: true})
	if err := a.Tag(t.Context(), "2", f.Root); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", a.Commit(t.Context()), oci.ErrInvalid)
	if got := read(t, victim); string(got) != "mine" {
		t.Errorf("the other file holds %q", got)
	}
}

// The archive that a link leads to is replaced, not the link, and keeps its
// mode.
func TestLinkAndMode(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	file := made(t, archive.OCI, f, "1")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.tar")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	push(t, open(t, link, archive.Options{Write: true}), g, "2")
	fi, err := os.Lstat(link)
	if err != nil || fi.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is gone: %v, %v", fi, err)
	}
	if fi, err = os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", fi.Mode(), err)
	}
	wantResolve(t, open(t, file, archive.Options{}), "2", g.Root)
}
