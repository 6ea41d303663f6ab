// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// A ground is a file system of directories, "", and links to what they lead to.
// One that is blind knows nothing.
type ground struct {
	at    map[string]string
	blind bool
}

// groundOf is what records make, without whiteouts.
func groundOf(recs ...rec) *ground {
	g := &ground{at: map[string]string{}}
	for _, r := range recs {
		name := path.Clean(r.Name)
		for up := path.Dir(name); up != "."; up = path.Dir(up) {
			if _, ok := g.at[up]; !ok {
				g.at[up] = ""
			}
		}
		switch r.Typeflag {
		case tar.TypeDir:
			g.at[name] = ""
		case tar.TypeSymlink:
			g.at[name] = r.Linkname
		}
	}
	return g
}

func (g *ground) Dir(_ context.Context, dir string) (layer.Place, error) {
	if g.blind {
		return layer.Place{Path: dir}, nil
	}
	at := "."
	for rest, hops := dir, 0; rest != ""; {
		c, more, _ := strings.Cut(rest, "/")
		rest = more
		switch c {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		target, ok := g.at[path.Join(at, c)]
		switch {
		case !ok || target == "":
			at = path.Join(at, c)
		case hops > 40:
			return layer.Place{}, oci.Errorf(oci.ErrInvalid, "loop")
		default:
			hops++
			if rest = target + "/" + rest; target[0] == '/' {
				at = "."
			}
		}
	}
	if _, ok := g.at[at]; !ok && at != "." {
		return layer.Place{Path: at, There: layer.Absent}, nil
	}
	return layer.Place{Path: at, There: layer.Present}, nil
}

func rewrite(t testing.TB, b []byte, o layer.RewriteOptions) ([]byte, layer.Rewritten, error) {
	t.Helper()
	var out bytes.Buffer
	done, err := layer.Rewrite(ctx(t), &out, bytes.NewReader(b), o)
	if errors.Is(err, layer.ErrRepeats) {
		if o.Repeats, err = layer.FindRepeats(ctx(t), bytes.NewReader(b), o); err == nil {
			out.Reset()
			done, err = layer.Rewrite(ctx(t), &out, bytes.NewReader(b), o)
		}
	}
	return out.Bytes(), done, err
}

// rewritten lists the entries: names, and what links lead to.
func rewritten(t testing.TB, o layer.RewriteOptions, recs ...rec) (string, error) {
	t.Helper()
	b, done, err := rewrite(t, tarOf(t, recs...), o)
	if err != nil {
		return "", err
	}
	var out []string
	for _, r := range untar(t, b) {
		s := r.Name
		if r.Linkname != "" {
			s += ">" + r.Linkname
		}
		out = append(out, s)
	}
	if done.Entries != len(out) {
		t.Errorf("%d entries are said to be %d", len(out), done.Entries)
	}
	return strings.Join(out, " "), nil
}

var debian = []rec{dir("usr"), dir("usr/lib"), dir("usr/bin"), dir("etc"), dir("var"), dir("run"), symlink("lib", "usr/lib"), symlink("bin", "/usr/bin"),
	symlink("var/run", "/run"), symlink("opt", "/data/opt"), symlink("loop", "loop"), file("usr/bin/sh", "sh")}

func TestRewrite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		recs []rec
		want string // or, after !, the error
	}{
		{[]rec{file("lib/x/y", "")}, "usr/lib/x/ usr/lib/x/y"},
		{[]rec{dir("lib"), dir("lib/x"), file("lib/x/y", "")}, "usr/lib/x/ usr/lib/x/y"},
		{[]rec{dir("etc"), file("etc/passwd", "")}, "etc/passwd"},
		{[]rec{file("srv/a/b", ""), file("srv/a/c", ""), dir("srv"), dir("srv")}, "srv/ srv/a/ srv/a/b srv/a/c"},
		{[]rec{file("top", ""), dir("."), file("./x", ""), file("/y", ""), file("a//../z", "")}, "top ./x y z"},
		{[]rec{file("opt/x/y", ""), file("data/z", "")}, "data/ data/opt/ data/opt/x/ data/opt/x/y data/z"},
		{[]rec{file("var/run/../x", ""), file("var/run/p", "")}, "var/x run/p"},
		{[]rec{file("loop/x", "")}, "!loop"},
		{[]rec{symlink("lib/a", "../x"), symlink("abs", "/lib/a")}, "usr/lib/a>../x abs>/lib/a"},
		{[]rec{file("lib/a", ""), hardlink("bin/b", "lib/a"), hardlink("/c", "./lib/a")}, "usr/lib/a usr/bin/b>usr/lib/a c>usr/lib/a"},
		// links of the tar itself
		{[]rec{symlink("app", "srv/app"), file("app/x", "")}, "app>srv/app srv/ srv/app/ srv/app/x"},
		{[]rec{symlink("app", "srv/app"), dir("app"), file("srv/app/x", "")}, "app>srv/app srv/ srv/app/ srv/app/x"},
		{[]rec{dir("a"), symlink("a/l", "../../etc/."), file("a/l/x", "")}, "a/ a/l>../../etc/. etc/x"},
		{[]rec{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, "!circles"},
		{[]rec{symlink("usr", "/srv"), file("lib/x", "")}, "usr>/srv srv/ srv/lib/ srv/lib/x"}, // the tar's counts, the base's link leads to it
		{[]rec{symlink("a", "lib"), file("a/x", ""), symlink("a", "etc"), file("a/x", ""), file("a", "")}, "usr/lib/x etc/x a"},
		{[]rec{file("lib/x", ""), file("usr/x", ""), file("usr", "")}, `!"usr": it is a directory with something in it`},
		// whiteouts
		{[]rec{file("etc/.wh.passwd", "")}, `!"etc/.wh.passwd"`},
		{[]rec{file(".wh..wh..opq", "")}, `!.wh..wh..opq`},
		{[]rec{file(".wh..wh.plnk/1", "")}, `!.wh..wh.plnk/1`},
		{[]rec{file(".wh.a/1", "")}, `!.wh.a/1`},
		{[]rec{symlink("x", ".wh.y"), file("x/z", "")}, `!"x/z"`},
		{[]rec{file("a.wh.b", "")}, `a.wh.b`},
		{[]rec{file("a/../../x", "")}, `!unsafe path`},
	} {
		got, err := rewritten(t, layer.RewriteOptions{Ground: groundOf(debian...)}, tt.recs...)
		if want, bad := strings.CutPrefix(tt.want, "!"); bad {
			if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %q, %v", listed(tt.recs), got, err)
			}
		} else if got != tt.want || err != nil {
			t.Errorf("%v: got %q, %v\nwant %q", listed(tt.recs), got, err, tt.want)
		}
	}
}

func listed(recs []rec) (out []string) {
	for _, r := range recs {
		out = append(out, r.Name)
	}
	return out
}

func TestRewriteOptions(t *testing.T) {
	t.Parallel()
	recs := []rec{dir("."), dir("lib"), file("lib/x", ""), hardlink("y", "lib/x"), symlink("s", "lib")}
	for name, tt := range map[string]struct {
		o    layer.RewriteOptions
		want string
	}{
		"blind":             {layer.RewriteOptions{Ground: &ground{blind: true}}, "lib/ lib/x y>lib/x s>lib"},
		"none":              {layer.RewriteOptions{}, "lib/ lib/x y>lib/x s>lib"},
		"prefix":            {layer.RewriteOptions{Prefix: "/srv/app/"}, "srv/app/lib/ srv/app/lib/x srv/app/y>srv/app/lib/x srv/app/s>lib"},
		"prefix and ground": {layer.RewriteOptions{Prefix: "bin", Ground: groundOf(debian...)}, "usr/bin/lib/ usr/bin/lib/x usr/bin/y>usr/bin/lib/x usr/bin/s>lib"},
		"new prefix":        {layer.RewriteOptions{Prefix: "a/b", Ground: groundOf(debian...)}, "a/ a/b/ a/b/lib/ a/b/lib/x a/b/y>a/b/lib/x a/b/s>lib"},
		"root":              {layer.RewriteOptions{Prefix: "/"}, "lib/ lib/x y>lib/x s>lib"},
		"exact":             {layer.RewriteOptions{Exact: true, Ground: groundOf(debian...), Prefix: "x", Clamp: time.Unix(1, 0)}, "./ lib/ lib/x y>lib/x s>lib"},
		"scratch":           {layer.RewriteOptions{Ground: groundOf()}, "lib/ lib/x y>lib/x s>lib"},
	} {
		if got, err := rewritten(t, tt.o, recs...); got != tt.want || err != nil {
			t.Errorf("%s: got %q, %v\nwant %q", name, got, err, tt.want)
		}
	}
	for _, bad := range []string{"../x", "a/.wh.b", "a\x00b"} {
		_, err := rewritten(t, layer.RewriteOptions{Prefix: bad}, recs...)
		wantKind(t, bad, err, oci.ErrInvalid)
	}
	_, done, err := rewrite(t, tarOf(t, file("lib/a/b", ""), file("srv/x/y", ""), file("lib/c", "")), layer.RewriteOptions{Ground: groundOf(debian...)})
	want := []layer.Answer{{Dir: "lib", Place: layer.Place{Path: "usr/lib", There: layer.Present}},
		{Dir: "usr/lib/a", Place: layer.Place{Path: "usr/lib/a", There: layer.Absent}},
		{Dir: "usr", Place: layer.Place{Path: "usr", There: layer.Present}},
		{Dir: "srv", Place: layer.Place{Path: "srv", There: layer.Absent}}}
	if err != nil || !slices.Equal(done.Asked, want) {
		t.Errorf("asked %v, %v", done.Asked, err)
	}
}

// What is not changed is the same, to the last byte.
func TestRewriteKeeps(t *testing.T) {
	t.Parallel()
	old := raw("s", tar.TypeGNUSparse, octal(4), func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[386:], octal(0)+octal(2)+octal(510)+octal(2)+octal(600)+octal(0))
		copy(b[483:], octal(600))
	})
	sparse := cat(pax('x', record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0"), record("GNU.sparse.name", "s"), record("GNU.sparse.realsize", "600")),
		raw("GNUSparseFile.0/x", tar.TypeReg, octal(516)), block("2\n0\n2\n510\n2\n"), block("abcd"))
	x := cat(raw("x", tar.TypeReg, octal(3)), block("xyz"))
	for name, b := range map[string][]byte{
		"empty":          {},
		"no entries":     end,
		"plain":          tarOf(t, dir("a"), file("a/b", "text"), symlink("l", "a"), hardlink("h", "a/b")),
		"dot":            tarOf(t, file("./a", "text"), hardlink("./b", "./a")),
		"GNU long":       cat(raw("L", 'L', octal(200)), block(strings.Repeat("a", 199)+"\x00"), raw("x", tar.TypeReg, octal(0), func(b []byte) { copy(b[257:], "ustar  \x00") }), end),
		"PAX":            cat(pax('x', record("mtime", "5.123456789"), record("SCHILY.xattr.user.z", "\x00\xff"), record("b", "2"), record("a", "1")), x, end),
		"V7":             cat(raw("x", 0, octal(0), func(b []byte) { clear(b[257:265]) }), raw("d/", 0, octal(0), func(b []byte) { clear(b[257:265]) }), end),
		"global":         cat(pax('g', record("comment", "hello")), x, pax('g', record("comment", "bye")), end),
		"GNU sparse":     cat(old, block("abcd"), x, end),
		"PAX sparse":     cat(sparse, x, end),
		"padding":        cat(x, end, make([]byte, 70_000)),
		"odd padding":    cat(x, end, make([]byte, 77)),
		"one zero block": cat(x, end[:512]),
		"no end":         x,
		"no padding":     x[:512+3],
		"large":          tarOf(t, file("a", strings.Repeat("large", 300_001)), file("b", strings.Repeat("x", 512))),
	} {
		for what, o := range map[string]layer.RewriteOptions{"none": {}, "scratch": {Ground: groundOf(dir("a"))}, "clamp": {Clamp: time.Unix(1<<40, 0), Ground: &ground{blind: true}}, "exact": {Exact: true}} {
			if name == "plain" && what == "scratch" {
				continue
			}
			got, done, err := rewrite(t, b, o)
			if err != nil || done.Changed || !bytes.Equal(got, b) {
				t.Errorf("%s, %s: %+v, %v, %d of %d bytes", name, what, done, err, len(got), len(b))
			}
		}
	}
	b, _, err := rewrite(t, cat(pax('g', record("comment", "hello")), x, end), layer.RewriteOptions{Prefix: "p"})
	if got := untar(t, b); err != nil || len(got) != 2 || got[0].Typeflag != tar.TypeXGlobalHeader || got[1].Name != "p/x" || got[1].content != "xyz" {
		t.Errorf("after a global header: %+v, %v", got, err)
	}
	b, _, err = rewrite(t, x[:512+3], layer.RewriteOptions{Prefix: "p"})
	if got := untar(t, b); err != nil || len(got) != 1 || got[0].content != "xyz" || len(b) != 2048 {
		t.Errorf("without padding: %+v, %v", got, err)
	}
	for name, b := range map[string][]byte{"GNU sparse": cat(old, block("abcd"), x, end), "PAX sparse": cat(sparse, x, end)} { // holes are filled
		b, done, err := rewrite(t, b, layer.RewriteOptions{Prefix: "p"})
		if err != nil || !done.Changed {
			t.Fatal(name, err)
		}
		if got := untar(t, b); len(got) != 2 || got[0].content != "ab"+strings.Repeat("\x00", 508)+"cd"+strings.Repeat("\x00", 88) || got[0].Name != "p/s" || got[1].content != "xyz" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Only the header that has to change does, and it keeps what it says otherwise.
func TestRewriteHeaders(t *testing.T) {
	t.Parallel()
	late := time.Unix(2_000_000_000, 500)
	h := tar.Header{Typeflag: tar.TypeReg, Name: "lib/x", Size: 1, Mode: 0o6755, Uid: 1 << 22, Gid: 7, Uname: "you", Gname: "us", ModTime: late, AccessTime: late, ChangeTime: late,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\xff", "LIBARCHIVE.creationtime": "7", "vendor.k": "v"}, Format: tar.FormatPAX}
	in := tarOf(t, rec{h, "x"}, file("a", "same"))
	out, _, err := rewrite(t, in, layer.RewriteOptions{Ground: groundOf(debian...)})
	must(t, err)
	got := untar(t, out)[0]
	if got.Name != "usr/lib/x" || got.Mode != h.Mode || got.Uid != h.Uid || got.Uname != "you" || !got.ModTime.Equal(late) || !got.AccessTime.Equal(late) ||
		got.PAXRecords["SCHILY.xattr.security.capability"] != "\x01\x00\xff" || got.PAXRecords["vendor.k"] != "v" || got.content != "x" {
		t.Errorf("moved: %+v", got)
	}
	if same := tarOf(t, file("a", "same")); !bytes.HasSuffix(out, same) {
		t.Error("the next entry has changed")
	}
	clamp := time.Unix(1_700_000_000, 0)
	out, _, err = rewrite(t, in, layer.RewriteOptions{Clamp: clamp, Owner: &layer.Owner{UID: 1, GID: 2}})
	must(t, err)
	for _, got := range untar(t, out) {
		if want := min(clamp.Unix(), got.ModTime.Unix()); got.ModTime.UnixNano() != want*1e9 || !got.AccessTime.IsZero() || !got.ChangeTime.IsZero() || got.PAXRecords["LIBARCHIVE.creationtime"] != "" ||
			got.Uid != 1 || got.Gid != 2 || got.Uname+got.Gname != "" {
			t.Errorf("clamped: %+v", got)
		}
	}
	out, _, err = rewrite(t, tarOf(t, file("new/x", "")), layer.RewriteOptions{Ground: groundOf(), Clamp: clamp, Owner: &layer.Owner{UID: 1, GID: 2}})
	must(t, err)
	if got := untar(t, out)[0]; got.Mode != 0o755 || !got.ModTime.Equal(clamp) || got.Uid != 1 || got.Gid != 2 {
		t.Errorf("made: %+v", got)
	}
	out, _, err = rewrite(t, tarOf(t, file("new/x", "")), layer.RewriteOptions{Ground: groundOf()})
	must(t, err)
	if got := untar(t, out)[0]; got.Mode != 0o755 || got.ModTime.Unix() != 0 || got.Typeflag != tar.TypeDir {
		t.Errorf("made: %+v", got)
	}
}

// A tar that does not know of the base's links does not replace them.
func TestRewriteLeavesLinks(t *testing.T) {
	t.Parallel()
	b, _, err := rewrite(t, tarOf(t, dir("lib"), dir("lib/x86_64-linux-gnu"), file("lib/x86_64-linux-gnu/x", "x"), file("var/run/y", "y")), layer.RewriteOptions{Ground: groundOf(debian...)})
	must(t, err)
	tree := mustTree(t, debian, untar(t, b))
	for _, p := range []string{"lib", "var/run"} {
		if real, _, err := tree.Lookup(path.Dir(p)); err != nil || real != path.Dir(p) {
			t.Errorf("%s: %q %v", p, real, err)
		}
	}
	for p, want := range map[string]string{"lib/x86_64-linux-gnu/x": "usr/lib/x86_64-linux-gnu/x", "run/y": "run/y", "bin/sh": "usr/bin/sh"} {
		if real, n, err := tree.Lookup(p); err != nil || real != want || n.Kind != layer.File {
			t.Errorf("%s is at %q: %v", p, real, err)
		}
	}
	if all := names(tree); strings.Contains(all, "lib/x86_64-linux-gnu ") && !strings.Contains(all, "usr/lib/x86_64") {
		t.Error(all)
	}
	if _, n, _ := tree.Lookup("usr/lib"); n == nil || n.Layer != 0 || n.Header.Mode != 0o755 {
		t.Errorf("the base's directory has changed: %+v", n)
	}
}

type breaking struct {
	r   io.Reader
	err error
}

func (f breaking) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func TestRewriteFails(t *testing.T) {
	t.Parallel()
	good := tarOf(t, file("a", strings.Repeat("x", 600_000)), file("b", "b"))
	for name, b := range map[string][]byte{"no tar": []byte(strings.Repeat("hello", 200)), "short": []byte("hello"), "cut": good[:300_000], "appended": cat(good, good), "garbage": cat(good, []byte("x")),
		"half a header": pax('x', record("path", "x")), "half a header and the end": cat(pax('x', record("path", "x")), end)} {
		for _, exact := range []bool{false, true} {
			_, _, err := rewrite(t, b, layer.RewriteOptions{Exact: exact})
			wantKind(t, name, err, oci.ErrInvalid)
		}
	}
	broken := errors.New("broken")
	if _, err := layer.Rewrite(t.Context(), io.Discard, breaking{bytes.NewReader(good[:5000]), broken}, layer.RewriteOptions{}); !errors.Is(err, broken) {
		t.Errorf("reader: %v", err)
	}
	for _, o := range []layer.RewriteOptions{{}, {Prefix: "p"}} {
		if _, err := layer.Rewrite(t.Context(), &full{1000}, bytes.NewReader(good), o); !errors.Is(err, errFull) {
			t.Errorf("writer: %v", err)
		}
	}
	c, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := layer.Rewrite(c, io.Discard, bytes.NewReader(good), layer.RewriteOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := layer.Rewrite(t.Context(), io.Discard, bytes.NewReader(good), layer.RewriteOptions{Limits: layer.Limits{Entries: 1}}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("limits: %v", err)
	}
	if _, err := rewritten(t, layer.RewriteOptions{Ground: badGround{}}, file("a/b", "")); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("a ground that leaves the root: %v", err)
	}
}

type badGround struct{}

func (badGround) Dir(context.Context, string) (layer.Place, error) {
	return layer.Place{Path: "../x", There: layer.Present}, nil
}

// endless is a tar of one file of n zeros.
func endless(n int64) io.Reader {
	return io.MultiReader(bytes.NewReader(raw("lib/x", tar.TypeReg, fmt.Sprintf("%011o\x00", n))), io.LimitReader(zero{}, n), bytes.NewReader(end))
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Files are not held in memory, whatever their size.
func TestRewriteOfLargeFiles(t *testing.T) {
	for name, o := range map[string]layer.RewriteOptions{"kept": {}, "moved": {Ground: groundOf(debian...)}, "Windows": {Windows: true}} {
		before, most, written := heap(), int64(0), int64(0)
		w := writerFunc(func(p []byte) (int, error) {
			if written += int64(len(p)); most == 0 && written > 1<<29 {
				most = heap() - before
			}
			return len(p), nil
		})
		if _, err := layer.Rewrite(t.Context(), w, endless(1<<30), o); err != nil || written < 1<<30 {
			t.Errorf("%s: %d bytes, %v", name, written, err)
		}
		if most > 4<<20 {
			t.Errorf("%s: %d KiB for a large file", name, most>>10)
		}
	}
}

// Directories that are deep, and not there, are found again and again.
func TestBad_064_RewriteOfDeepDirectories(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("d/", 1900)
	var recs []rec
	for i := range 1000 {
		recs = append(recs, file(fmt.Sprintf("%s%d/x", deep, i), ""))
	}
	if _, _, err := rewrite(t, tarOf(t, recs...), layer.RewriteOptions{Ground: groundOf()}); err != nil {
		t.Error(err)
	}
}
