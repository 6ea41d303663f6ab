// SPDX-License-Identifier: Apache-2.0

package dir_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/dir"
)

func TestFilesOfAnImage(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 100)
	path := made(t, f)
	got := snapshot(t, path)
	want := map[string]string{".": "d---------", "version": "Directory Transport Version: 1.1\n"}
	for _, b := range f.Blobs {
		raw, err := content(open(t, path, false), b.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		name := b.Descriptor().Digest.Encoded()
		if b.Descriptor().Digest == f.Root.Digest {
			name = "manifest.json"
		}
		want[name] = string(raw)
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	wantAlone(t, path)
}

// wantAlone checks that nothing is beside the image.
func wantAlone(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s is left beside %s", e.Name(), path)
		}
	}
}

func TestGraphs(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		base   = layer 100
		linux  = image base platform=linux/amd64
		arm    = image base platform=linux/arm64 docker
		inner  = index linux arm
		list   = index arm docker
		outer  = index inner linux list
		art    = artifact base type=application/spdx+json
	`)
	path := filepath.Join(t.TempDir(), "parent", "image")
	for _, name := range []string{"outer", "list", "linux", "art", "arm", "outer"} { // each in place of the one before
		save(t, path, w.Fixture(name))
		wantImage(t, path, w.Fixture(name))
		if n, want := len(snapshot(t, path)), len(w.Fixture(name).Blobs)+2; n != want {
			t.Errorf("%s: %d files, want %d", name, n, want)
		}
		wantAlone(t, path)
	}
}

func TestSHA512(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"os":"linux","architecture":"amd64"}`)
	config := oci.Bytes(oci.MediaConfig, raw, digest.SHA512.FromBytes(raw))
	m := oci.Bytes(oci.MediaManifest, []byte(`{"schemaVersion":2,"mediaType":"`+oci.MediaManifest+`","config":{"mediaType":"`+oci.MediaConfig+
		`","digest":"`+string(config.Descriptor().Digest)+`","size":37},"layers":[]}`))
	f := ocitest.Fixture{Root: m.Descriptor(), Blobs: []oci.Blob{config, m}}
	path := made(t, f)
	wantImage(t, path, f)
	long := filepath.Join(path, "sha512-"+config.Descriptor().Digest.Encoded())
	if string(read(t, filepath.Join(path, "version"))) != "Directory Transport Version: 1.2\n" || string(read(t, long)) != string(raw) {
		t.Errorf("%q", slices.Sorted(maps.Keys(snapshot(t, path))))
	}
	if err := os.Rename(long, filepath.Join(path, config.Descriptor().Digest.Encoded())); err != nil { // as 1.1 has it
		t.Fatal(err)
	}
	wantImage(t, path, f)
}

func TestNames(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(2)
	path := made(t, f)
	d := open(t, path, true)
	wantErr(t, "tag", d.Tag(t.Context(), "v1", f.Root), oci.ErrUnsupported)
	wantErr(t, "publish", d.Publish(t.Context(), f.Blob(f.Root.Digest), "v1"), oci.ErrUnsupported)
	for _, name := range []string{"latest", "@0", "sha256:abc", string(f.Layers()[0].Descriptor().Digest)} {
		_, err := d.Resolve(t.Context(), name)
		wantErr(t, "resolve "+name, err, oci.ErrNotFound)
	}
	for _, b := range f.Blobs {
		desc := b.Descriptor()
		rooted, err := d.Rooted(t.Context(), desc)
		if err != nil || rooted != (desc.Digest == f.Root.Digest) {
			t.Errorf("rooted %s: %v, %v", desc.Digest, rooted, err)
		}
		if !oci.IsManifest(desc.MediaType) {
			continue
		}
		if got, err := d.Resolve(t.Context(), string(desc.Digest)); err != nil || got.Digest != desc.Digest || got.MediaType != desc.MediaType {
			t.Errorf("resolve %s: %+v, %v", desc.Digest, got, err)
		}
	}
}

// A child of the index that is there becomes the image itself, without moving
// a byte.
func TestPublishWhatIsThere(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(3)
	path := made(t, f)
	m, err := oci.Fetch(t.Context(), open(t, path, false), f.Root)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, path, true)
	var child ocitest.Fixture
	child.Root = m.Manifests[1]
	if _, err := d.Stat(t.Context(), child.Root); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), f.Blob(child.Root.Digest)); err != nil {
		t.Fatal(err)
	}
	commit(t, d)
	wantImage(t, path, child)
	if n := len(snapshot(t, path)); n != 6 { // directory, version, manifest, config, two layers
		t.Errorf("%d files", n)
	}
	wantErr(t, "second root", func() error {
		d := open(t, path, true)
		if err := d.Publish(t.Context(), f.Blob(child.Root.Digest)); err != nil {
			return err
		}
		if err := d.Publish(t.Context(), f.Blob(m.Manifests[0].Digest)); err != nil {
			return err
		}
		return d.Commit(t.Context())
	}(), oci.ErrInvalid)
}

func TestCommitRefuses(t *testing.T) {
	t.Parallel()
	f, g := ocitest.Image(4, 1, 10), ocitest.Image(5, 1, 10)
	for name, c := range map[string]struct {
		blobs []oci.Blob
		roots []ocitest.Fixture
		want  error
	}{
		"two roots":     {slices.Concat(f.Blobs, g.Blobs), []ocitest.Fixture{f, g}, oci.ErrInvalid},
		"blobs only":    {f.Blobs[:2], nil, nil},
		"not published": {f.Blobs, nil, nil},
		"missing layer": {[]oci.Blob{f.Blobs[0], f.Blobs[2]}, []ocitest.Fixture{f}, oci.ErrNotFound},
		"nothing":       {nil, nil, nil},
	} {
		path := made(t, ocitest.Image(6, 1, 10))
		before := snapshot(t, filepath.Dir(path))
		d := open(t, path, true)
		push(t, d, ocitest.Fixture{Blobs: c.blobs})
		for _, f := range c.roots {
			publish(t, d, f)
		}
		wantErr(t, name, d.Commit(t.Context()), c.want)
		if err := d.Abort(); err != nil {
			t.Error(err)
		}
		if !maps.Equal(before, snapshot(t, filepath.Dir(path))) {
			t.Errorf("%s: something was changed", name)
		}
	}
}

func TestSparseIndexAndForeignLayers(t *testing.T) {
	t.Parallel()
	w := ocitest.Symbols(t, `
		base    = layer 100
		foreign = layer 50 foreign
		linux   = image base platform=linux/amd64
		win     = image base foreign platform=windows/amd64
		list    = index linux win
	`)
	f := w.Fixture("list")
	some := ocitest.Fixture{Root: f.Root}
	for _, b := range f.Blobs {
		if d := b.Descriptor().Digest; d != w.Fixture("foreign").Root.Digest && d != w.Fixture("linux").Root.Digest {
			some.Blobs = append(some.Blobs, b)
		}
	}
	path := made(t, some)
	if d, err := open(t, path, false).Resolve(t.Context(), ""); err != nil || d.Digest != f.Root.Digest {
		t.Errorf("%+v, %v", d, err)
	}
	d := open(t, path, true) // the same again, all of it there
	for _, b := range w.Fixture("win").Blobs {
		if desc := b.Descriptor(); !oci.IsForeign(desc) {
			if how, err := d.Put(t.Context(), b); how != oci.Existed || err != nil {
				t.Errorf("%s: %v, %v", desc.MediaType, how, err)
			}
		}
	}
	if err := d.Publish(t.Context(), f.Blob(f.Root.Digest)); err != nil {
		t.Fatal(err)
	}
	commit(t, d)
}

func TestSignaturesStayWithTheirManifest(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(7)
	path := made(t, f)
	m, err := oci.Fetch(t.Context(), open(t, path, false), f.Root)
	if err != nil {
		t.Fatal(err)
	}
	first := m.Manifests[0]
	for _, name := range []string{"signature-1", "signature-2", first.Digest.Encoded() + ".signature-1", m.Manifests[1].Digest.Encoded() + ".signature-1"} {
		write(t, filepath.Join(path, name), []byte("signed "+name))
	}
	before := snapshot(t, path)
	save(t, path, f)
	if !maps.Equal(before, snapshot(t, path)) {
		t.Error("signatures of the same image are gone")
	}
	other, err := oci.FilterIndex(m, func(i int) bool { return i == 0 })
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, path, true)
	if err := d.Publish(t.Context(), other.Blob()); err != nil {
		t.Fatal(err)
	}
	commit(t, d)
	var left []string
	for name := range snapshot(t, path) {
		if strings.Contains(name, "signature") {
			left = append(left, name)
		}
	}
	if !slices.Equal(left, []string{first.Digest.Encoded() + ".signature-1"}) {
		t.Errorf("signatures that are left: %q", left)
	}
}

func TestPermissionsOfTheDirectoryStay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	save(t, path, ocitest.Image(8, 1, 10))
	if fi, err := os.Stat(path); err != nil || os.PathSeparator == '/' && fi.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

func TestThroughALink(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(9, 1, 10)
	path := made(t, f)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	g := ocitest.Image(10, 1, 10)
	save(t, link, g)
	wantImage(t, path, g)
	if fi, err := os.Lstat(link); err != nil || fi.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link was replaced: %v, %v", fi, err)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(11, 1, 10)
	d := open(t, made(t, f), false)
	_, err := d.Put(t.Context(), f.Blobs[0])
	wantErr(t, "put", err, oci.ErrDenied)
	_, err = dir.Open(filepath.Join(t.TempDir(), "none"), dir.Options{})
	wantErr(t, "open", err, oci.ErrNotFound)
	if err := d.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}
