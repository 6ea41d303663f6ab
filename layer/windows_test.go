// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func TestRewriteForWindows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		prefix string
		recs   []rec
		want   string // or, after !, the error
	}{
		{"", nil, ""},
		{"", []rec{dir("."), dir("./app"), file("./app/a.exe", ""), hardlink("./app/b.exe", "./app/a.exe")}, "Files/app/ Files/app/a.exe Files/app/b.exe>Files/app/a.exe"},
		{"", []rec{file("a/b/c", ""), dir("a"), dir("a/b"), file("/a/d", "")}, "Files/a/ Files/a/b/ Files/a/b/c Files/a/d"},
		{`C:\app`, []rec{file("a", ""), hardlink("b", "a")}, "Files/app/ Files/app/a Files/app/b>Files/app/a"},
		{"c:/", []rec{file("a", "")}, "Files/a"},
		{`x\y`, []rec{file("Files/a", "")}, "Files/x/ Files/x/y/ Files/x/y/Files/ Files/x/y/Files/a"},
		{"", []rec{dir("d"), symlink("l", `C:\d`), symlink("f", "../up/x"), file("l/x", "")}, `Files/d/ Files/l>C:\d Files/f>../up/x Files/d/x`},
		{"", []rec{symlink("l", "a:b"), file("l/x", "")}, `!"l/x"`},
		{"", []rec{dir("d"), symlink("l", "d"), file("l/x", "")}, "Files/d/ Files/l>d Files/d/x"},
		{"", []rec{hardlink("l", "Windows/System32/cmd.exe")}, `!"l": link to "Files/Windows/System32/cmd.exe"`},
		{"", []rec{dir("App"), file("app/x", "")}, `!"app" is there in other letters`},
		{"", []rec{file("Ä.txt", ""), file("ä.TXT", "")}, `!"ä.TXT"`},
		{"", []rec{file("a", "1"), file("b", ""), file("a", "2")}, `Files/b Files/a`},
		{"", []rec{file("a", ""), file("Files/x", "")}, `!"Files/x"`},
		{"", []rec{file("a", ""), file("Hives/x", "")}, `!"Hives/x"`},
		{"", []rec{{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "a"}}}, `!"a"`},
		{"", []rec{file("a/.wh.x", "")}, `!"a/.wh.x"`},
		{`\\?\C:\x`, []rec{file("a", "")}, `!"a"`},
	} {
		got, err := rewritten(t, layer.RewriteOptions{Windows: true, Prefix: tt.prefix, Ground: badGround{}}, tt.recs...)
		if want, bad := strings.CutPrefix(tt.want, "!"); bad {
			if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %q, %v", listed(tt.recs), got, err)
			}
		} else if want := strings.TrimSpace("Files/ Hives/ " + tt.want); got != want || err != nil {
			t.Errorf("%v: got %q, %v\nwant %q", listed(tt.recs), got, err, want)
		}
	}
}

func TestRewriteRecordsOfWindows(t *testing.T) {
	t.Parallel()
	own := file("own", "")
	own.PAXRecords = map[string]string{"MSWINDOWS.fileattr": "33", "MSWINDOWS.rawsd": "AQ=="}
	sddl := file("sddl", "")
	sddl.PAXRecords = map[string]string{"MSWINDOWS.sd": "O:BA"}
	b, done, err := rewrite(t, tarOf(t, file("a/x.dll", "content"), symlink("f", "a/x.dll"), symlink("d", "a"), symlink("up/e", "../a"), symlink("r", "/"), own, sddl), layer.RewriteOptions{Windows: true})
	must(t, err)
	if len(done.Asked) > 0 {
		t.Errorf("asked %v", done.Asked)
	}
	want := map[string]string{"Files/": "16", "Hives/": "16", "Files/a/": "16", "Files/a/x.dll": "32", "Files/f": "1056", "Files/d": "1040", "Files/up/": "16", "Files/up/e": "1040", "Files/r": "1040", "Files/own": "33", "Files/sddl": "32"}
	// revision, self-relative, owner at 20 and group at 36; twice S-1-5-32-545
	users := "0100008014000000240000000000000000000000" + strings.Repeat("01020000000000052000000021020000", 2)
	for _, r := range untar(t, b) {
		if got := r.PAXRecords["MSWINDOWS.fileattr"]; got != want[r.Name] {
			t.Errorf("%s: attributes %s, want %s", r.Name, got, want[r.Name])
		}
		sd, err := base64.StdEncoding.DecodeString(r.PAXRecords["MSWINDOWS.rawsd"])
		switch {
		case r.Name == "Files/own":
			users := "01"
			if hex.EncodeToString(sd) != users {
				t.Errorf("%s: descriptor %x", r.Name, sd)
			}
		case r.Name == "Files/sddl":
			if len(sd) > 0 {
				t.Errorf("%s: two descriptors", r.Name)
			}
		case err != nil || hex.EncodeToString(sd) != users:
			t.Errorf("%s: descriptor %x, %v", r.Name, sd, err)
		}
		if r.Name == "Files/a/x.dll" && r.content != "content" {
			t.Errorf("content %q", r.content)
		}
		delete(want, r.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// What is a layer for Windows already stays it.
func TestRewriteOfWindowsLayers(t *testing.T) {
	t.Parallel()
	in := tarOf(t, dir("Files"), dir("Hives"), file("Files/a", ""), file("Files/a:stream", "x"), hardlink("Files/b", "Files/a"), dir("UtilityVM"), file("UtilityVM/Files/x", ""))
	b, done, err := rewrite(t, in, layer.RewriteOptions{Windows: true})
	if err != nil || done.Changed || string(b) != string(in) {
		t.Errorf("%+v, %v", done, err)
	}
	got, err := rewritten(t, layer.RewriteOptions{Windows: true, Clamp: time.Unix(1, 0)}, dir("."), dir("Files"), file("Files/a", ""))
	if got != "Files/ Files/a Hives/" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, exact := range []bool{false, true} {
		_, err := rewritten(t, layer.RewriteOptions{Windows: true, Exact: exact}, dir("Files"), file("etc/x", ""))
		wantKind(t, "a file outside", err, oci.ErrInvalid)
	}
	if got, err = rewritten(t, layer.RewriteOptions{Windows: true, Exact: true}, dir("."), file("Files/.wh.x", "")); got != "./ Files/.wh.x" || err != nil {
		t.Errorf("exact: %q, %v", got, err)
	}
	_, err = rewritten(t, layer.RewriteOptions{Windows: true, Exact: true}, file("etc/x", ""))
	wantKind(t, "a layer of Linux", err, oci.ErrInvalid)
}

// A root entry is not a second Files.
func TestRewriteRootEntryForWindows(t *testing.T) {
	t.Parallel()
	got, err := rewritten(t, layer.RewriteOptions{Windows: true}, dir("."), dir("./"), file("./a", ""), dir("."))
	if strings.Count(got, "Files/ ") != 1 || strings.Count(got, "Hives/") != 1 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBad_074_NamesThatWindowsCannotHold(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"CON", "NUL.txt", "con", "aux.tar.gz", "Com1", "lpt9.x", "COM¹", "CONIN$", "nul .txt", "a:b", `a\b`, "a?", "a*b", "a<", "a|b", "x.", "x ", "a\x01", "a\xff", "C:/x", strings.Repeat("é", 256)} {
		for _, name := range []string{bad, "d/" + bad, bad + "/x"} {
			_, err := rewritten(t, layer.RewriteOptions{Windows: true}, file(name, ""))
			if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), oci.Quote(name)) {
				t.Errorf("%s: %v", oci.Quote(name), err)
			}
			if _, err := rewritten(t, layer.RewriteOptions{}, file(name, "")); err != nil { // elsewhere it is a name
				t.Errorf("%s: %v", oci.Quote(name), err)
			}
		}
	}
	for _, good := range []string{"CONS", "com10", "COM", "com0", "lpt", "NULL.txt", ".x", "a.b c", "Ünï-☃", strings.Repeat("é", 255), "$RECYCLE.BIN"} {
		if _, err := rewritten(t, layer.RewriteOptions{Windows: true}, file(good, "")); err != nil {
			t.Errorf("%s: %v", oci.Quote(good), err)
		}
	}
	_, err := rewritten(t, layer.RewriteOptions{Windows: true}, file("x", ""), hardlink("y", "a:b"))
	wantKind(t, "hard link", err, oci.ErrInvalid)
}
