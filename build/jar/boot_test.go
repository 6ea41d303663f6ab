// SPDX-License-Identifier: Apache-2.0

package jar_test

import (
	"archive/zip"
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build/jar"
	"github.com/dray-tools/dray/oci"
)

// zippedAgain is an archive where one text has become another.
func zippedAgain(t *testing.T, b []byte, old, now string) []byte {
	t.Helper()
	var list []entry
	for _, f := range unzipped(t, b) {
		list = append(list, entry{name: f.name, text: strings.ReplaceAll(f.text, old, now)})
	}
	return zipped(t, list...)
}

func unzipped(t *testing.T, b []byte) (list []entry) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, entry{name: f.Name, text: string(text), stored: f.Method == zip.Store})
	}
	return list
}

const bootManifest = "Main-Class: org.springframework.boot.loader.launch.JarLauncher\r\nStart-Class: demo.App\r\nSpring-Boot-Version: 3.3.5\r\nSpring-Boot-Classes: BOOT-INF/classes/\r\n" +
	"Spring-Boot-Lib: BOOT-INF/lib/\r\nSpring-Boot-Classpath-Index: BOOT-INF/classpath.idx\r\nAdd-Opens: java.base/java.lang\r\nImplementation-Version: 3\r\n"

const bootIndex = "- \"dependencies\":\n  - \"BOOT-INF/lib/web-6.jar\"\n- \"spring-boot-loader\":\n  - \"org/\"\n- \"empty\":\n- \"snapshot-dependencies\":\n  - \"BOOT-INF/lib/snap-1-SNAPSHOT.jar\"\n" +
	"- \"application\":\n  - \"BOOT-INF/classes/\"\n  - \"META-INF/\"\n"

// bootJar is an executable jar of Spring Boot, with or without an index of its
// layers.
func bootJar(t testing.TB, index string) string {
	t.Helper()
	dir := t.TempDir()
	manifest := bootManifest
	lib := func(name string) string {
		return string(zipped(t, entry{name: name + ".class", text: class(17, name, false)}))
	}
	list := []entry{{name: "org/springframework/boot/loader/launch/JarLauncher.class", text: class(17, "x", true)},
		{name: "BOOT-INF/classes/demo/App.class", text: class(17, "demo.App", true)}, {name: "BOOT-INF/classes/application.properties", text: "a=b"},
		{name: "BOOT-INF/lib/snap-1-SNAPSHOT.jar", text: lib("snap"), stored: true}, {name: "BOOT-INF/lib/web-6.jar", text: lib("web"), stored: true}, {name: "BOOT-INF/lib/core-6.jar", text: lib("core")},
		{name: "META-INF/maven/x/y/pom.properties", text: "groupId=x\nartifactId=y\nversion=1"}, {name: "META-INF/A.RSA", text: "s"}, {name: "extra/unlisted.txt", text: "here"},
		{name: "BOOT-INF/classpath.idx", text: "- \"BOOT-INF/lib/web-6.jar\"\n- \"BOOT-INF/lib/core-6.jar\"\n"}}
	if index != "" {
		manifest += "Spring-Boot-Layers-Index: BOOT-INF/the.idx\n"
		list = append(list, entry{name: "BOOT-INF/the.idx", text: index})
	}
	list = append(list, entry{name: "META-INF/MANIFEST.MF", text: manifest})
	write(t, dir, map[string]string{"demo.jar": string(zipped(t, list...))})
	return filepath.Join(dir, "demo.jar")
}

func TestBoot(t *testing.T) {
	t.Parallel()
	i := must(t, bootJar(t, bootIndex), jar.Options{})
	want(t, "layers", i.layers,
		"dependencies: app/BOOT-INF/lib/web-6.jar",
		"spring-boot-loader: app/org/springframework/boot/loader/launch/JarLauncher.class",
		"snapshot-dependencies: app/BOOT-INF/lib/snap-1-SNAPSHOT.jar",
		"application: app/BOOT-INF/classes/application.properties app/BOOT-INF/classes/demo/App.class app/BOOT-INF/classpath.idx app/BOOT-INF/lib/core-6.jar app/BOOT-INF/the.idx "+
			"app/META-INF/MANIFEST.MF app/META-INF/maven/x/y/pom.properties app/extra/unlisted.txt")
	want(t, "entrypoint", i.entrypoint, "java", "-cp", "/app", "org.springframework.boot.loader.launch.JarLauncher")
	i = must(t, bootJar(t, ""), jar.Options{})
	want(t, "layers without an index", i.layers,
		"dependencies: app/BOOT-INF/lib/core-6.jar app/BOOT-INF/lib/web-6.jar",
		"loader: app/org/springframework/boot/loader/launch/JarLauncher.class",
		"snapshot dependencies: app/BOOT-INF/lib/snap-1-SNAPSHOT.jar",
		"resources: app/BOOT-INF/classes/application.properties app/BOOT-INF/classpath.idx app/META-INF/MANIFEST.MF app/META-INF/maven/x/y/pom.properties app/extra/unlisted.txt",
		"classes: app/BOOT-INF/classes/demo/App.class")
	if len(i.components) != 4 || i.components[1].Path != "/app/BOOT-INF/lib/web-6.jar" || i.components[1].Name != "web" || i.components[1].Version != "6" {
		t.Errorf("components: %+v", i.components)
	}
	i = must(t, bootJar(t, bootIndex), jar.Options{Mode: jar.Packaged})
	want(t, "layers packaged", i.layers, "application: app/demo.jar")
	want(t, "entrypoint packaged", i.entrypoint, "java", "-jar", "/app/demo.jar")
}

func TestThin(t *testing.T) {
	t.Parallel()
	i := must(t, bootJar(t, bootIndex), jar.Options{Mode: jar.Thin})
	want(t, "layers", i.layers, "dependencies: app/lib/core-6.jar app/lib/web-6.jar", "snapshot dependencies: app/lib/snap-1-SNAPSHOT.jar", "application: app/demo.jar")
	want(t, "entrypoint", i.entrypoint, "java", "-jar", "/app/demo.jar")
	var got []string
	for _, e := range unzipped(t, []byte(i.files["app/demo.jar"])) {
		got = append(got, e.name)
		if !e.stored {
			t.Errorf("%s is compressed", e.name)
		}
		if e.name == "META-INF/MANIFEST.MF" {
			m, err := jar.ParseManifest([]byte(e.text))
			if err != nil || m["main-class"] != "demo.App" || m["class-path"] != "lib/web-6.jar lib/core-6.jar lib/snap-1-SNAPSHOT.jar" || m["add-opens"] == "" || m["implementation-version"] != "3" {
				t.Errorf("manifest %v, %v", m, err)
			}
		}
	}
	want(t, "jar", got, "META-INF/MANIFEST.MF", "demo/App.class", "application.properties", "META-INF/maven/x/y/pom.properties")
}

func TestBadBoot(t *testing.T) {
	t.Parallel()
	for index, words := range map[string]string{
		"  - \"a\"\n": "the.idx:1", "- \"a\":\n- \"a\":\n": "the.idx:2", "- \"a\":\n x\n": "the.idx:2", strings.Repeat("- \"a\":\n", 200): "twice",
	} {
		_, err := made(t, bootJar(t, index), jar.Options{}, "linux/amd64")
		wantError(t, err, oci.ErrInvalid, words)
	}
	_, err := made(t, bootJar(t, ""), jar.Options{MainClass: "x"}, "linux/amd64")
	wantError(t, err, oci.ErrInvalid, "thin")
	_, err = made(t, app(t, libraries), jar.Options{Mode: jar.Thin}, "linux/amd64")
	wantError(t, err, oci.ErrInvalid, "Spring Boot")
}
