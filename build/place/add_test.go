// SPDX-License-Identifier: Apache-2.0

package place_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/place"
	"github.com/dray-tools/dray/layer"
)

// bzipped is a tar with the file app.
const bzipped = "QlpoOTFBWSZTWc8wen0AAGz7gMmAAAJAAE8AAAJiRN4ACAggAFQ0hqGTQ9BppqCKmoGg0DQH1ZkIhW1ETLrSZTPHBBJBIpAxITaEj0SD4zgEZX0wVg7vUiID8XckU4UJDPMHp9A="

func write(t testing.TB, dir, name string, raw []byte) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), raw, 0o644))
}

func packed(t testing.TB, c layer.Compression, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, err := layer.Pack(&buf, bytes.NewReader(raw), layer.Packing{Compression: c})
	must(t, err)
	return buf.Bytes()
}

func adding(dest string, sources ...string) place.Spec {
	return place.Spec{Sources: sources, Dest: dest, Add: true}
}

func TestAddOfArchives(t *testing.T) {
	t.Parallel()
	dir := folder(t, "plain.txt=text d/x=X")
	raw := tarOf(t, "./ 755,7,7:./bin/ 4755,7,8:bin/sh=S@attr bin/l->/etc bin/h=>bin/sh 1777:tmp/ fifo|")
	write(t, dir, "a.tar", raw)
	write(t, dir, "a.tgz", packed(t, layer.Gzip, raw))
	write(t, dir, "a.bin", packed(t, layer.Zstd, raw)) // its name does not matter
	write(t, dir, "text.gz", packed(t, layer.Gzip, []byte("no tar")))
	write(t, dir, "empty.tar", make([]byte, 1024))
	write(t, dir, "cut.tar", raw[:len(raw)-2048])
	write(t, dir, "hidden.tar", tarOf(t, "a=A b/.wh.c="))
	write(t, dir, "out.tar", tarOf(t, "../a=A"))
	write(t, dir, "odd.tar", tarOf(t, "750,7,8:f=F 0:g=>f 7777,1,1:h=>g"))
	write(t, dir, "twice.tar", tarOf(t, "a=1 a=2"))
	bz, _ := base64.StdEncoding.DecodeString(bzipped)
	write(t, dir, "a.bz2", bz)
	var x bytes.Buffer
	w, err := xz.NewWriter(&x)
	must(t, err)
	_, err = w.Write(tarOf(t, "x=X"))
	must(t, err)
	must(t, w.Close())
	write(t, dir, "a.xz", x.Bytes())
	must(t, os.Symlink("a.tar", filepath.Join(dir, "link.tar")))

	all := "n/ 755,7,7:n/bin/! 4755,7,8:n/bin/sh=S@attr! n/bin/l->/etc! 4755,7,8:n/bin/h=>n/bin/sh! 1777,0,0:n/tmp/! n/fifo|!"
	unpack := func(s place.Spec, yes bool) place.Spec {
		s.UnpackSet, s.Unpack = true, yes
		return s
	}
	for _, c := range []copyCase{
		{adding("/n", "a.tar"), all},
		{adding("/n/", "a.tgz"), all},
		{adding("/n/", "a.b*"), "n/ 755,7,7:n/bin/! 4755,7,8:n/bin/sh=S@attr! n/bin/l->/etc! 4755,7,8:n/bin/h=>n/bin/sh! 1777,0,0:n/tmp/! n/fifo|! n/app=hello"},
		{adding("/n", "a.xz"), "n/ n/x=X!"},
		{adding("/n", "twice.tar"), "n/ n/a=2!"},
		{adding("/", "a.tar"), "755,7,7:usr/bin/! 4755,7,8:usr/bin/sh=S@attr! usr/bin/l->/etc! 4755,7,8:usr/bin/h=>usr/bin/sh! 1777,0,0:tmp/! fifo|!"},
		{adding("/n", "plain.txt"), "n=text"},
		{adding("/n", "d"), "n/ n/x=X"},
		{adding("/n/", "d", "plain.txt", "a.xz"), "n/ n/plain.txt=text n/x=X!"}, // the last x counts
		{place.Spec{Sources: []string{"a.xz"}, Dest: "/n", Add: true, Chown: "4:5", Chmod: "600"}, "755,4,5:n/ 600,4,5:n/x=X!"},
		{place.Spec{Sources: []string{"a.tar"}, Dest: "/n", Add: true, Exclude: []string{"bin", "fifo"}}, "n/ 1777,0,0:n/tmp/!"},
		{unpack(adding("/n", "plain.txt"), true), "n=text"},
		{unpack(adding("/n", "a.xz"), true), "n/ n/x=X!"},
		{adding("/n", "cut.tar"), "! \"cut.tar\": layer ends within"},
		{adding("/n", "hidden.tar"), "! names that begin with .wh."},
		{adding("/n", "out.tar"), "! unsafe path \"../a\""},
		// What other names say of a file does not matter: all say what the first does.
		{adding("/n", "odd.tar"), "n/ 750,7,8:n/f=F! 750,7,8:n/g=>n/f! 750,7,8:n/h=>n/g!"},
		{place.Spec{Sources: []string{"odd.tar"}, Dest: "/n", Add: true, Chown: "4:5", Chmod: "u=rw,go="}, "755,4,5:n/ 600,4,5:n/f=F! 600,4,5:n/g=>n/f! 600,4,5:n/h=>n/g!"},
		{adding("/etc/real", "a.tar"), "! \"etc/real\" is a file"},
	} {
		c.spec.From = place.Context(dir, nil)
		newWorld(t, build.Options{}).check(t, debian, c)
	}
	same := func(name string, s place.Spec) { // copied as it is
		want, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		c := copyCase{s, "n=" + string(want)}
		c.spec.From = place.Context(dir, nil)
		newWorld(t, build.Options{}).check(t, debian, c)
	}
	same("link.tar", adding("/n", "link.tar"))
	same("a.tar", copyOf("/n", "a.tar"))
	same("a.tar", unpack(adding("/n", "a.tar"), false))
	same("text.gz", adding("/n", "text.gz"))
	same("empty.tar", adding("/n", "empty.tar"))
}

func TestInline(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a=A")
	files := []place.File{{Name: "one", Data: []byte("1")}, {Name: "two", Data: nil}}
	for _, c := range []copyCase{
		{place.Spec{Inline: files[:1], Dest: "/n"}, "n=1"},
		{place.Spec{Inline: files[:1], Dest: "/etc"}, "etc/one=1"},
		{place.Spec{Inline: files, Dest: "/n/", Chmod: "755", Chown: "1"}, "755,1,1:n/ 755,1,1:n/one=1 755,1,1:n/two="},
		{place.Spec{Inline: files, Sources: []string{"a"}, Dest: "/n/", From: place.Context(dir, nil)}, "n/ n/a=A n/one=1 n/two="},
		{place.Spec{Inline: files, Dest: "/n"}, "! ends with a slash"},
		{place.Spec{Inline: []place.File{{Name: "../x"}}, Dest: "/n/"}, "! \"../x\" is no name for a file"},
		{place.Spec{Inline: []place.File{{Name: ".wh.x"}}, Dest: "/n/"}, "! names that begin with .wh."},
		{place.Spec{Inline: files[:1], Dest: "/n/.wh.x"}, "! names that begin with .wh."},
	} {
		newWorld(t, build.Options{}).check(t, debian, c)
	}
}

// Times are of 1970 unless they are kept, and then none is after that of the engine.
func TestTimes(t *testing.T) {
	t.Parallel()
	dir := folder(t, "644:a=A 755:d/")
	for _, c := range []struct {
		keep  bool
		clamp time.Time
		want  string
	}{
		{false, time.Time{}, "n/ n/a=A"},
		{true, time.Time{}, "n/ n/a=A!1500000000000000000"},
		{true, time.Unix(1_400_000_000, 0), "n/ n/a=A!1400000000000000000"},
	} {
		x := newWorld(t, build.Options{Time: c.clamp})
		x.set = place.NewSet(place.Options{KeepTimes: c.keep})
		s := copyOf("/n/", "a", "d")
		s.From = place.Context(dir, nil)
		x.check(t, debian, copyCase{s, c.want})
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	x := newWorld(t, build.Options{})
	from, _ := x.stack(t, "windows/amd64", "Files/ Files/App/ Files/App/Tool.exe=T Hives/")
	onto, blobs := x.stack(t, "windows/amd64", "Files/ Hives/")
	dir := folder(t, "bin/Release/app.exe=E bin/Release/x/y.dll=D")
	add := func(s place.Spec) string {
		s.Windows, s.At = true, "Dockerfile:1"
		before := len(onto.Blobs())
		must(t, x.set.Add(t.Context(), x.e, onto, s, "COPY it"))
		return list(t, onto.Blobs()[before])
	}
	got := add(place.Spec{Sources: []string{`bin\Release`}, Dest: `C:\app\`, From: place.Context(dir, nil), Chown: "1", Chmod: "700"})
	if want := "Files/ Hives/ Files/app/ Files/app/app.exe=E Files/app/x/ Files/app/x/y.dll=D"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := add(place.Spec{Sources: []string{`app\tool.EXE`}, Dest: "/t/", From: place.Stack(from)}); !strings.Contains(got, "Files/t/tool.EXE=T!") {
		t.Errorf("got %s", got)
	}
	if n := x.e.Notes(); len(n) == 0 || !strings.Contains(n[0], "--chown and --chmod mean nothing for Windows") {
		t.Errorf("notes: %q", n)
	}
	if blobs[0].opens.Load() > 0 {
		t.Error("the base was read")
	}
}
