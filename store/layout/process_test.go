// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

func init() {
	children["copies"] = childCopies
	children["half"] = childHalf
	children["lock"] = childLock
	children["one"] = childOne
}

const perChild = 5

// childCopies copies images into the layout that share a layer with those of
// the other processes.
func childCopies(dir string, args []string) error {
	n, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	l, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		return err
	}
	for i := range uint64(perChild) {
		if _, err := l.Put(context.Background(), sharedBlob()); err != nil {
			return err
		}
		f := ocitest.Image(100*n+i, 2, 1000)
		if err := f.Push(context.Background(), l, fmt.Sprintf("own-%d-%d", n, i), "latest"); err != nil {
			return err
		}
	}
	return nil
}

func sharedBlob() oci.Blob { return oci.Bytes(oci.MediaLayer, ocitest.Random(7, 3<<20)) }

func TestBad_096_ManyProcessesOneLayout(t *testing.T) {
	t.Parallel()
	const processes = 8
	dir := filepath.Join(t.TempDir(), "image")
	var all []*exec.Cmd
	for n := range processes {
		c := child(t, "copies", dir, strconv.Itoa(n+1))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	l := open(t, dir, layout.Options{ReadOnly: true})
	for n := range processes {
		for i := range perChild {
			f := ocitest.Image(uint64(100*(n+1)+i), 2, 1000)
			wantResolve(t, l, fmt.Sprintf("own-%d-%d", n+1, i), f.Root)
			wantGraph(t, l, f.Root)
		}
	}
	if got := len(entries(t, dir)); got != processes*perChild+1 {
		t.Errorf("index.json has %d entries", got)
	}
	wantClean(t, dir)
}

const halfSize, half = 5 << 20, 3<<20 + 12345

// childHalf stops in the middle of a blob for ever.
func childHalf(dir string, _ []string) error {
	l, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		return err
	}
	b := count(layerBlob(5, halfSize))
	b.wrap = func(r io.ReadCloser) io.ReadCloser {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r, half), stopped{}), r}
	}
	_, err = l.Put(context.Background(), b)
	return err
}

// stopped says so and never returns.
type stopped struct{}

func (stopped) Read([]byte) (int, error) {
	fmt.Println("half")
	time.Sleep(time.Hour)
	return 0, io.EOF
}

// killed runs a child until it says a word, and kills it.
func killed(t *testing.T, c *exec.Cmd) {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("child said %q, %v", line, err)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
}

// What a killed process has fetched is not fetched again.
func TestBad_098_KilledInTheMiddle(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	killed(t, child(t, "half", dir))
	if got := files(t, dir); len(got) != 6 { // .lock, index.json, ingest, the half blob, its lock, oci-layout
		t.Errorf("killed: %q", got)
	}
	l := open(t, dir, layout.Options{Create: true})
	b := count(layerBlob(5, halfSize))
	put(t, l, b, oci.Sent)
	at := b.offset.Load() // the last bytes may not have been written yet
	if b.opens.Load() != 0 || b.ranges.Load() != 1 || at > half || at < half-2<<20 || b.bytes.Load() != halfSize-at {
		t.Errorf("opened %d times, %d ranges, the last from %d, %d bytes read", b.opens.Load(), b.ranges.Load(), b.offset.Load(), b.bytes.Load())
	}
	if got, err := readAll(t, l, b.Descriptor()); err != nil || len(got) != halfSize {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantClean(t, dir)
}

// While a process has the half blob, another one does not wait for it.
func TestBad_098_TwoProcessesOneBlob(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	c := child(t, "half", dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait() //nolint:errcheck // it is killed
	defer c.Process.Kill()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	b := count(layerBlob(5, halfSize))
	put(t, open(t, dir, layout.Options{}), b, oci.Sent)
	if b.opens.Load() != 1 || b.bytes.Load() != halfSize {
		t.Errorf("opened %d times, %d bytes read", b.opens.Load(), b.bytes.Load())
	}
}

// childLock dies with the lock of the layout held.
func childLock(dir string, _ []string) error {
	l, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		return err
	}
	f := ocitest.Image(1, 1, 10)
	if err := f.Push(context.Background(), l, "v1"); err != nil {
		return err
	}
	_, err = layout.GC(context.Background(), dir, layout.GCOptions{Now: func() time.Time { // it has the lock now
		fmt.Println("locked")
		time.Sleep(time.Hour)
		return time.Now()
	}})
	return err
}

func TestBad_103_LockOfADeadProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	c := child(t, "lock", dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, layout.Options{})
	f := ocitest.Image(1, 1, 10)
	wantResolve(t, l, "v1", f.Root) // reading needs no lock
	put(t, l, layerBlob(3, 100), oci.Sent)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Tag(ctx, "v2", f.Root) }()
	cancel() // waiting for the lock ends with the context
	wantErr(t, "tag", <-done, context.Canceled)
	go func() { done <- l.Tag(t.Context(), "v2", f.Root) }()
	_ = c.Process.Kill()
	_ = c.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantResolve(t, l, "v2", f.Root)
}

func TestBad_103_LinkedLayout(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	a, b := open(t, dir, layout.Options{}), open(t, link, layout.Options{})
	x, _ := a.Locate()
	if y, _ := b.Locate(); x != y {
		t.Errorf("got %s and %s", x, y)
	}
	if err := b.Tag(t.Context(), "v2", f.Root); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, a, "v2", f.Root)
}

// childOne copies one image and tags it.
func childOne(dir string, args []string) error {
	l, err := layout.Open(dir, layout.Options{Create: true})
	if err != nil {
		return err
	}
	for i := range uint64(len(args)) {
		if err := ocitest.Image(i, 2, 800_000).Push(context.Background(), l, args[i]); err != nil {
			return err
		}
	}
	return nil
}

// Killed at any of many moments, a layout has no tag that is not complete, and
// the next run ends well and leaves nothing behind but half blobs for GC.
func TestBad_098_KilledAtManyMoments(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	names := []string{"a", "b", "c"}
	for round := range 12 {
		c := child(t, "one", dir, names...)
		c.Stderr = nil
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(round)*3*time.Millisecond, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		timer.Stop()
		l, err := layout.Open(dir, layout.Options{})
		if errors.Is(err, oci.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		tags, err := collect(l.Tags(t.Context()))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, name := range tags {
			wantGraph(t, l, ocitest.Image(uint64(slices.Index(names, name)), 2, 800_000).Root)
		}
	}
	if out, err := child(t, "one", dir, names...).Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := layout.GC(t.Context(), dir, layout.GCOptions{Now: func() time.Time { return time.Now().Add(24 * time.Hour) }}); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, layout.Options{})
	for i := range names {
		wantGraph(t, l, ocitest.Image(uint64(i), 2, 800_000).Root)
	}
	wantClean(t, dir)
}

// Bytes are synced before they get their name, names before index.json points
// at them, and index.json before the tag is reported.
func TestBad_099_OrderOfSyncs(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	require(t, err == nil, "strace")
	dir := filepath.Join(t.TempDir(), "image")
	c := child(t, "one", dir, "v1")
	log := filepath.Join(t.TempDir(), "log")
	c.Args = append([]string{strace, "-f", "-y", "-o", log, "-e", "trace=fsync,fdatasync,renameat,renameat2,rename"}, c.Args...)
	c.Path = strace
	var msg bytes.Buffer
	c.Stderr = &msg
	if err := c.Run(); err != nil {
		require(t, false, "permission to trace: "+msg.String())
	}
	synced := map[string]bool{}
	pending := map[string]bool{} // names that no directory sync has made durable
	tagged := false
	for line := range strings.Lines(string(read(t, log))) {
		switch {
		case strings.Contains(line, "fsync("):
			_, name, _ := strings.Cut(line, "<")
			name, _, _ = strings.Cut(name, ">")
			synced[filepath.Base(name)] = true
			for p := range pending {
				if filepath.Dir(p) == name {
					delete(pending, p)
				}
			}
		case renamed.MatchString(line):
			m := renamed.FindStringSubmatch(line)
			from, to := m[1], filepath.Join(m[2], m[3])
			if !synced[from] {
				t.Errorf("renamed before it was synced: %s", line)
			}
			if m[3] == "index.json" && len(pending) > 0 {
				t.Errorf("index.json points at names that are not durable: %v", pending)
			}
			tagged = tagged || m[3] == "index.json"
			pending[to] = true
		}
	}
	if !tagged || len(pending) > 0 {
		t.Errorf("index.json written: %v, not durable at the end: %v", tagged, pending)
	}
}

// renamed is how strace shows a rename: the old name, and directory and name
// of the new one.
var renamed = regexp.MustCompile(`renameat2?\(\d+<[^>]*>, "([^"]*)", \d+<([^>]*)>, "([^"]*)"`)
