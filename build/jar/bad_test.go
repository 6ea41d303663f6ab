// SPDX-License-Identifier: Apache-2.0

package jar_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/jar"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/oci"
)

func engineMaker(t *testing.T) *input.Maker {
	m := input.New(input.Options{TempDir: t.TempDir()})
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// empty is a base without layers that says it has Java 11.
func empty(t *testing.T) build.Opened {
	t.Helper()
	i, err := edit.New(oci.Platform{OS: "linux", Architecture: "amd64"}, false)
	if err == nil {
		err = i.Apply(edit.SetEnv("JAVA_VERSION", "jdk-11.0.2+9"), edit.SetCmd("old"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.Seal(i)
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.Get(t.Context(), s, string(s.Root.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return build.Opened{Source: s, Manifest: m}
}

func TestBad_058_NamesInArchives(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/./b", `a\b`, "a\x00b", "..", "\xff", "a/.."} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.jar": string(zipped(t, entry{name: "META-INF/MANIFEST.MF", text: "Main-Class: x"}, entry{name: name, text: "x"}))})
		_, err := made(t, filepath.Join(dir, "a.jar"), jar.Options{}, "linux/amd64")
		wantError(t, err, oci.ErrInvalid, "name that no file below a directory can have")
	}
	for _, name := range []string{"a", "a/b", "..a/b", "a../b.", "a/", "ä"} {
		if err := jar.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.jar": string(zipped(t, entry{name: "META-INF/MANIFEST.MF", text: "Main-Class: x"}, entry{name: "d/.wh.x", text: "x"}))})
	_, err := made(t, filepath.Join(dir, "a.jar"), jar.Options{}, "linux/amd64")
	wantError(t, err, oci.ErrInvalid, ".wh.x")
}

func TestBad_088_Archives(t *testing.T) {
	t.Parallel()
	good := zipped(t, entry{name: "META-INF/MANIFEST.MF", text: "Main-Class: x\n", stored: true}, entry{name: "a.txt", text: strings.Repeat("content", 100)})
	at := bytes.LastIndex(good, []byte("PK\x01\x02"))
	large := bytes.Clone(good)
	binary.LittleEndian.PutUint32(large[at+24:], 0xfffffff0)
	encrypted := bytes.Clone(good)
	encrypted[at+8] |= 1
	sum := bytes.Clone(good)
	sum[at+16]++
	for words, b := range map[string][]byte{
		"broken archive": good[:len(good)/2], "not a valid zip": []byte("hello"), "encrypted": encrypted, "checksum": sum, "a.txt": large, // "not a valid zip" is also for an empty file
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.jar": string(b)})
		_, err := made(t, filepath.Join(dir, "a.jar"), jar.Options{}, "linux/amd64")
		if err == nil || !strings.Contains(err.Error(), words) || !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
			t.Errorf("%s: %v", words, err)
		}
	}
	_, err := made(t, filepath.Join(t.TempDir(), "none.jar"), jar.Options{}, "linux/amd64")
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	_, err = made(t, t.TempDir(), jar.Options{}, "linux/amd64")
	wantError(t, err, oci.ErrInvalid, "is no file")
}

func TestBad_058_ClassPath(t *testing.T) {
	t.Parallel()
	for path, kind := range map[string]error{"gone.jar": oci.ErrNotFound, "file:/etc/x.jar": oci.ErrInvalid, "http://h/x.jar": oci.ErrInvalid, "//h/x.jar": oci.ErrInvalid, "/x.jar": oci.ErrInvalid, "a%00b": oci.ErrInvalid, "%zz": oci.ErrInvalid} {
		_, err := made(t, app(t, "Main-Class: app.Main\nClass-Path: "+path+"\n"), jar.Options{}, "linux/amd64")
		wantError(t, err, kind, "Class-Path names \""+path)
	}
}

// Of directories around the jar nothing is taken, whatever a manifest says.
func TestBad_089_Directories(t *testing.T) {
	t.Parallel()
	path := app(t, "Main-Class: app.Main\nClass-Path: . part-7.jar ..\n")
	for mode, want := range map[string]string{jar.Exploded: "java -cp /app/resources:/app/classes:/app:/app/libs/part-7.jar:/app app.Main", jar.Packaged: "java -jar /app/jar/app.jar"} {
		i, err := made(t, path, jar.Options{Mode: mode}, "linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(i.entrypoint, " "); got != want || len(i.notes) != 2 || !strings.Contains(i.notes[0], "nothing is put into the image") {
			t.Errorf("%s: %s, notes %q", mode, got, i.notes)
		}
		for name := range i.files {
			if strings.Contains(name, "x.properties") {
				t.Errorf("%s: %s is in the image", mode, name)
			}
		}
	}
	for _, name := range []string{"../strange/", "link/", "link"} {
		path = app(t, "Main-Class: app.Main\nClass-Path: "+name+"\n")
		strange := filepath.Join(filepath.Dir(filepath.Dir(path)), "strange")
		if err := os.MkdirAll(strange, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(strange, filepath.Join(filepath.Dir(path), "link")); err != nil {
			t.Fatal(err)
		}
		_, err := made(t, path, jar.Options{}, "linux/amd64")
		wantError(t, err, oci.ErrInvalid, "names the directory "+oci.Quote(name)+": only one below")
	}
}

// An archive that changes between the plan and the layers is noticed.
func TestBad_089_Changed(t *testing.T) {
	t.Parallel()
	path := app(t, libraries)
	e, b := engine(t, nil), jar.New(path, jar.Options{})
	targets, err := b.Targets(t.Context(), e, build.Want{From: []string{build.Scratch}, Platforms: []oci.Platform{{OS: "linux", Architecture: "amd64"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err = b.Build(t.Context(), e, targets[0])
	wantError(t, err, oci.ErrBusy, "was changed")
}

func TestOldBase(t *testing.T) {
	t.Parallel()
	base := empty(t)
	e := build.NewEngine(build.Options{Maker: engineMaker(t), Open: func(context.Context, string) (build.Opened, error) { return base, nil }})
	if _, err := build.Run(t.Context(), e, jar.New(app(t, libraries), jar.Options{}), build.Want{From: []string{"old"}}, build.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, n := range e.Notes() {
		found = found || strings.Contains(n, "needs Java 17, and the base old says that it has 11")
	}
	if !found {
		t.Errorf("notes: %q", e.Notes())
	}
	for text, want := range map[string]int{"jdk-17.0.9+9": 17, "jdk8u432-b06": 8, "21.0.1": 21, "1.8.0_392": 8, "": 0, "x": 0, "25": 25} {
		if got := jar.VersionOf(text); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"A: b\r\n c\r\nD: e\r\n\r\nName: x\r\nA: other": "bc", "a: b\rD: e": "b", "\xef\xbb\xbfA:b\n  c": "b c", "": "", "X: y\n\nA: z": "",
	} {
		m, err := jar.ParseManifest([]byte(text))
		if err != nil || m["a"] != want {
			t.Errorf("%q: %q, %v", text, m["a"], err)
		}
	}
	for _, text := range []string{" a", "a", ": b"} {
		_, err := jar.ParseManifest([]byte(text))
		wantError(t, err, oci.ErrInvalid, "MANIFEST.MF:1")
	}
	for _, value := range []string{"x", strings.Repeat("abc ", 200), strings.Repeat("ä€", 100), strings.Repeat("a", 69), strings.Repeat("a", 70)} {
		text := jar.Line("Class-Path", value)
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
			if len(line) > 72 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		if m, err := jar.ParseManifest([]byte(text)); err != nil || m["class-path"] != strings.TrimSpace(value) {
			t.Errorf("%q comes back as %v, %v", value, m, err)
		}
	}
}

func TestFileName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{"guava-33.0.0-jre.jar": {"guava", "33.0.0-jre"}, "x.jar": {"x", ""}, "a-b-1.war": {"a-b", "1"}, "-1.jar": {"-1", ""}} {
		if a, v := jar.FileName(name); a != want[0] || v != want[1] {
			t.Errorf("%s: %q %q", name, a, v)
		}
	}
}

func FuzzClass(f *testing.F) {
	f.Add([]byte(class(8, "a.B", true)))
	f.Add([]byte(class(25, "", false)))
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := jar.HasMain(b); err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(bootIndex, "BOOT-INF/classes/x")
	f.Add("- \"a\":\r\n  - b/\r\n  - \"b/c\"\n- d:\n", "b/c")
	f.Add("  - x", "x")
	f.Fuzz(func(t *testing.T, text, name string) {
		layers, layer, err := jar.Index([]byte(text), name)
		if err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
		if len(layers) > 0 && !slices.Contains(layers, layer) || len(layers) > 100 {
			t.Fatalf("%q goes into %q of %q", name, layer, layers)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(bootManifest))
	f.Add([]byte(" x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := jar.ParseManifest(b)
		if err != nil && !errors.Is(err, oci.ErrInvalid) {
			t.Fatal(err)
		}
		for _, v := range m {
			if strings.ContainsAny(v, "\r\n") {
				t.Fatalf("a value of several lines: %q", v)
			}
		}
	})
}

func FuzzArchive(f *testing.F) {
	for _, name := range []string{app(f, libraries), bootJar(f, bootIndex), bootJar(f, ""), warFile(f)} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := jar.Look(b); err != nil && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrUnsupported) {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
