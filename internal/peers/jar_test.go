// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A javaLab has a JDK, what it compiled, and an engine with a base.
type javaLab struct {
	t      *testing.T
	dir    string
	docker dockerEngine
	base   string
}

// newJavaLab compiles the sources and makes a base of the Java of this machine and
// the libraries that it loads.
func newJavaLab(t *testing.T) *javaLab {
	t.Helper()
	jlink, javac := need(t, "jlink"), need(t, "javac")
	if runtime.GOOS != "linux" {
		t.Skip("the base is made of the Java of this machine, for Linux")
	}
	l := &javaLab{t: t, dir: t.TempDir(), docker: newDockerEngine(t)}
	compile(t, l.dir, nil, javac, "--release", "11", "-d", "lib", recipe(t, "java/lib/Greeting.java"))
	compile(t, l.dir, nil, javac, "--release", "11", "-cp", "lib", "-d", "app", recipe(t, "java/app/Main.java"))
	compile(t, l.dir, nil, javac, "--release", "11", "-d", "boot", recipe(t, "java/boot/JarLauncher.java"))
	compile(t, l.dir, nil, jlink, "--add-modules", "java.base", "--strip-java-debug-attributes", "--no-header-files", "--no-man-pages", "--output", "jre")
	programs := []string{filepath.Join(l.dir, "jre", "bin", "java")}
	for _, pattern := range []string{"jre/lib/*.so", "jre/lib/server/*.so"} {
		more, err := filepath.Glob(filepath.Join(l.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, more...)
	}
	for _, f := range sharedFiles(t, programs...) {
		if !strings.HasPrefix(f, l.dir) {
			copyFiles(t, filepath.Join(l.dir, "system", filepath.Dir(f)), f)
		}
	}
	l.base = "oci:" + filepath.Join(l.dir, "base") + ":17"
	_, errOut, err := try(t, drayBin, "build", "files", filepath.Join(l.dir, "system"), filepath.Join(l.dir, "jre")+":/opt/java", "--from", "scratch",
		"--env", "PATH=/opt/java/bin", "--env", "JAVA_VERSION=jdk-17.0.2+8", "--cmd", "of the base", "--compress", "none", "-t", l.base)
	if err != nil || strings.Contains(errOut, "nowhere") {
		t.Fatalf("%v: %s", err, errOut)
	}
	return l
}

// A member of a jar is a file, or a text.
type member struct{ name, file, text string }

// jar writes an archive, which is compressed unless it is to be stored.
func (l *javaLab) jar(name string, stored bool, members ...member) string {
	l.t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		text := []byte(m.text)
		if m.file != "" {
			var err error
			if text, err = os.ReadFile(filepath.Join(l.dir, m.file)); err != nil {
				l.t.Fatal(err)
			}
		}
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		if stored {
			h.Method = zip.Store
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(text)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		l.t.Fatal(err)
	}
	path := filepath.Join(l.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// application are the files of the program below a directory of an archive.
func application(dir string) []member {
	return []member{{name: dir + "app/Main.class", file: "app/app/Main.class"}, {name: dir + "whom.txt", text: "world\n"}, {name: dir + "META-INF/services/lib.Greeting", text: "app.Main\n"}}
}

// runs builds an image of an archive and compares what it says, and how many layers
// it has beside those of the base.
func (l *javaLab) runs(layers int, archive string, flags ...string) {
	l.t.Helper()
	image := "oci:" + filepath.Join(l.dir, "out") + ":1"
	dray(l.t, append([]string{"build", "jar", archive, "--from", l.base, "--jvm-flags", "-Dflag=a b", "--jvm-flags", "-Xshare:auto", "--compress", "none", "-t", image}, flags...)...)
	if _, errOut, err := l.docker.dray("unix://"+l.docker.sock, "copy", image, "docker-daemon:java:1"); err != nil {
		l.t.Fatalf("%v: %s", err, errOut)
	}
	what := strings.Join(append([]string{filepath.Base(archive)}, flags...), " ")
	if got := l.docker.run("run", "--rm", "--network=none", "java:1", "x", "y"); got != "hello world 2 a b" {
		l.t.Errorf("%s: says %q", what, got)
	}
	if got := dray(l.t, "inspect", "--format", "{{len (index .images 0).layers}}", image); got != strconv.Itoa(2+layers) {
		l.t.Errorf("%s: %s layers, want %d on the 2 of the base", what, got, layers)
	}
}

// Archives of Java run in a Docker engine, taken apart and in one piece, with the
// libraries that their manifests name.
func TestJars(t *testing.T) {
	t.Parallel()
	l := newJavaLab(t)
	library := []member{{name: "lib/Greeting.class", file: "lib/lib/Greeting.class"}}
	l.jar("plain/my libs/lib-1.jar", false, library...)
	plain := l.jar("plain/app.jar", false, append(application(""), member{name: "META-INF/MANIFEST.MF", text: "Main-Class: app.Main\r\nClass-Path: my%20libs/lib-1.jar gone/\r\n\r\n"})...)
	l.runs(3, plain)
	l.runs(2, plain, "--mode", "packaged")

	nested := l.jar("lib-2.jar", false, library...)
	text, err := os.ReadFile(nested)
	if err != nil {
		t.Fatal(err)
	}
	const launcher = "org/springframework/boot/loader/launch/JarLauncher.class"
	boot := append(application("BOOT-INF/classes/"), member{name: launcher, file: "boot/" + launcher}, member{name: "BOOT-INF/lib/lib-2.jar", text: string(text)},
		member{name: "BOOT-INF/classpath.idx", text: "- \"BOOT-INF/lib/lib-2.jar\"\n"},
		member{name: "META-INF/MANIFEST.MF", text: "Main-Class: org.springframework.boot.loader.launch.JarLauncher\r\nStart-Class: app.Main\r\nSpring-Boot-Version: 3.3.5\r\n" +
			"Spring-Boot-Classes: BOOT-INF/classes/\r\nSpring-Boot-Lib: BOOT-INF/lib/\r\nSpring-Boot-Classpath-Index: BOOT-INF/classpath.idx\r\nSpring-Boot-Layers-Index: BOOT-INF/layers.idx\r\n\r\n"})
	l.runs(4, l.jar("boot.jar", true, boot...))
	l.runs(2, l.jar("boot.jar", true, boot...), "--mode", "thin")
	layers := member{name: "BOOT-INF/layers.idx", text: "- \"dependencies\":\n  - \"BOOT-INF/lib/\"\n- \"spring-boot-loader\":\n  - \"org/\"\n- \"application\":\n  - \"BOOT-INF/classes/\"\n"}
	l.runs(3, l.jar("layered.jar", true, append(boot, layers)...))
}
