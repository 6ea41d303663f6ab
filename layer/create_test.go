// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// tree makes a directory: names that end in a slash are directories, values
// with -> before them links.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		target, link := strings.CutPrefix(content, "->")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(full, 0o755))
		case link:
			must(t, os.Symlink(target, full))
		default:
			must(t, os.WriteFile(full, []byte(content), 0o644))
		}
	}
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var plain = layer.CreateOptions{Packing: layer.Packing{Compression: layer.None}}

// created packs a directory and lists the headers, by name.
func created(t testing.TB, dir string, o layer.CreateOptions) (names []string, heads map[string]*tar.Header, c layer.Created) {
	t.Helper()
	var buf bytes.Buffer
	c, err := layer.Create(context.Background(), &buf, dir, o)
	must(t, err)
	heads = map[string]*tar.Header{}
	r := tar.NewReader(bytes.NewReader(unpacked(t, buf.Bytes())))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return names, heads, c
		}
		must(t, err)
		names = append(names, h.Name)
		heads[h.Name] = h
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"b": "text", "a/y": "", "a/x": "x", "a.txt": "dot", "a/empty/": "", "abs": "->/etc/passwd", "up": "->../../../x", "dangling": "->nowhere",
	})
	must(t, os.Chmod(filepath.Join(dir, "b"), 0o600))
	must(t, os.Link(filepath.Join(dir, "b"), filepath.Join(dir, "c")))
	names, heads, c := created(t, dir, plain)
	want := []string{"a/", "a/empty/", "a/x", "a/y", "a.txt", "abs", "b", "c", "dangling", "up"}
	if !slices.Equal(names, want) || c.Entries != len(want) || c.Bytes != 8 {
		t.Errorf("entries %q, %+v", names, c)
	}
	if heads["abs"].Linkname != "/etc/passwd" || heads["up"].Linkname != "../../../x" {
		t.Error("links are not as they were")
	}
	if runtime.GOOS == "windows" {
		return
	}
	if h := heads["c"]; h.Typeflag != tar.TypeLink || h.Linkname != "b" || heads["b"].Mode != 0o600 {
		t.Errorf("hard link %+v of %+v", h, heads["b"])
	}
	for name, h := range heads {
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 || len(h.PAXRecords) > 0 {
			t.Errorf("%s: header %+v", name, h)
		}
	}
}

func TestCreateRepeatable(t *testing.T) {
	t.Parallel()
	files := map[string]string{"z": "1", "y": string(ocitest.Random(1, 600<<10)), "d/e/f": string(ocitest.Random(2, 256<<10)), "d/g": string(ocitest.Random(3, 256<<10+1)), "d/h": string(ocitest.Random(3, 256<<10-1))}
	for _, p := range []string{"gzip", "zstd", "none", "estargz"} {
		o := layer.CreateOptions{Time: time.Unix(1e9, 5e8)}
		o.Packing, _ = layer.ParsePacking(p)
		_, heads, one := created(t, tree(t, files), o)
		_, _, two := created(t, tree(t, files), o)
		if one.Descriptor.Digest != two.Descriptor.Digest || one.DiffID != two.DiffID {
			t.Errorf("%s: two runs give %+v and %+v", p, one, two)
		}
		if h := heads["z"]; h == nil || h.ModTime.UnixNano() != 1e18 {
			t.Errorf("%s: header %+v", p, h)
		}
		if want := o.Packing.MediaType(oci.MediaLayer); one.Descriptor.MediaType != want {
			t.Errorf("%s: media type %s", p, one.Descriptor.MediaType)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a/.wh.b": ""})
	if _, err := layer.Create(t.Context(), io.Discard, dir, plain); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "a/.wh.b") {
		t.Errorf("a whiteout: %v", err)
	}
	if _, err := layer.Create(t.Context(), io.Discard, filepath.Join(dir, "nothing"), plain); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := layer.Create(t.Context(), io.Discard, filepath.Join(dir, "a", ".wh.b"), plain); err == nil {
		t.Error("a file: no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := layer.Create(ctx, io.Discard, tree(t, map[string]string{"a": "b"}), plain); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	f, err := os.Create(filepath.Join(dir, "self"))
	must(t, err)
	defer f.Close()
	must(t, os.Remove(filepath.Join(dir, "a", ".wh.b")))
	if _, err := layer.Create(t.Context(), f, dir, plain); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "self") {
		t.Errorf("into itself: %v", err)
	}
	big := tree(t, map[string]string{"a": string(ocitest.Random(1, 3<<20)), "b": string(ocitest.Random(2, 3<<20)), "c": "x"})
	for _, p := range []string{"gzip", "zstd", "none", "estargz"} {
		o := layer.CreateOptions{}
		o.Packing, _ = layer.ParsePacking(p)
		if _, err := layer.Create(t.Context(), &full{1 << 20}, big, o); !errors.Is(err, errFull) {
			t.Errorf("%s to a full disk: %v", p, err)
		}
	}
}

// grow changes a file as soon as its first bytes have been written.
type grow struct {
	change func()
	n      int
}

func (g *grow) Write(p []byte) (int, error) {
	if g.n += len(p); g.change != nil && g.n > 100<<10 {
		g.change()
		g.change = nil
	}
	return len(p), nil
}

func TestCreateChanging(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int64{"grows": 9 << 20, "shrinks": 300 << 10} {
		dir := tree(t, map[string]string{"f": string(ocitest.Random(1, 8<<20))})
		w := &grow{change: func() { must(t, os.Truncate(filepath.Join(dir, "f"), size)) }}
		if _, err := layer.Create(t.Context(), w, dir, plain); !errors.Is(err, oci.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
