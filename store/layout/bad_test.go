// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

// made makes a layout with an image in it.
func made(t testing.TB) (dir string, f ocitest.Fixture) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "image")
	f = ocitest.Image(1, 2, 1000)
	push(t, open(t, dir, layout.Options{Create: true}), f, "v1")
	return dir, f
}

// layerOf is the first layer of a fixture.
func layerOf(f ocitest.Fixture) oci.Blob { return f.Layers()[0] }

func readAll(t testing.TB, s oci.Source, d oci.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestBad_079_HugeIndex(t *testing.T) {
	t.Parallel()
	dir, _ := made(t)
	if err := os.Truncate(filepath.Join(dir, "index.json"), 1<<30); err != nil { // sparse
		t.Fatal(err)
	}
	_, err := layout.Open(dir, layout.Options{})
	wantErr(t, "open", err, oci.ErrInvalid)
	if err != nil && !strings.Contains(err.Error(), dir) {
		t.Errorf("%v does not name %s", err, dir)
	}
}

func TestBad_082_LayoutFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		content string
		want    error
	}{
		{`{"imageLayoutVersion":"1.0.0"}`, nil}, {`{"imageLayoutVersion": "1.1.0", "x": 1}` + "\n", nil},
		{`{"imageLayoutVersion":"2.0.0"}`, oci.ErrUnsupported}, {`{"imageLayoutVersion":"10.0.0"}`, oci.ErrUnsupported},
		{``, oci.ErrCorrupt}, {`{}`, oci.ErrCorrupt}, {`{"imageLayoutVersion":1}`, oci.ErrCorrupt}, {`{"imagelayoutversion":"1.0.0"}`, oci.ErrCorrupt},
		{`{"imageLayoutVersion":"1.0.0"`, oci.ErrCorrupt}, {strings.Repeat(" ", 70_000), oci.ErrInvalid},
		{"missing", oci.ErrInvalid},
	} {
		dir, _ := made(t)
		file := filepath.Join(dir, "oci-layout")
		write(t, file, []byte(c.content))
		if c.content == "missing" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		for _, create := range []bool{false, true} {
			if _, err := layout.Open(dir, layout.Options{Create: create}); !errors.Is(err, c.want) {
				t.Errorf("%.60q, create %v: got %v, want %v", c.content, create, err, c.want)
			}
		}
	}
}

func TestBad_082_BlobIsNoRegularFile(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(file string) error{
		"link":           func(file string) error { return os.Symlink("/dev/zero", file) },
		"link to a copy": func(file string) error { return os.Symlink(file+"-aside", file) },
		"directory":      func(file string) error { return os.Mkdir(file, 0o755) },
		"pipe":           mkfifo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, f := made(t)
			b := layerOf(f)
			file := blobFile(dir, b.Descriptor().Digest)
			if err := os.Rename(file, file+"-aside"); err != nil {
				t.Fatal(err)
			}
			if err := replace(file); err != nil {
				t.Skip(err)
			}
			l := open(t, dir, layout.Options{})
			_, err := l.Stat(t.Context(), b.Descriptor())
			wantErr(t, "stat", err, oci.ErrCorrupt)
			if err != nil && !strings.Contains(err.Error(), dir) {
				t.Errorf("%v does not name the place", err)
			}
			_, err = readAll(t, l, b.Descriptor())
			wantErr(t, "open", err, oci.ErrCorrupt)
			_, err = l.OpenRange(t.Context(), b.Descriptor(), 1, 1)
			wantErr(t, "open range", err, oci.ErrCorrupt)
			_, err = l.Put(t.Context(), b)
			wantErr(t, "put", err, oci.ErrCorrupt)
		})
	}
}

func TestBad_082_BlobDirectoryLeadsOut(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	outside := t.TempDir()
	if err := os.Rename(filepath.Join(dir, "blobs", "sha256"), filepath.Join(outside, "sha256")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "sha256"), filepath.Join(dir, "blobs", "sha256")); err != nil {
		t.Skip(err)
	}
	l := open(t, dir, layout.Options{})
	if _, err := readAll(t, l, f.Root); err == nil {
		t.Error("read through a link that leads out")
	}
	before := snapshot(t, outside)
	if _, err := l.Put(t.Context(), layerBlob(9, 10)); err == nil {
		t.Error("wrote through a link that leads out")
	}
	if len(snapshot(t, outside)) != len(before) {
		t.Error("a file was made outside")
	}
}

func TestBad_082_EntryWithoutBlob(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	if err := os.Remove(blobFile(dir, f.Root.Digest)); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, layout.Options{})
	_, err := l.Resolve(t.Context(), "v1")
	wantErr(t, "resolve", err, oci.ErrCorrupt)
	wantErr(t, "resolve", err, oci.ErrNotFound) // so that a copy to here repairs it
	if !strings.Contains(err.Error(), f.Root.Digest.Encoded()) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v does not name the file", err)
	}
	push(t, l, f, "v1")
	wantGraph(t, l, f.Root)
}

// A file that has the name of a blob but not its bytes is not taken for it.
func TestBad_083_ExistingBlobIsNotTrustedByName(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"stump":   func(b []byte) []byte { return b[:100] },
		"empty":   func([]byte) []byte { return nil },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"flipped": func(b []byte) []byte { b[500] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, f := made(t)
			b := layerOf(f)
			file := blobFile(dir, b.Descriptor().Digest)
			good := read(t, file)
			write(t, file, spoil(bytes.Clone(good)))
			l := open(t, dir, layout.Options{})
			ocitest.CheckCorrupt(t, l, b.Descriptor())
			if _, err := l.Stat(t.Context(), b.Descriptor()); name != "flipped" {
				wantErr(t, "stat", err, oci.ErrNotFound)
			}
			_, err := l.Put(t.Context(), f.Blob(f.Root.Digest))
			wantErr(t, "put of the manifest", err, oci.ErrNotFound)
			wantErr(t, "publish", l.Publish(t.Context(), f.Blob(f.Root.Digest), "v2"), oci.ErrNotFound)
			put(t, l, b, oci.Sent)
			if !bytes.Equal(read(t, file), good) {
				t.Error("the blob was not repaired")
			}
			put(t, l, b, oci.Existed)
			wantClean(t, dir)
		})
	}
}

// The content of an existing blob is read once by a Dir, and again only if the
// file was touched by somebody else.
func TestBad_083_VerifiedOnce(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	b := layerOf(f)
	file := blobFile(dir, b.Descriptor().Digest)
	l := open(t, dir, layout.Options{})
	put(t, l, b, oci.Existed)
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := read(t, file)
	spoilt[500] ^= 1
	write(t, file, spoilt)
	if err := os.Chtimes(file, fi.ModTime(), fi.ModTime()); err != nil { // as if nothing had happened
		t.Fatal(err)
	}
	put(t, l, b, oci.Existed)
	put(t, l, b, oci.Existed) // touching it does not make it unknown
	write(t, file, spoilt)    // now its time is another
	put(t, l, b, oci.Sent)
	write(t, file, spoilt)
	put(t, open(t, dir, layout.Options{TrustExisting: true}), b, oci.Existed)
	put(t, open(t, dir, layout.Options{}), b, oci.Sent)
}

func TestBad_084_TruncatedManifest(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	file := blobFile(dir, f.Root.Digest)
	good := read(t, file)
	write(t, file, good[:len(good)/2])
	l := open(t, dir, layout.Options{})
	_, err := l.Resolve(t.Context(), "v1")
	wantErr(t, "resolve", err, oci.ErrCorrupt)
	_, err = readAll(t, l, f.Root)
	wantErr(t, "read", err, oci.ErrCorrupt)
	wantErr(t, "tag", l.Tag(t.Context(), "v2", f.Root), oci.ErrCorrupt)
	push(t, l, f, "v1")
	if !bytes.Equal(read(t, file), good) {
		t.Error("the manifest was not repaired")
	}
	wantResolve(t, l, "v1", f.Root)
}

// A broken index.json is never written over.
func TestBad_085_TruncatedIndex(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"half":      func(b []byte) []byte { return b[:len(b)/2] },
		"empty":     func([]byte) []byte { return nil },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
		"not json":  func([]byte) []byte { return []byte("<html>") },
		"no object": func([]byte) []byte { return []byte("[]") },
		"no index":  func([]byte) []byte { return []byte(`{"mediaType":"application/vnd.oci.image.manifest.v1+json"}`) },
		"twice":     func(b []byte) []byte { return append(b, b...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, f := made(t)
			l := open(t, dir, layout.Options{Create: true}) // opened before it broke
			file := filepath.Join(dir, "index.json")
			write(t, file, spoil(read(t, file)))
			before := snapshot(t, dir)
			for what, err := range map[string]error{
				"tag":     l.Tag(t.Context(), "v2", f.Root),
				"untag":   l.Untag(t.Context(), "v1"),
				"delete":  l.Delete(t.Context(), f.Root),
				"publish": l.Publish(t.Context(), f.Blob(f.Root.Digest), "v2"),
			} {
				wantErr(t, what, err, oci.ErrCorrupt)
			}
			_, err := l.Resolve(t.Context(), "v1")
			wantErr(t, "resolve", err, oci.ErrCorrupt)
			_, err = layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1})
			wantErr(t, "gc", err, oci.ErrCorrupt)
			_, err = layout.Open(dir, layout.Options{Create: true})
			wantErr(t, "open", err, oci.ErrCorrupt)
			if !equalMaps(before, snapshot(t, dir)) {
				t.Error("something was written")
			}
		})
	}
}

func TestBad_085_MissingIndex(t *testing.T) {
	t.Parallel()
	dir, f := made(t)
	l := open(t, dir, layout.Options{Create: true})
	if err := os.Remove(filepath.Join(dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "tag", l.Tag(t.Context(), "v2", f.Root), oci.ErrCorrupt)
	_, err := layout.GC(t.Context(), dir, layout.GCOptions{Grace: -1})
	wantErr(t, "gc", err, oci.ErrCorrupt)
	_, err = layout.Open(dir, layout.Options{Create: true})
	wantErr(t, "open", err, oci.ErrCorrupt)
	wantGraph(t, l, f.Root) // what is there can still be read
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}
