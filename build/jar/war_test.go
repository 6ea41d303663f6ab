// SPDX-License-Identifier: Apache-2.0

package jar_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/jar"
	"github.com/dray-tools/dray/oci"
)

func warFile(t testing.TB, more ...entry) string {
	t.Helper()
	dir := t.TempDir()
	list := append([]entry{{name: "WEB-INF/lib/x-1.jar", text: string(zipped(t))}, {name: "WEB-INF/lib/y-1-SNAPSHOT.jar", text: "no archive"}, {name: "WEB-INF/classes/A.class", text: class(11, "A", false)},
		{name: "WEB-INF/classes/a.txt", text: "a"}, {name: "index.html", text: "hi"}, {name: "META-INF/X.EC", text: "s"}}, more...)
	write(t, dir, map[string]string{"app.war": string(zipped(t, list...))})
	return filepath.Join(dir, "app.war")
}

func TestWAR(t *testing.T) {
	t.Parallel()
	i := must(t, warFile(t), jar.Options{AppRoot: "/srv/root"})
	want(t, "layers", i.layers, "dependencies: srv/root/WEB-INF/lib/x-1.jar", "snapshot dependencies: srv/root/WEB-INF/lib/y-1-SNAPSHOT.jar",
		"resources: srv/root/WEB-INF/classes/a.txt srv/root/index.html", "classes: srv/root/WEB-INF/classes/A.class")
	if len(i.entrypoint) != 0 || len(i.notes) != 1 {
		t.Errorf("entrypoint %q, notes %q", i.entrypoint, i.notes)
	}
	i = must(t, warFile(t), jar.Options{AppRoot: "/srv/root", Mode: jar.Packaged})
	want(t, "packaged", i.layers, "application: srv/root.war")
	for o, words := range map[*jar.Options]string{{}: "--app-root", {AppRoot: "rel"}: "absolute", {AppRoot: "/"}: "absolute", {AppRoot: "/x", MainClass: "y"}: "main class", {AppRoot: "/x", JVMFlags: []string{"-x"}}: "JAVA_TOOL_OPTIONS"} {
		_, err := made(t, warFile(t), *o, "linux/amd64")
		wantError(t, err, oci.ErrInvalid, words)
	}
	// One of Spring Boot starts itself, unless there is a place to deploy it.
	boot := []entry{{name: "META-INF/MANIFEST.MF", text: "Main-Class: org.springframework.boot.loader.launch.WarLauncher\nSpring-Boot-Version: 3.3.5\n"}, {name: "org/x.class", text: class(17, "x", false)}}
	i = must(t, warFile(t, boot...), jar.Options{})
	want(t, "entrypoint of Spring Boot", i.entrypoint, "java", "-cp", "/app", "org.springframework.boot.loader.launch.WarLauncher")
	if i = must(t, warFile(t, boot...), jar.Options{AppRoot: "/x"}); len(i.entrypoint) != 0 {
		t.Errorf("deployed it starts %q", i.entrypoint)
	}
}

// Without a base a WAR is put on Jetty, which is told what version of the
// specification it is for.
func TestJetty(t *testing.T) {
	t.Parallel()
	for version, module := range map[string]string{"": "ee10", "4.0": "ee8", "5.0": "ee9", "6.0": "ee10", "6.1": "ee11"} {
		var more []entry
		if version != "" {
			more = []entry{{name: "WEB-INF/web.xml", text: "<?xml version=\"1.0\"?>\n<web-app xmlns='x'\n version = \"" + version + "\">"}}
		}
		base := empty(t)
		e := build.NewEngine(build.Options{Maker: engineMaker(t), Open: func(_ context.Context, name string) (build.Opened, error) {
			if name != "jetty:12" {
				t.Errorf("base %s", name)
			}
			return base, nil
		}})
		r, err := build.Run(t.Context(), e, jar.New(warFile(t, more...), jar.Options{JVMFlags: []string{"-Xmx1g"}}), build.Want{}, build.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Stacks[0].Config()
		if err != nil {
			t.Fatal(err)
		}
		want(t, version, c.Config.Entrypoint, "java", "-Xmx1g", "-jar", "/usr/local/jetty/start.jar", "--module="+module+"-deploy")
		if len(c.Config.Cmd) != 0 {
			t.Errorf("the base's arguments stay: %q", c.Config.Cmd)
		}
	}
}
