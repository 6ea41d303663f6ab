// SPDX-License-Identifier: Apache-2.0

package podman_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
	"github.com/dray-tools/dray/store/podman"
)

var _ interface {
	oci.Store
	oci.Ranger
	oci.Publisher
	oci.Admitter
	oci.Committer
	oci.Locator
	io.Closer
} = (*podman.Image)(nil)

// The test binary is the tool, too: its storage is the directory that the name
// of an image has in brackets.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "--insecure-policy" || os.Args[1] == "push") {
		if err := fake(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "one\ntime=\"now\" level=fatal msg=%q\n", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func fake(args []string) error {
	at := func(s string) string {
		s = strings.TrimPrefix(strings.TrimPrefix(s, "dir:"), "containers-storage:")
		return strings.NewReplacer("[", "", "]", "/").Replace(s)
	}
	last := args[len(args)-1]
	switch {
	case strings.Contains(strings.Join(args, " "), "]hang"):
		time.Sleep(time.Hour) // until killed
	case strings.Contains(strings.Join(args, " "), "]loud"):
		fmt.Fprint(os.Stderr, strings.Repeat("noise\n", 1<<16)+"\x1b[1m")
		return errors.New("loud \x1b[1m" + strings.Repeat("x", 1000))
	case slices.Equal(args[:2], []string{"--insecure-policy", "inspect"}):
		raw, err := os.ReadFile(filepath.Join(at(last), "manifest.json"))
		fmt.Printf("%s", raw)
		return err
	}
	return os.CopyFS(at(last), os.DirFS(at(args[len(args)-2])))
}

func look(programs ...string) func(string) (string, error) {
	return func(name string) (string, error) {
		if slices.Contains(programs, name) {
			return os.Executable()
		}
		return "", exec.ErrNotFound
	}
}

func open(t *testing.T, name string, write bool) *podman.Image {
	t.Helper()
	temp := t.TempDir()
	i, err := podman.Open(name, podman.Options{LookPath: look("skopeo"), TempDir: temp, Write: write})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("%d files are left", len(left))
		}
	})
	return i
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func storage(t *testing.T, name string) string { return "[" + t.TempDir() + "]" + name }

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	name, f := storage(t, "app"), ocitest.Image(1, 2, 1000)
	w := open(t, name, true)
	_, err := w.Resolve(t.Context(), name)
	wantErr(t, "resolve of what is not there", err, oci.ErrNotFound)
	for _, b := range f.Blobs[:len(f.Blobs)-1] {
		if how, err := w.Put(t.Context(), b); err != nil || how != oci.Sent {
			t.Fatalf("%v, %v", how, err)
		}
		if _, err := w.Stat(t.Context(), b.Descriptor()); err != nil {
			t.Error(err)
		}
	}
	if err := w.Publish(t.Context(), f.Blob(f.Root.Digest), name); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "another name", w.Tag(t.Context(), "other", f.Root), oci.ErrUnsupported)
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := w.Resolve(t.Context(), name); err != nil || d.Digest != f.Root.Digest {
		t.Errorf("%+v, %v", d, err)
	}
	r := open(t, name, false)
	for _, n := range []string{"", name, string(f.Root.Digest)} {
		if d, err := r.Resolve(t.Context(), n); err != nil || d.Digest != f.Root.Digest || d.MediaType != f.Root.MediaType {
			t.Errorf("%q: %+v, %v", n, d, err)
		}
	}
	for _, b := range f.Blobs {
		rc, err := r.Open(t.Context(), b.Descriptor())
		if err == nil {
			_, err = io.Copy(io.Discard, rc)
			_ = rc.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	_, err = r.Resolve(t.Context(), "other")
	wantErr(t, "another name", err, oci.ErrNotFound)
	_, err = r.Put(t.Context(), f.Blobs[0])
	wantErr(t, "put for reading", err, oci.ErrDenied)
	_, err = w.Open(t.Context(), f.Root)
	wantErr(t, "open for writing", err, oci.ErrUnsupported)
}

// skopeo calls plain layers packed.
func TestPlainLayersAreCalledPlain(t *testing.T) {
	t.Parallel()
	name, f := storage(t, "app"), ocitest.Image(1, 2, 1000)
	store, err := dir.Open(strings.NewReplacer("[", "", "]", "/").Replace(name), dir.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Blob(f.Root.Digest).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	wrong := oci.Bytes(oci.MediaManifest, []byte(strings.ReplaceAll(string(raw), `"`+oci.MediaLayer+`"`, `"`+oci.MediaLayerGzip+`"`)))
	if err := (ocitest.Fixture{Blobs: append(f.Blobs[:len(f.Blobs)-1:len(f.Blobs)-1], wrong)}).Push(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	if err := store.Publish(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := open(t, name, false).Resolve(t.Context(), "")
	if err != nil || d.Digest != f.Root.Digest {
		t.Errorf("%+v, %v, want %s", d, err, f.Root.Digest)
	}
}

func TestNoTool(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		programs []string
		write    bool
		want     error
	}{
		{nil, false, oci.ErrUnsupported}, {nil, true, oci.ErrUnsupported}, {[]string{"podman"}, true, oci.ErrUnsupported},
		{[]string{"podman"}, false, nil}, {[]string{"skopeo"}, true, nil}, {[]string{"skopeo", "podman"}, false, nil},
	} {
		_, err := podman.Open("app", podman.Options{LookPath: look(c.programs...), Write: c.write})
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), "skopeo") {
			t.Errorf("%v, write %v: %v", c.programs, c.write, err)
		}
	}
	for _, name := range []string{"", "-x", "--help", "a b", "a\nb", "a\x1b"} {
		if _, err := podman.Open(name, podman.Options{LookPath: look("skopeo")}); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPodmanReads(t *testing.T) {
	t.Parallel()
	name, f := storage(t, "app"), ocitest.Image(1, 1, 10)
	w := open(t, name, true)
	if err := f.Push(t.Context(), w, name); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	i, err := podman.Open(name, podman.Options{LookPath: look("podman"), TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if d, err := i.Resolve(t.Context(), name); err != nil || d.Digest != f.Root.Digest {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1)
	m, err := oci.ParseManifest("", readBlob(t, f.Blob(f.Root.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	i := open(t, storage(t, "app"), true)
	if err := i.Admit(t.Context(), m, nil); !errors.Is(err, oci.ErrUnsupported) || !strings.Contains(err.Error(), "--platform") {
		t.Errorf("index: %v", err)
	}
	if err := i.Commit(t.Context()); err != nil { // nothing was put
		t.Error(err)
	}
	if _, err := i.Stat(t.Context(), f.Root); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
	if err := i.Commit(t.Context()); err != nil { // still nothing
		t.Error(err)
	}
}

func readBlob(t *testing.T, b oci.Blob) []byte {
	t.Helper()
	r, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What the tool says is cut and cannot steer a terminal.
func TestToolFails(t *testing.T) {
	t.Parallel()
	for _, write := range []bool{false, true} {
		i := open(t, storage(t, "loud"), write)
		f := ocitest.Image(1, 1, 10)
		var err error
		if write {
			if err = f.Push(t.Context(), i); err == nil {
				err = oci.Publish(t.Context(), i, f.Blobs[len(f.Blobs)-1])
			}
			if err == nil {
				err = i.Commit(t.Context())
			}
		} else {
			_, err = i.Resolve(t.Context(), "")
		}
		if err == nil || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n") || !strings.Contains(err.Error(), `: "loud \x1b[1mxxx`) {
			t.Errorf("write %v: %v", write, err)
		}
	}
}

func TestBad_098_Cancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := open(t, storage(t, "hang"), false).Resolve(ctx, "")
	wantErr(t, "resolve", err, context.DeadlineExceeded)
}
