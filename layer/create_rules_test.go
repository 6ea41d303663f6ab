// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func TestCreateRules(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	dir := tree(t, map[string]string{"run": "x", "d/secret": "y", "l": "->d"})
	must(t, os.Chmod(filepath.Join(dir, "run"), 0o700))
	must(t, os.Chmod(dir, 0o710))
	must(t, os.Chmod(filepath.Join(dir, "d"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "d", "secret"), 0o600))
	old, late := time.Unix(1_000_000_000, 5e8), time.Unix(2_000_000_000, 0)
	must(t, os.Chtimes(filepath.Join(dir, "run"), old, old))
	must(t, os.Chtimes(filepath.Join(dir, "d", "secret"), late, late))
	mode, err := layer.ParseMode("u=rwX,go=rX")
	must(t, err)
	o := layer.CreateOptions{Packing: plain.Packing, Prefix: "/srv//app/", Owner: &layer.Owner{UID: 1000, GID: 2000}, Mode: mode, KeepTime: true, Time: time.Unix(1_500_000_000, 0), KeepOwner: true}
	names, heads, c := created(t, dir, o)
	if want := []string{"srv/app/", "srv/app/d/", "srv/app/d/secret", "srv/app/l", "srv/app/run"}; !slices.Equal(names, want) || c.Entries != 5 {
		t.Errorf("%q, %+v", names, c)
	}
	for name, want := range map[string]int64{"": 0o755, "d/": 0o755, "d/secret": 0o644, "l": 0o777, "run": 0o755} {
		if h := heads["srv/app/"+name]; h.Mode != want || h.Uid != 1000 || h.Gid != 2000 {
			t.Errorf("%s: %o of %d:%d", name, h.Mode, h.Uid, h.Gid)
		}
	}
	if a, b := heads["srv/app/run"].ModTime.UnixNano(), heads["srv/app/d/secret"].ModTime.Unix(); a != 1e18 || b != 1_500_000_000 {
		t.Errorf("times %d and %d", a, b)
	}
	o.Time = time.Time{}
	if _, heads, _ = created(t, dir, o); heads["srv/app/d/secret"].ModTime.Unix() != late.Unix() {
		t.Errorf("time %v", heads["srv/app/d/secret"].ModTime)
	}
}

func TestCreateOfOneFile(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"app.jar": "jar", "link": "->app.jar"})
	for _, tt := range [][3]string{
		{"app.jar", "", "app.jar"}, {"app.jar", "/", "app.jar"}, {"app.jar", "/srv/", "srv/app.jar"}, {"app.jar", "/srv/x.jar", "srv/x.jar"}, {"app.jar", `C:\app\x.jar`, "app/x.jar"},
		{"link", "bin/", "bin/link"}, {"link", "bin/app", "bin/app"},
	} {
		o := plain
		o.Prefix = tt[1]
		names, heads, c := created(t, filepath.Join(dir, tt[0]), o)
		if !slices.Equal(names, []string{tt[2]}) || heads[tt[2]].Typeflag != tar.TypeReg || c.Bytes != 3 {
			t.Errorf("%s at %q: %q, %+v", tt[0], tt[1], names, c)
		}
	}
	for _, bad := range []string{"../x", "a/../../b", "a/.wh.x", ".wh.x/"} {
		o := plain
		o.Prefix = bad
		_, err := layer.WriteTar(ctx(t), &bytes.Buffer{}, filepath.Join(dir, "app.jar"), o)
		wantKind(t, bad, err, oci.ErrInvalid)
	}
	if _, err := layer.WriteTar(ctx(t), &bytes.Buffer{}, filepath.Join(dir, "no"), plain); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "app.jar"), os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = layer.WriteTar(ctx(t), f, filepath.Join(dir, "link"), plain)
	wantKind(t, "onto itself", err, oci.ErrInvalid)
}

// A tar that is written is what is packed, and Rewrite finds nothing to do.
func TestWriteTar(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a/b": "b", "c": strings.Repeat("c", 700_000), "long/" + strings.Repeat("n", 150): "", "l": "->a"})
	var packed, tar bytes.Buffer
	_, err := layer.Create(ctx(t), &packed, dir, plain)
	must(t, err)
	c, err := layer.WriteTar(ctx(t), &tar, dir, plain)
	if err != nil || c.Entries != 6 || !bytes.Equal(tar.Bytes(), packed.Bytes()) {
		t.Errorf("%+v, %v", c, err)
	}
	if out, done, err := rewrite(t, tar.Bytes(), layer.RewriteOptions{Ground: groundOf()}); err != nil || done.Changed || !bytes.Equal(out, tar.Bytes()) {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		s         string
		from      int64
		file, dir int64
	}{
		{"", 0o640, 0o640, 0o640},
		{"0644", 0o4755, 0o644, 0o644},
		{"1777", 0, 0o1777, 0o1777},
		{"u=rwX,go=rX", 0o600, 0o644, 0o755},
		{"u=rwX,go=rX", 0o700, 0o755, 0o755},
		{"a+x", 0o644, 0o755, 0o755},
		{"+w", 0o444, 0o666, 0o666},
		{"go-rwx", 0o777, 0o700, 0o700},
		{"g=u", 0o750, 0o770, 0o770},
		{"o=g-w", 0o770, 0o775, 0o775},
		{"u+s,g+s,+t", 0o755, 0o7755, 0o7755},
		{"a=", 0o755, 0, 0},
		{"ug=rw,o=", 0o777, 0o660, 0o660},
		{"a-s", 0o6755, 0o755, 0o755},
	} {
		m, err := layer.ParseMode(tt.s)
		if err != nil || m.String() != tt.s {
			t.Errorf("%q: %q, %v", tt.s, m, err)
		}
		if file, dir := m.Apply(tt.from, false), m.Apply(tt.from, true); file != tt.file || dir != tt.dir {
			t.Errorf("%s of %o: %o and %o, want %o and %o", tt.s, tt.from, file, dir, tt.file, tt.dir)
		}
	}
	for _, bad := range []string{"8", "77777", "0x1", "rwx", "u", "u=q", ",", "u=r,", "=r,u", "-1", "0644,a+x", " 644", "u==r x"} {
		if _, err := layer.ParseMode(bad); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
