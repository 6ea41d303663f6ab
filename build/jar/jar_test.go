// SPDX-License-Identifier: Apache-2.0

package jar_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/jar"
	"github.com/dray-tools/dray/oci"
)

// app makes a jar with libraries beside it, and returns its path.
func app(t testing.TB, manifest string, more ...entry) string {
	t.Helper()
	dir := t.TempDir()
	lib := func(java int, group, name, version string) string {
		return string(zipped(t, entry{name: "META-INF/maven/" + group + "/" + name + "/pom.properties", text: "#x\ngroupId=" + group + "\nartifactId=" + name + "\r\nversion = " + version + "\n"},
			entry{name: "L.class", text: class(java, "L", false)}))
	}
	write(t, dir, map[string]string{
		"lib dir/b-1.0.jar": lib(8, "org.b", "b", "1.0"), "lib dir/a-2-SNAPSHOT.jar": lib(8, "org.a", "a", "2-SNAPSHOT"),
		"other/b-1.0.jar": lib(17, "org.c", "b", "1.0"), "part-7.jar": lib(8, "org.app", "part", "7"), "conf/x.properties": "x=1",
		"app.jar": string(zipped(t, append([]entry{{name: "META-INF/MANIFEST.MF", text: manifest}, {name: "META-INF/maven/org.app/app/pom.properties", text: "groupId=org.app\nartifactId=app\nversion=7"},
			{name: "app/"}, {name: "app/Main.class", text: class(11, "app.Main", true)}, {name: "app/text.txt", text: "text"},
			{name: "META-INF/KEY.SF", text: "s"}, {name: "meta-inf/key.rsa", text: "s"}, {name: "META-INF/sig-x", text: "s"}, {name: "META-INF/sub/KEY.SF", text: "kept"}}, more...)...)),
	})
	return filepath.Join(dir, "app.jar")
}

const libraries = "Manifest-Version: 1.0\r\nmain-CLASS: app.Main\r\nClass-Path: lib%20dir/b-1.0.jar lib%20dir/a-2-SNAPSHOT.jar ./other/../\r\n other/b-1.0.jar conf/ part-7.jar lib%20dir/b-1.0.jar gone/\r\n"

func TestExploded(t *testing.T) {
	t.Parallel()
	i := must(t, app(t, libraries), jar.Options{JVMFlags: []string{"-Xmx1g", "-Da= b"}})
	want(t, "layers", i.layers,
		"dependencies: app/libs/b-1.0-2.jar app/libs/b-1.0.jar",
		"snapshot dependencies: app/libs/a-2-SNAPSHOT.jar",
		"project dependencies: app/libs/part-7.jar",
		": app/paths/conf/x.properties",
		"resources: app/resources/META-INF/MANIFEST.MF app/resources/META-INF/maven/org.app/app/pom.properties app/resources/META-INF/sub/KEY.SF app/resources/app/text.txt",
		"classes: app/classes/app/Main.class")
	want(t, "entrypoint", i.entrypoint, "java", "-Xmx1g", "-Da= b", "-cp",
		"/app/resources:/app/classes:/app/libs/b-1.0.jar:/app/libs/a-2-SNAPSHOT.jar:/app/libs/b-1.0-2.jar:/app/paths/conf:/app/libs/part-7.jar:/app/paths/gone", "app.Main")
	if !strings.Contains(i.files["app/libs/b-1.0-2.jar"], "org.c") || !strings.Contains(i.files["app/libs/b-1.0.jar"], "org.b") {
		t.Error("the libraries of one name are mixed up")
	}
	if len(i.notes) != 1 || !strings.Contains(i.notes[0], `"gone/"`) {
		t.Errorf("notes: %q", i.notes)
	}
	windows, err := made(t, app(t, libraries), jar.Options{}, "windows/amd64")
	if err != nil {
		t.Fatal(err)
	}
	if cp := windows.entrypoint[2]; !strings.HasPrefix(cp, `C:\app\resources;C:\app\classes;C:\app\libs\b-1.0.jar;`) {
		t.Errorf("on Windows: %s", cp)
	}
}

func TestPackaged(t *testing.T) {
	t.Parallel()
	i := must(t, app(t, libraries), jar.Options{Mode: jar.Packaged})
	want(t, "layers", i.layers,
		"dependencies: app/lib dir/b-1.0.jar app/other/b-1.0.jar", "snapshot dependencies: app/lib dir/a-2-SNAPSHOT.jar", "project dependencies: app/part-7.jar",
		": app/conf/x.properties", "application: app/app.jar")
	want(t, "entrypoint", i.entrypoint, "java", "-jar", "/app/app.jar")

	up := app(t, "Class-Path: ../lib/x.jar ../../y.jar\nMain-Class: app.Main\n")
	dir := filepath.Join(filepath.Dir(up), "build", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(up, filepath.Join(dir, "app.jar")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(up), map[string]string{"build/lib/x.jar": string(zipped(t)), "y.jar": string(zipped(t))})
	i = must(t, filepath.Join(dir, "app.jar"), jar.Options{Mode: jar.Packaged, AppRoot: "/srv/app", MainClass: "app.Other"})
	want(t, "layers", i.layers, "dependencies: srv/app/jar/lib/x.jar srv/app/y.jar", "application: srv/app/jar/jar/app.jar")
	want(t, "entrypoint", i.entrypoint, "java", "-cp", "/srv/app/jar/jar/app.jar", "app.Other")
}

// What only works in one piece stays so, and says why.
func TestPackagedBecause(t *testing.T) {
	t.Parallel()
	for line, why := range map[string]string{"Multi-Release: TRUE": "several versions", "Launcher-Agent-Class: x.Y": "Launcher-Agent-Class", "Add-Opens: java.base/java.lang": "Add-Opens"} {
		path := app(t, "Main-Class: app.Main\n"+line+"\n", entry{name: "META-INF/versions/17/app/Main.class", text: class(17, "app.Main", true)})
		i := must(t, path, jar.Options{})
		want(t, line, i.layers, "application: app/app.jar")
		if len(i.notes) != 1 || !strings.Contains(i.notes[0], why) {
			t.Errorf("%s: notes %q", line, i.notes)
		}
		i, err := made(t, path, jar.Options{Mode: jar.Exploded}, "linux/amd64")
		if strings.HasPrefix(line, "Add") {
			if err != nil || len(i.notes) != 1 || !strings.Contains(i.notes[0], "--jvm-flags") {
				t.Errorf("%s: %v, %v", line, i, err)
			}
			continue
		}
		wantError(t, err, oci.ErrInvalid, why)
	}
}

func TestMainClass(t *testing.T) {
	t.Parallel()
	main := func(name string) entry { return entry{name: name + ".class", text: class(8, name, true)} }
	none := entry{name: "N.class", text: class(8, "N", false)}
	for _, c := range []struct {
		o       jar.Options
		entries []entry
		want    string
		err     string
	}{
		{jar.Options{}, []entry{none, main("a/One"), {name: "broken.class", text: "\xca\xfe\xba\xbe\x00"}}, "a.One", ""},
		{jar.Options{}, []entry{none, main("META-INF/versions/9/a/One"), main("a/One")}, "a.One", ""},
		{jar.Options{}, []entry{none}, "", "nothing to start"},
		{jar.Options{}, []entry{main("A"), main("B")}, "", "--main-class, one of A, B"},
		{jar.Options{MainClass: "x.Y"}, []entry{main("A"), main("B")}, "x.Y", ""},
		{jar.Options{Mode: jar.Packaged}, []entry{main("A")}, "A", ""},
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.jar": string(zipped(t, c.entries...))})
		i, err := made(t, filepath.Join(dir, "a.jar"), c.o, "linux/amd64")
		if c.err != "" {
			wantError(t, err, oci.ErrInvalid, c.err)
			continue
		}
		if err != nil {
			t.Error(err)
		} else if got := i.entrypoint[len(i.entrypoint)-1]; got != c.want {
			t.Errorf("%v: starts %s, want %s", c.entries, got, c.want)
		}
	}
}

// The base is the earliest Java that runs the classes, those for later versions
// and the declaration of a module aside.
func TestDefaultBase(t *testing.T) {
	t.Parallel()
	for java, base := range map[int]string{0: "eclipse-temurin:8-jre", 5: "eclipse-temurin:8-jre", 8: "eclipse-temurin:8-jre", 9: "eclipse-temurin:11-jre", 17: "eclipse-temurin:17-jre", 18: "eclipse-temurin:21-jre",
		25: "eclipse-temurin:25-jre", 26: ""} {
		dir, asked := t.TempDir(), ""
		list := []entry{{name: "META-INF/MANIFEST.MF", text: "Main-Class: x"}, {name: "a.class", text: class(1, "a", false)}, {name: "z/module-info.class", text: class(40, "x", false)},
			{name: "META-INF/versions/30/a.class", text: class(30, "a", false)}}
		if java > 0 {
			list = append(list, entry{name: "x.class", text: class(java, "x", false)})
		}
		write(t, dir, map[string]string{"a.jar": string(zipped(t, list...))})
		_, err := jar.New(filepath.Join(dir, "a.jar"), jar.Options{}).Targets(t.Context(), engine(t, &asked), build.Want{})
		if asked != base || err == nil {
			t.Errorf("Java %d: base %q, want %q (%v)", java, asked, base, err)
		}
		if java == 26 {
			wantError(t, err, oci.ErrInvalid, "Java 26")
		}
	}
	asked := ""
	_, _ = jar.New(app(t, libraries), jar.Options{}).Targets(t.Context(), engine(t, &asked), build.Want{})
	if asked != "eclipse-temurin:17-jre" {
		t.Errorf("with a library of Java 17: %s", asked)
	}
}

func TestComponents(t *testing.T) {
	t.Parallel()
	i := must(t, app(t, libraries), jar.Options{})
	var got []string
	for _, c := range i.components {
		if len(c.Hashes["sha1"]) != 40 || c.Path != "" && c.Hashes["sha256"] != oci.FromBytes([]byte(i.files[c.Path[1:]])).Encoded() {
			t.Errorf("%s: hashes %v", c.Name, c.Hashes)
		}
		got = append(got, c.Kind+" "+c.PURL+" "+c.Path)
	}
	want(t, "components", got,
		"application pkg:maven/org.app/app@7 ", "library pkg:maven/org.b/b@1.0 /app/libs/b-1.0.jar", "library pkg:maven/org.a/a@2-SNAPSHOT /app/libs/a-2-SNAPSHOT.jar",
		"library pkg:maven/org.c/b@1.0 /app/libs/b-1.0-2.jar", "library pkg:maven/org.app/part@7 /app/libs/part-7.jar")
	want(t, "needs", i.components[0].Needs, "pkg:maven/org.b/b@1.0", "pkg:maven/org.a/a@2-SNAPSHOT", "pkg:maven/org.c/b@1.0", "pkg:maven/org.app/part@7")
}

// Nothing but content counts: not times, modes or the directory, and a change is
// seen whose time was kept.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{jar.Exploded, jar.Packaged} {
		path := app(t, libraries)
		first := must(t, path, jar.Options{Mode: mode})
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		old := time.Unix(1e9, 0)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		moved := filepath.Join(t.TempDir(), "elsewhere")
		if err := os.Rename(filepath.Dir(path), moved); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(moved, "app.jar")
		if second := must(t, path, jar.Options{Mode: mode}); second.digest != first.digest {
			t.Errorf("%s: other digests for the same content", mode)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, zippedAgain(t, b, "text", "tExt"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if third := must(t, path, jar.Options{Mode: mode}); third.digest == first.digest {
			t.Errorf("%s: a change with an old time is not noticed", mode)
		}
	}
}
