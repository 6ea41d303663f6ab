// SPDX-License-Identifier: Apache-2.0

package packages_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dray-tools/dray/internal/packages"
	"github.com/dray-tools/dray/oci"
)

// fixture is what testdata/make.sh wrote.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// logged is a SQLite database and the log beside it.
func logged(t testing.TB) (data, wal []byte) {
	t.Helper()
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(fixture(t, "wal")))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files["rpmdb.sqlite"], files["rpmdb.sqlite-wal"]
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// read reads files that are all there is.
func read(files map[string][]byte) ([]packages.Package, error) {
	return packages.Read(slices.Collect(maps.Keys(files)), func(name string) ([]byte, error) {
		b, ok := files[name]
		if !ok {
			return nil, oci.ErrNotFound
		}
		return b, nil
	})
}

// show writes packages as one line.
func show(all []packages.Package) string {
	var s []string
	for _, p := range all {
		s = append(s, strings.Join([]string{p.Manager, p.Name, p.Version, p.Arch}, " "))
	}
	return strings.Join(s, ", ")
}

const (
	two   = "rpm cart 1.2.3-4.el9 noarch, rpm dray 3:2.0~rc1-1 noarch"
	three = two + ", rpm horse 7-2 x86_64"
)

func TestRPM(t *testing.T) {
	t.Parallel()
	data, wal := logged(t)
	for name, tt := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"sqlite":             {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": fixture(t, "sqlite")}, three},
		"sqlite, new place":  {map[string][]byte{"usr/lib/sysimage/rpm/rpmdb.sqlite": fixture(t, "sqlite")}, three},
		"ndb":                {map[string][]byte{"usr/lib/sysimage/rpm/Packages.db": fixture(t, "ndb")}, three},
		"bdb":                {map[string][]byte{"var/lib/rpm/Packages": fixture(t, "bdb")}, three},
		"bdb, big-endian":    {map[string][]byte{"var/lib/rpm/Packages": fixture(t, "bdb-big")}, three},
		"two paths to one":   {map[string][]byte{"var/lib/rpm/Packages.db": fixture(t, "ndb"), "usr/lib/sysimage/rpm/Packages.db": fixture(t, "ndb")}, three},
		"without its log":    {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": data}, two},
		"with its log":       {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": data, "var/lib/rpm/rpmdb.sqlite-wal": wal}, three},
		"with half a log":    {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": data, "var/lib/rpm/rpmdb.sqlite-wal": wal[:len(wal)-1]}, two},
		"with another log":   {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": data, "var/lib/rpm/rpmdb.sqlite-wal": wal[1:]}, two},
		"with an empty log":  {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": data, "var/lib/rpm/rpmdb.sqlite-wal": {}}, two},
		"a log alone":        {map[string][]byte{"var/lib/rpm/rpmdb.sqlite-wal": wal}, ""},
		"empty":              {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": {}, "var/lib/rpm/Packages": {}}, ""},
		"empty, a false log": {map[string][]byte{"var/lib/rpm/rpmdb.sqlite": {}, "var/lib/rpm/rpmdb.sqlite-wal": wal[1:]}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(tt.files)
			if err != nil || show(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", show(got), err, tt.want)
			}
		})
	}
}

// A tree of several levels, of which every row has overflow pages.
func TestRPMDeep(t *testing.T) {
	t.Parallel()
	got, err := read(map[string][]byte{"var/lib/rpm/rpmdb.sqlite": fixture(t, "small")})
	if err != nil || len(got) != 200 {
		t.Fatalf("got %d packages, %v", len(got), err)
	}
	for i, p := range got {
		if want := (packages.Package{Manager: "rpm", Name: fmt.Sprint("c", 100+i), Version: "1.2.3-4.el9", Arch: "noarch"}); p != want {
			t.Fatalf("got %v, want %v", p, want)
		}
	}
}

const (
	dpkgText = `Package: zlib1g
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 1:1.2.13.dfsg-1
Description: compression
 Package: not this
	Version: nor this
 .

package:base-files
STATUS: hold ok installed
Version: 12.4
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1

Package: half
Status: install ok half-configured
Version: 1
`
	apkText = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\np:so:libc=1\nF:lib\na:0:0:755\nR:ld.so\n\nP:busybox\nV:1.36.1-r5\nA:x86_64\n"
	oneText = "Package: libc6\nVersion: 2.36-9\nArchitecture: arm64\n"
)

func TestText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path, text, want string
	}{
		"dpkg":              {"var/lib/dpkg/status", dpkgText, "dpkg base-files 12.4 amd64, dpkg zlib1g 1:1.2.13.dfsg-1 amd64"},
		"dpkg, CRLF":        {"var/lib/dpkg/status", strings.ReplaceAll(dpkgText, "\n", "\r\n"), "dpkg base-files 12.4 amd64, dpkg zlib1g 1:1.2.13.dfsg-1 amd64"},
		"dpkg, no status":   {"var/lib/dpkg/status", oneText, ""},
		"status.d":          {"var/lib/dpkg/status.d/libc6", oneText, "dpkg libc6 2.36-9 arm64"},
		"status.d, removed": {"var/lib/dpkg/status.d/libc6", oneText + "Status: deinstall ok config-files\n", ""},
		"status.d, sums":    {"var/lib/dpkg/status.d/libc6.md5sums", "no field", ""},
		"status.d, deeper":  {"var/lib/dpkg/status.d/a/b", "no field", ""},
		"status.d itself":   {"var/lib/dpkg/status.d/", "no field", ""},
		"apk":               {"lib/apk/db/installed", apkText, "apk busybox 1.36.1-r5 x86_64, apk musl 1.2.4-r2 x86_64"},
		"apk, new place":    {"usr/lib/apk/db/installed", "\n\n" + apkText + "\n\n\n", "apk busybox 1.36.1-r5 x86_64, apk musl 1.2.4-r2 x86_64"},
		"something else":    {"etc/passwd", "no field", ""},
		"empty":             {"lib/apk/db/installed", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(map[string][]byte{tt.path: []byte(tt.text)})
			if err != nil || show(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", show(got), err, tt.want)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	all := packages.Files()
	if !slices.IsSorted(all) {
		t.Errorf("not sorted: %q", all)
	}
	for _, want := range []string{
		"lib/apk/db/installed", "usr/lib/apk/db/installed", "var/lib/dpkg/status", "var/lib/dpkg/status.d/",
		"var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "usr/lib/sysimage/rpm/Packages.db",
		"var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite-wal",
	} {
		if !slices.Contains(all, want) {
			t.Errorf("without %s: %q", want, all)
		}
	}
}

// What is broken is named, gives nothing, and takes nothing from the others.
func TestBroken(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	for name, tt := range map[string]struct{ path, text string }{
		"no field":        {"var/lib/dpkg/status", dpkgText + "\nPackage\n"},
		"field twice":     {"var/lib/dpkg/status", "Package: a\nVersion: 1\npackage: b\n"},
		"no name":         {"var/lib/dpkg/status", "Version: 1\nStatus: install ok installed\n"},
		"no version":      {"lib/apk/db/installed", apkText + "\nP:a\n"},
		"escape sequence": {"lib/apk/db/installed", "P:\x1b[31m\nV:1\n"},
		"not UTF-8":       {"lib/apk/db/installed", "P:\xff\nV:1\n"},
		"two words":       {"lib/apk/db/installed", "P:a b\nV:1\n"},
		"long name":       {"lib/apk/db/installed", "P:" + long + "\nV:1\n"},
		"not rpm's":       {"var/lib/rpm/Packages", long},
		"short":           {"var/lib/rpm/Packages", "x"},
		"sqlite, short":   {"var/lib/rpm/rpmdb.sqlite", "SQLite format 3\x00"},
		"ndb, short":      {"var/lib/rpm/Packages.db", "RpmP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(map[string][]byte{tt.path: []byte(tt.text), "var/lib/dpkg/status.d/libc6": []byte(oneText)})
			if !errors.Is(err, oci.ErrInvalid) || !strings.HasPrefix(fmt.Sprint(err), tt.path+": ") || strings.ContainsAny(err.Error(), "\x1b\n") || !utf8.ValidString(err.Error()) || len(err.Error()) > 1000 {
				t.Errorf("got error %q", err)
			}
			if want := "dpkg libc6 2.36-9 arm64"; show(got) != want {
				t.Errorf("got %s, want %s", show(got), want)
			}
		})
	}
}

// However many are broken, the error stays short, and file names are no
// command to a terminal.
func TestManyBroken(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{"lib/apk/db/installed": []byte(apkText)}
	for i := range 100 {
		files[fmt.Sprintf("var/lib/dpkg/status.d/\x1b%03d", i)] = []byte("x")
	}
	got, err := read(files)
	if len(got) != 2 || !errors.Is(err, oci.ErrInvalid) || strings.Contains(err.Error(), "\x1b") ||
		strings.Count(err.Error(), "\n") != 16 || !strings.HasSuffix(err.Error(), "84 more databases are broken") {
		t.Errorf("got %v, %q", got, err)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		kind error
		got  int
	}{
		"gone":      {oci.ErrNotFound, nil, 2},
		"too large": {oci.Errorf(oci.ErrInvalid, "too large"), oci.ErrInvalid, 2},
		"stopped":   {context.Canceled, context.Canceled, 0},
		"wrong":     {oci.ErrCorrupt, oci.ErrCorrupt, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := packages.Read([]string{"lib/apk/db/installed", "var/lib/dpkg/status"}, func(name string) ([]byte, error) {
				if strings.HasPrefix(name, "lib") {
					return []byte(apkText), nil
				}
				return nil, tt.err
			})
			if len(got) != tt.got || !errors.Is(err, tt.kind) {
				t.Errorf("got %v, %v", got, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "var/lib/dpkg/status: ") {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	if _, err := read(map[string][]byte{"var/lib/rpm/Packages": make([]byte, packages.MaxFile+1)}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
