// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func TestUnpack(t *testing.T) {
	t.Parallel()
	c := newCanary(t)
	locked := dir("locked")
	locked.Mode = 0o500
	closed := dir("locked/closed")
	closed.Mode = 0
	report, err := c.unpack(t, []rec{dir("a"), file("a/x", "old"), file("a/y", "y"), hardlink("a/z", "a/y"), locked, file("locked/f", "f"), closed},
		[]rec{file("a/x", "new"), symlink("l", "/etc/passwd"), file("a/.wh.y", ""), file("empty", "")})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`a 5 755 "" "" [a]`, `a/x 0 644 "" "new" [a/x]`, `a/z 0 644 "" "y" [a/z]`, `empty 0 644 "" "" [empty]`, `l 2 777 "/etc/passwd" "" [l]`,
		`locked 5 500 "" "" [locked]`, `locked/closed 5 0 "" "" [locked/closed]`, `locked/f 0 644 "" "f" [locked/f]`,
	}
	if runtime.GOOS == "windows" {
		t.Skip("modes are others there")
	}
	try(t, os.Chmod(filepath.Join(c.target, "locked/closed"), 0o700))
	want[6] = strings.Replace(want[6], "5 0", "5 700", 1)
	if got := disk(t, c.target); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	fi, err := os.Stat(filepath.Join(c.target, "a"))
	if err != nil || !fi.ModTime().Equal(epoch) {
		t.Errorf("%v %v", fi.ModTime(), err)
	}
	if report.Directories != 3 || report.Files != 4 || report.Symlinks != 1 || report.Bytes != 5 {
		t.Errorf("%+v", report)
	}
	try(t, os.Chmod(filepath.Join(c.target, "locked"), 0o700)) // for the cleaning up
}

func TestUnpackTarget(t *testing.T) {
	t.Parallel()
	c := newCanary(t)
	try(t, os.Mkdir(c.target, 0o700)) // empty is as good as absent
	if _, err := c.unpack(t, []rec{file("x", "1")}); err != nil {
		t.Fatal(err)
	}
	_, err := c.unpack(t, []rec{file("y", "2")})
	wantKind(t, "full directory", err, oci.ErrExists)
	if b, err := os.ReadFile(filepath.Join(c.target, "x")); string(b) != "1" {
		t.Errorf("%s %v", b, err)
	}
	_, err = layer.Unpack(ctx(t), "/", nil, layer.UnpackOptions{})
	wantKind(t, "root", err, oci.ErrInvalid)
}

// Links that lead out are kept as they are and never followed out.
func TestBad_059_WritesThroughLinks(t *testing.T) {
	t.Parallel()
	for name, layers := range map[string][][]rec{
		"absolute":          {{symlink("l", "OUTSIDE"), file("l/pwned", "x")}},
		"relative":          {{symlink("l", "../outside"), file("l/pwned", "x")}},
		"chain":             {{symlink("a", "b"), symlink("b", "c"), symlink("c", "../../outside"), file("a/pwned", "x")}},
		"earlier layer":     {{symlink("l", "../outside")}, {file("l/pwned", "x"), file("l/.wh.secret", ""), dir("l/a")}},
		"opaque":            {{symlink("l", "../outside")}, {file("l/.wh..wh..opq", "")}},
		"over the link":     {{symlink("l", "../secret"), file("l", "pwned")}},
		"chmod through it":  {{symlink("l", "../outside")}, {dir("l/.")}},
		"replaced parent":   {{dir("d"), file("d/secret", "x")}, {symlink("d", "../outside")}},
		"dir, link, file":   {{dir("d"), symlink("d", "../outside"), file("d/pwned", "x")}},
		"link to link":      {{symlink("one", ".."), symlink("two", "one/outside"), file("two/pwned", "x")}},
		"hard link to link": {{symlink("l", "../secret"), hardlink("h", "l"), file("h", "pwned")}},
		"through parent":    {{symlink("a/b/up", "../../../outside"), file("a/b/up/pwned", "x")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCanary(t)
			for _, l := range layers {
				for i := range l {
					l[i].Linkname = strings.Replace(l[i].Linkname, "OUTSIDE", c.root+"/outside", 1)
				}
			}
			if _, err := c.unpack(t, layers...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBad_060_OrdinaryLinks(t *testing.T) {
	t.Parallel()
	links := map[string]string{"var/run": "/run", "many": "../../../../../../usr", "abs": "/etc/../etc/passwd", "dangling": "nowhere", "odd": "a//b/./c", "self": "self"}
	var recs []rec
	for name, to := range links {
		recs = append(recs, symlink(name, to))
	}
	c := newCanary(t)
	_, err := c.unpack(t, recs, []rec{file("var/run/pid", "1"), file("many/bin/x", "2")})
	try(t, err)
	for name, to := range links {
		if got, err := os.Readlink(filepath.Join(c.target, name)); got != to {
			t.Errorf("%s -> %q %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"run/pid": "1", "usr/bin/x": "2"} {
		if b, err := os.ReadFile(filepath.Join(c.target, name)); string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}

func TestBad_061_HardLinks(t *testing.T) {
	t.Parallel()
	for name, layers := range map[string][][]rec{
		"outside":     {{hardlink("h", "../secret")}},
		"absolute":    {{hardlink("h", "/etc/passwd")}},
		"later entry": {{hardlink("h", "later"), file("later", "x")}},
		"missing":     {{hardlink("h", "missing")}},
		"directory":   {{dir("d"), hardlink("h", "d")}},
		"through":     {{symlink("l", "../outside"), hardlink("h", "l/secret")}},
		"to the work": {{hardlink("h", "unpack_test.go")}},
		"hidden":      {{file("x", "")}, {file(".wh.x", ""), hardlink("h", "x")}},
	} {
		_, err := newCanary(t).unpack(t, layers...)
		wantKind(t, name, err, oci.ErrInvalid)
		if name == "missing" && (!strings.Contains(err.Error(), `"h"`) || !strings.Contains(err.Error(), `"missing"`)) {
			t.Errorf("%v does not name both", err)
		}
	}
	c := newCanary(t)
	loud := hardlink("chmod", "x")
	loud.Mode = 0o4777
	_, err := c.unpack(t, []rec{file("x", "1"), symlink("l", "../secret"), hardlink("m", "l")}, []rec{hardlink("sub/h", "/x"), loud})
	try(t, err)
	a, err := os.Stat(filepath.Join(c.target, "x"))
	try(t, err)
	b, err := os.Stat(filepath.Join(c.target, "sub/h"))
	if err != nil || !os.SameFile(a, b) || a.Mode() != 0o644 {
		t.Errorf("%v %v %v", a.Mode(), b, err)
	}
	if to, err := os.Readlink(filepath.Join(c.target, "m")); to != "../secret" {
		t.Errorf("hard link to a link is %q %v", to, err)
	}
}

func TestBad_062_LinksAcrossLayers(t *testing.T) {
	t.Parallel()
	layers := [][]rec{{file("a", "old"), hardlink("b", "a"), hardlink("c", "a")}, {file("a", "new")}, {hardlink("d", "b"), file(".wh.c", "")}}
	want := []string{`a 0 644 "" "new" [a]`, `b 0 644 "" "old" [b d]`, `d 0 644 "" "old" [b d]`}
	if got := listing(t, flatten(t, layers...)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("flatten: %q", got)
	}
	c := newCanary(t)
	_, err := c.unpack(t, layers...)
	try(t, err)
	if got := disk(t, c.target); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("unpack: %q", got)
	}
}

func TestBad_074_WindowsNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"CON", "con.txt", "NUL .txt", "a:b", "x.", "x ", `a\b`, "COM1", "lpt9.log", "COM¹", "\x01", "a?", `\\?\C:`, "conin$", "..."} {
		wantKind(t, name, layer.WindowsName(name), oci.ErrInvalid)
		if runtime.GOOS == "windows" {
			_, err := newCanary(t).unpack(t, []rec{file(name, "")})
			wantKind(t, name, err, oci.ErrInvalid)
		}
	}
	for _, name := range []string{"console", "COM", "com10", "Files", "Hives", ".x", "a b", "x.y.z", "nul_"} {
		if err := layer.WindowsName(name); err != nil {
			t.Error(err)
		}
	}
}

func TestBad_076_Target(t *testing.T) {
	t.Parallel()
	c := newCanary(t)
	try(t, os.Symlink("outside", c.target))
	_, err := c.unpack(t, []rec{file("x", "")})
	wantKind(t, "link to a directory", err, oci.ErrInvalid)
	try(t, os.Remove(c.target))
	try(t, os.WriteFile(c.target, []byte("mine"), 0o600))
	_, err = c.unpack(t, []rec{file("x", "")})
	wantKind(t, "file", err, oci.ErrExists)
	try(t, os.Remove(c.target))

	// Somebody is faster and puts a link there while layers are being read.
	b := blobs(t, []rec{file("x", "")})[0]
	swap := &hookBlob{b, func() { _ = os.Symlink("outside", c.target) }}
	_, err = layer.Unpack(ctx(t), c.target, []oci.Blob{swap}, layer.UnpackOptions{})
	wantKind(t, "link from elsewhere", err, oci.ErrInvalid)
	c.check(t)
}

// Somebody who may write in the new tree puts things into the way of what is
// about to be made.
func TestBad_076_ChangedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(staging string) error{
		"a file":              func(d string) error { return os.WriteFile(filepath.Join(d, "x"), []byte("mine"), 0o600) },
		"a link":              func(d string) error { return os.Symlink("../secret", filepath.Join(d, "x")) },
		"a link to outside":   func(d string) error { return os.Symlink("../outside", filepath.Join(d, "x")) },
		"a link to directory": func(d string) error { return replace(filepath.Join(d, "d"), "../outside") },
		"an absolute link":    func(d string) error { return replace(filepath.Join(d, "d"), filepath.Join(d, "..", "outside")) },
		"nothing":             func(d string) error { return os.Remove(filepath.Join(d, "d")) },
	} {
		c := newCanary(t)
		opened := 0
		b := &hookBlob{blobs(t, []rec{dir("d"), file("x", "1"), file("d/a", "2"), symlink("d/b", "x"), hardlink("d/c", "x")})[0], func() {
			if opened++; opened == 2 {
				list, err := filepath.Glob(filepath.Join(c.root, ".target.dray-*"))
				if err != nil || len(list) != 1 || change(list[0]) != nil {
					t.Error(name, list, err)
				}
			}
		}}
		_, err := layer.Unpack(ctx(t), c.target, []oci.Blob{b}, layer.UnpackOptions{})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		c.check(t)
		if _, err := os.Lstat(c.target); err == nil {
			t.Errorf("%s: target is there", name)
		}
	}
}

func replace(dir, to string) error { return errors.Join(os.Remove(dir), os.Symlink(to, dir)) }

type hookBlob struct {
	oci.Blob
	f func()
}

func (h *hookBlob) Open(ctx context.Context) (io.ReadCloser, error) {
	h.f()
	return h.Blob.Open(ctx)
}

// Also directories that keep their own maker out go when the last step fails.
func TestUnpackLocked(t *testing.T) {
	t.Parallel()
	c := newCanary(t)
	top, locked := dir("."), dir("locked/closed")
	top.Mode, locked.Mode = 0o100, 0
	opened := 0
	b := &hookBlob{blobs(t, []rec{top, locked, file("locked/closed/x", "1")})[0], func() {
		if opened++; opened == 2 {
			try(t, os.MkdirAll(filepath.Join(c.target, "mine"), 0o700))
		}
	}}
	_, err := layer.Unpack(ctx(t), c.target, []oci.Blob{b}, layer.UnpackOptions{})
	wantKind(t, "target of somebody else", err, oci.ErrExists)
	c.check(t)
}

// A failure in the middle leaves nothing, whatever it was.
func TestUnpackFails(t *testing.T) {
	t.Parallel()
	good := tarOf(t, dir("d"), file("d/x", strings.Repeat("x", 5000)), file("y", "y"))
	broken := errors.New("broken line")
	for name, second := range map[string]func() io.Reader{
		"reading": func() io.Reader {
			return io.MultiReader(strings.NewReader(string(good[:3000])), iotest.ErrReader(broken))
		},
		"corrupted": func() io.Reader { return strings.NewReader(strings.Replace(string(good), "xxx", "xyx", 1)) },
		"other":     func() io.Reader { return strings.NewReader(string(tarOf(t, file("y", "y")))) },
	} {
		c := newCanary(t)
		first := true
		b := &funcBlob{oci.Bytes(oci.MediaLayer, good), func() io.Reader {
			if first {
				first = false
				return strings.NewReader(string(good))
			}
			return second()
		}}
		if _, err := layer.Unpack(ctx(t), c.target, []oci.Blob{b}, layer.UnpackOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
		c.check(t)
		if _, err := os.Lstat(c.target); err == nil {
			t.Errorf("%s: target is there", name)
		}
	}
	c := newCanary(t)
	long := file("d/"+strings.Repeat("n", 256), "")
	_, err := c.unpack(t, []rec{long})
	wantKind(t, "long name", err, oci.ErrInvalid)
	stopped, cancel := context.WithCancel(ctx(t))
	cancel()
	_, err = layer.Unpack(stopped, c.target, blobs(t, []rec{file("x", "")}), layer.UnpackOptions{})
	wantKind(t, "stopped", err, context.Canceled)
	c.check(t)
}

type funcBlob struct {
	oci.Blob
	f func() io.Reader
}

func (b *funcBlob) Open(context.Context) (io.ReadCloser, error) { return io.NopCloser(b.f()), nil }

// FuzzUnpack: what is unpacked is what the model has, and nothing else changed.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{0, 0, 3, 6, 0, 1, 1, 0, 8, 0, 2, 1, 1, 1, 4, 0, 0})
	f.Add([]byte("aqcvabdefbacbabcbaadbcbebcbabebcbecbea"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 100 {
			return
		}
		m, layers := valid((&coder{b}).layers(4))
		c := newCanary(t)
		if _, err := c.unpack(t, layers...); err != nil {
			t.Fatalf("%v\n%s", err, show(layers))
		}
		if got, want := disk(t, c.target), m.listing(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s\ngot\n %s\nwant\n %s", show(layers), strings.Join(got, "\n "), strings.Join(want, "\n "))
		}
	})
}
