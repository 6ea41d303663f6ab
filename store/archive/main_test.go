// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

// children are what the test binary does instead of testing when it is
// started again as another process.
var children = map[string]func(file string, args []string) error{}

const childVariable = "DRAY_TEST_ARCHIVE_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child makes the command of another process.
func child(t testing.TB, name, file string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, append([]string{file}, args...)...)
	c.Env = append(os.Environ(), childVariable+"="+name)
	c.Stderr = os.Stderr
	return c
}

// require skips a test for which something is missing; where everything must
// be tested it fails.
func require(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("DRAY_TEST_REQUIRE") == "1":
		t.Fatalf("missing: %s", what)
	default:
		t.Skipf("missing: %s", what)
	}
}

func open(t testing.TB, file string, o archive.Options) *archive.Archive {
	t.Helper()
	a, err := archive.Open(file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// push puts a fixture, names it, or publishes it without a name, and commits.
func push(t testing.TB, a *archive.Archive, f ocitest.Fixture, names ...string) {
	t.Helper()
	add(t, a, f, names...)
	commit(t, a)
}

func add(t testing.TB, a *archive.Archive, f ocitest.Fixture, names ...string) {
	t.Helper()
	if err := f.Push(t.Context(), a, names...); err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		if err := a.Publish(t.Context(), f.Blob(f.Root.Digest)); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t testing.TB, a *archive.Archive) {
	t.Helper()
	if err := a.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// made writes an archive of one fixture and returns its file.
func made(t testing.TB, kind archive.Kind, f ocitest.Fixture, names ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	push(t, open(t, file, archive.Options{Kind: kind, Write: true}), f, names...)
	return file
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func wantResolve(t testing.TB, s oci.Source, name string, want oci.Descriptor) {
	t.Helper()
	d, err := s.Resolve(t.Context(), name)
	if err != nil || d.Digest != want.Digest || d.Size != want.Size || d.MediaType != want.MediaType {
		t.Errorf("resolve %q: got %+v, %v, want %s", name, d, err, want.Digest)
	}
}

func wantNothing(t testing.TB, s oci.Source, name string) {
	t.Helper()
	_, err := s.Resolve(t.Context(), name)
	wantErr(t, "resolve "+name, err, oci.ErrNotFound)
}

// graph reads all of a graph.
func graph(t testing.TB, s oci.Source, root oci.Descriptor) error {
	t.Helper()
	tree, err := oci.Graph{Root: root, Source: s}.Load(t.Context(), nil)
	if err != nil {
		return err
	}
	for _, d := range tree.Blobs {
		if _, err := content(t, s, d); err != nil {
			return err
		}
	}
	return nil
}

func wantGraph(t testing.TB, s oci.Source, root oci.Descriptor) {
	t.Helper()
	if err := graph(t, s, root); err != nil {
		t.Errorf("read %s: %v", root.Digest, err)
	}
}

func content(t testing.TB, s oci.Source, d oci.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantAlone checks that nothing is left beside the archive.
func wantAlone(t testing.TB, file string) {
	t.Helper()
	var names []string
	list, err := os.ReadDir(filepath.Dir(file))
	for _, e := range list {
		names = append(names, e.Name())
	}
	if err != nil || len(names) > 1 || len(names) == 1 && names[0] != filepath.Base(file) {
		t.Errorf("the directory holds %q, %v", names, err)
	}
}

// A file is a member of a tar that a test makes.
type file struct {
	name, body string
	kind       byte   // a regular file if 0
	link       string // for links
}

// pack makes a tar.
func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Typeflag: f.kind, Linkname: f.link, Size: int64(len(f.body)), Mode: 0o644}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack lists the members of a tar.
func unpack(t testing.TB, b []byte) (out []file) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, file{name: h.Name, body: string(body), kind: h.Typeflag, link: h.Linkname})
	}
}

func names(files []file) (out []string) {
	for _, f := range files {
		out = append(out, f.name)
	}
	return out
}

// body is the content of a member.
func body(t testing.TB, files []file, name string) string {
	t.Helper()
	i := slices.IndexFunc(files, func(f file) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("no member %s among %q", name, names(files))
	}
	return files[i].body
}

func tags(t testing.TB, a *archive.Archive) string {
	t.Helper()
	var out []string
	for n, err := range a.Tags(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return strings.Join(out, " ")
}
