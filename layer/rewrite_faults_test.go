// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// told lists entries with modes and contents.
func told(t testing.TB, b []byte) string {
	t.Helper()
	var out []string
	for _, r := range untar(t, b) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %o %d %s%s", r.Name, r.Mode, r.Uid, r.Linkname, r.content)))
	}
	return strings.Join(out, ", ")
}

func owned(r rec, mode int64, uid int) rec {
	r.Mode, r.Uid = mode, uid
	return r
}

// Docker refuses a layer that has a name twice.
func TestEachNameIsWrittenOnce(t *testing.T) {
	t.Parallel()
	d := func(name string, mode int64) rec { return owned(dir(name), mode, 7) }
	f := func(name, content string) rec { return owned(file(name, content), 0o600, 7) }
	l := func(name, to string) rec { return owned(hardlink(name, to), 0o600, 7) }
	s := func(name, to string) rec { return owned(symlink(name, to), 0o777, 7) }
	for name, tt := range map[string]struct {
		recs []rec
		want string // or, after !, the error
	}{
		"a directory after its content":     {[]rec{f("srv/after/f", "1"), d("srv/after", 0o711)}, "srv/ 755 0, srv/after/ 711 7, srv/after/f 600 7 1"},
		"directories of two names":          {[]rec{d("lib/newd", 0o750), f("lib/newd/a", "1"), d("usr/lib/newd", 0o700), f("usr/lib/newd/b", "2")}, "usr/lib/newd/ 700 7, usr/lib/newd/a 600 7 1, usr/lib/newd/b 600 7 2"},
		"files of two names":                {[]rec{f("lib/nf", "1"), f("usr/lib/nf", "2")}, "usr/lib/nf 600 7 2"},
		"a file twice":                      {[]rec{f("x", strings.Repeat("1", 70_000)), f("y", "y"), f("x", "2")}, "y 600 7 y, x 600 7 2"},
		"a file three times":                {[]rec{f("x", "1"), f("x", "2"), f("x", "3"), f("y", "4")}, "x 600 7 3, y 600 7 4"},
		"a link and a file":                 {[]rec{s("x", "a"), f("x", "2")}, "x 600 7 2"},
		"an empty directory and a file":     {[]rec{d("srv", 0o700), f("srv", "2")}, "srv 600 7 2"},
		"hard links twice":                  {[]rec{f("a", "1"), l("b", "a"), f("a", "2"), l("b", "a")}, "a 600 7 2, b 600 7 a"},
		"a hard link to what is replaced":   {[]rec{f("a", "1"), l("b", "a"), f("a", "2")}, "!replaces later"},
		"a hard link replaced":              {[]rec{f("a", "1"), l("b", "a"), f("b", "2")}, "a 600 7 1, b 600 7 2"},
		"a file and what is in it":          {[]rec{f("srv/a", "1"), f("srv/a/x", "2")}, `!"srv/a" is a file in the tar`},
		"a file and a directory":            {[]rec{f("srv/a", "1"), d("srv/a", 0o700)}, "!and a directory later"},
		"a directory that is full, and not": {[]rec{f("srv/a/x", "1"), f("srv/a", "2")}, "!with something in it"},
	} {
		b, done, err := rewrite(t, tarOf(t, tt.recs...), layer.RewriteOptions{Ground: groundOf(debian...)})
		if want, bad := strings.CutPrefix(tt.want, "!"); bad {
			if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		must(t, err)
		if got := told(t, b); got != tt.want || !done.Changed || done.Entries != len(untar(t, b)) {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
	in := tarOf(t, file("x", "1"), file("x", "2"))
	if b, done, err := rewrite(t, in, layer.RewriteOptions{Exact: true}); err != nil || done.Changed || !bytes.Equal(b, in) {
		t.Errorf("a layer does not stay as it is: %+v, %v", done, err)
	}
}

// Directories that are there twice in the same way, as some tars have them, need
// no second pass.
func TestRepeatedDirectoriesNeedOnePass(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_, err := layer.Rewrite(ctx(t), &out, bytes.NewReader(tarOf(t, dir("srv"), file("srv/a", ""), dir("srv"), file("srv/b", ""))), layer.RewriteOptions{})
	must(t, err)
	if got := names(mustTree(t, untar(t, out.Bytes()))); len(untar(t, out.Bytes())) != 3 {
		t.Error(got)
	}
}

// Engines cannot link to what the layer has not brought before.
func TestHardLinksThatEnginesCannotExtract(t *testing.T) {
	t.Parallel()
	for name, recs := range map[string][]rec{
		"forward":        {hardlink("srv/h", "srv/later"), file("srv/later", "")},
		"itself":         {file("lib/h", ""), hardlink("lib/h", "usr/lib/h")},
		"directory":      {dir("srv"), hardlink("h", "srv")},
		"made directory": {file("srv/x", ""), hardlink("h", "srv")},
		"base directory": {hardlink("h", "usr/lib")},
		"nothing":        {hardlink("h", "srv/nothing")},
		"base file":      {hardlink("h", "etc/debian_version")},
	} {
		for what, o := range map[string]layer.RewriteOptions{"": {Ground: groundOf(debian...)}, ", blind": {}, ", Windows": {Windows: true}} {
			_, err := rewritten(t, o, recs...)
			if what != "" && name == "itself" {
				continue
			}
			wantKind(t, name+what, err, oci.ErrInvalid)
		}
		if _, err := rewritten(t, layer.RewriteOptions{Exact: true}, recs...); err != nil {
			t.Errorf("%s, exact: %v", name, err)
		}
	}
	if got, err := rewritten(t, layer.RewriteOptions{}, symlink("s", "x"), hardlink("h", "s"), hardlink("g", "h")); err != nil || got != "s>x h>s g>h" {
		t.Errorf("%s, %v", got, err)
	}
}

// A tar that has the form of Windows is held to it.
func TestWindowsFormIsChecked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		recs []rec
		want string
	}{
		"twice":             {[]rec{file("Files/a", "1"), file("Files/a", "2")}, "Files/ Files/a Hives/"},
		"only Files":        {[]rec{dir("Files"), file("Files/a", "")}, "Files/ Files/a Hives/"},
		"Files afterwards":  {[]rec{file("Files/a", ""), dir("Files"), dir("Hives")}, "Files/ Files/a Hives/"},
		"only UtilityVM":    {[]rec{dir("UtilityVM")}, "UtilityVM/ Files/ Hives/"},
		"a stream":          {[]rec{file("Files/a", ""), file("Files/a:s", "")}, "Files/ Files/a Files/a:s Hives/"},
		"a colon":           {[]rec{file("Files/b:c", "")}, "!b:c"},
		"a device":          {[]rec{file("Files/x/NUL", "")}, "!NUL"},
		"letters":           {[]rec{file("Files/a", ""), file("Files/A", "")}, "!other letters"},
		"a link out":        {[]rec{file("Files/a", ""), hardlink("Files/h", "app/x")}, "!out of Files"},
		"a link to Hives":   {[]rec{file("Hives/a", ""), hardlink("Files/h", "Hives/a")}, "!out of Files"},
		"Files is a file":   {[]rec{file("Files", "")}, "!directory"},
		"a directory after": {[]rec{dir("Files"), dir("Hives"), file("Files/app/x", ""), dir("Files/app")}, "Files/ Hives/ Files/app/x Files/app/"},
	} {
		got, err := rewritten(t, layer.RewriteOptions{Windows: true}, tt.recs...)
		if want, bad := strings.CutPrefix(tt.want, "!"); bad {
			if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		} else if got != tt.want || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	b, _, err := rewrite(t, tarOf(t, file("app/x", ""), owned(dir("app"), 0o711, 7)), layer.RewriteOptions{Windows: true})
	must(t, err)
	if got := untar(t, b); len(got) != 4 || got[2].Name != "Files/app/" || got[2].Mode != 0o711 || got[2].Uid != 7 {
		t.Errorf("a directory after its content: %s", told(t, b))
	}
}

// A directory does not take the place of the base's file, and a single file goes
// into a directory as cp puts it.
func TestFilesOfTheBaseInTheWay(t *testing.T) {
	t.Parallel()
	_, layers := asked(t, usrMerged()...)
	g := layer.NewBase(layers, layer.BaseOptions{Deep: true})
	for _, recs := range [][]rec{{dir("etc/passwd")}, {file("etc/passwd/in", "")}, {file("etc/passwd/in/deep/x", "")}, {symlink("s", "etc/passwd"), file("s/x", "")}} {
		_, err := rewritten(t, layer.RewriteOptions{Ground: g}, recs...)
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), `"etc/passwd" is a file in the base`) {
			t.Errorf("%v: %v", listed(recs), err)
		}
	}
	for _, tt := range []struct{ name, into, want string }{
		{"etc/passwd", "", "etc/passwd"},
		{"etc/passwd", "f", "etc/passwd"},
		{"etc", "", "etc"},
		{"etc", "f", "etc/f"},
		{"lib", "f", "usr/lib/f"},
		{"etc/new", "f", "etc/new"},
	} {
		if got, err := rewritten(t, layer.RewriteOptions{Ground: g, Into: tt.into}, file(tt.name, "")); got != tt.want || err != nil {
			t.Errorf("%v: got %q, %v", tt, got, err)
		}
	}
}

// Who has an entry only for a directory of the base meant it.
func TestKeptDirectoriesAreTold(t *testing.T) {
	t.Parallel()
	recs := []rec{dir("etc"), dir("var"), dir("lib"), dir("usr"), file("etc/x", ""), dir("usr/bin"), dir("run"), dir("run"), dir("new"), dir(".")}
	b, done, err := rewrite(t, tarOf(t, recs...), layer.RewriteOptions{Ground: groundOf(debian...)})
	must(t, err)
	if want := []string{"run", "usr/bin", "usr/lib", "var"}; !slices.Equal(done.Kept, want) || done.KeptCount != 4 || len(untar(t, b)) != 2 {
		t.Errorf("%+v", done)
	}
	_, done, err = rewrite(t, tarOf(t, file("etc/x", ""), dir("etc")), layer.RewriteOptions{Ground: groundOf(debian...)})
	if err != nil || done.KeptCount != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

// An app that does not run as root can write to the directory that was made for it.
func TestDestinationHasTheModeOfItsSource(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	src := tree(t, map[string]string{"f": "x"})
	must(t, os.Chmod(src, 0o770))
	mode, err := layer.ParseMode("o=rx")
	must(t, err)
	o := layer.CreateOptions{Prefix: "srv/data", Owner: &layer.Owner{UID: 5, GID: 6}, Mode: mode}
	var plain bytes.Buffer
	_, err = layer.WriteTar(ctx(t), &plain, src, o)
	must(t, err)
	for name, tt := range map[string]struct {
		g    *ground
		want string
	}{
		"new":     {groundOf(), "srv/ 755 5, srv/data/ 775 5"},
		"there":   {groundOf(dir("srv/data")), ""},
		"unknown": {&ground{blind: true}, "srv/data/ 775 5"},
	} {
		b, _, err := rewrite(t, plain.Bytes(), layer.RewriteOptions{Ground: tt.g, Owner: o.Owner})
		must(t, err)
		got := told(t, b)
		if got, _, _ = strings.Cut(got, "srv/data/f"); strings.TrimSuffix(got, ", ") != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// What a base's files have beside their names takes no memory.
func TestBaseKeepsNoAttributes(t *testing.T) {
	t.Parallel()
	big := file("etc/x", "")
	big.PAXRecords = map[string]string{"SCHILY.xattr.user.big": strings.Repeat("x", 60_000)}
	big.Format, big.ModTime = tar.FormatPAX, time.Unix(1, 0)
	_, layers := asked(t, []rec{big, symlink("lib", "usr/lib")})
	tree, err := layer.NewBase(layers, layer.BaseOptions{}).Tree(ctx(t))
	must(t, err)
	if _, n, err := tree.Lookup("etc/x"); err != nil || len(n.Header.PAXRecords) > 0 {
		t.Errorf("%v, %v", n, err)
	}
}
