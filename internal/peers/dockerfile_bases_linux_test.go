// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The bases of the Dockerfiles. What their names stand for is in
// testdata/dockerfiles/README.md.
const (
	rootfs = `
		bin l 0:0 -> usr/bin
		lib l 0:0 -> usr/lib
		usr d 0755 0:0
		usr/bin d 0755 0:0
		usr/lib d 0755 0:0
		usr/share d 0755 0:0
		usr/bin/say f 0755 0:0 @probe
		usr/bin/sh h usr/bin/say
		usr/bin/su f 4755 0:0 "su"
		etc d 0755 0:0
		etc/passwd f 0644 0:0 "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\ndaemon:x:2:2::/:/bin/sh\nodd:x:1234:99::/:/bin/sh\n"
		etc/group f 0644 0:0 "root:x:0:\napp:x:1000:\ndaemon:x:2:\nstaff:x:50:app\nwww:x:33:\n"
		home d 0755 0:0
		home/app d 0700 1000:1000
		home/app/.profile f 0600 1000:1000 "profile\n"
		run d 0755 0:0
		run/lock d 1777 0:0
		var d 0755 0:0
		var/run l 0:0 -> /run
		var/log d 0775 0:4
		tmp d 1777 0:0
		opt d 0755 0:0
		opt/old d 0755 0:0
		opt/old/a f 0644 0:0 "a"
		opt/old/b f 0640 3:4 "b"
		opt/data d 0750 7:8
		srv d 2775 0:50
		data l 0:0 -> /opt/data
		dangling l 0:0 -> /opt/nothing/here
		loop l 0:0 -> loop
		up l 0:0 -> ../../opt`
	rootfs2 = `
		opt d 0755 0:0
		opt/old d 0755 0:0
		opt/old/.wh.a f 0644 0:0 ""
		opt/data d 0750 7:8
		opt/data/new f 0600 7:8 "new"
		usr d 0755 0:0
		usr/lib d 0755 0:0
		usr/lib/attr f 0644 0:0 "attr" user.test="1"`
	usualPath = `"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]`
)

// The layers of the base deep: what is copied from it was written, changed and
// deleted by different ones.
var deep = []string{`
	app d 0755 0:0
	app/bin d 0711 0:0
	app/bin/tool f 0755 5:6 "tool one"
	app/bin/other h app/bin/tool
	app/conf d 0700 5:5
	app/conf/a f 0600 5:5 "a one"
	app/conf/b f 0600 5:5 "b one"
	app/gone d 0755 0:0
	app/gone/x f 0644 0:0 "x"
	current l 0:0 -> app
	app/abs l 0:0 -> /app/conf/a
	app/rel l 0:0 -> conf/b
	app/hole l 0:0 -> /none
	etc d 0755 0:0
	etc/passwd f 0644 0:0 "root:x:0:0::/:/\nother:x:77:78::/:/\n"
	big f 0644 0:0 @300000`, `
	app d 0755 0:0
	app/conf d 0750 5:9
	app/conf/a f 0644 5:5 "a two"
	app/conf/.wh.b f 0644 0:0 ""
	app/.wh.gone f 0644 0:0 ""
	app/pipe p 0622 0:0
	app/null c 0666 0:0 1:3`, `
	app d 0755 0:0
	app/gone d 0755 9:9
	app/gone/.wh..wh..opq f 0644 0:0 ""
	app/gone/y f 0644 9:9 "y"
	app/attr f 0644 0:0 "attr" user.kept="yes"
	app/suid f 6755 0:0 "suid"`}

// set is the config of a base that says everything.
const set = `{` + usualPath + `,"User":"app","WorkingDir":"/home/app","Entrypoint":["/bin/say","base"],"Cmd":["of","base"],
	"Labels":{"a":"base","b":"base"},"Volumes":{"/vol":{}},"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGINT","Shell":["/bin/sh","-e","-c"],
	"Healthcheck":{"Test":["CMD","/bin/say","ok"],"Interval":5000000000}}`

func linux(arch string) map[string]string {
	return map[string]string{"os": "linux", "architecture": arch}
}

func windows(version string) map[string]string {
	return map[string]string{"os": "windows", "architecture": "amd64", "os.version": version}
}

// windowsVersions are those of the base windows.
var windowsVersions = []string{"10.0.14393.1", "10.0.17763.2", "10.0.19041.3", "10.0.20348.4", "10.0.26100.5"}

// bases are all of them, by the name of their repository.
func bases() map[string][]imageSpec {
	here, two := linux(runtime.GOARCH), []string{rootfs, rootfs2}
	all := map[string][]imageSpec{
		"base":    {{platform: here, config: `{` + usualPath + `,"Cmd":["/bin/sh"]}`, layers: two, history: true}},
		"set":     {{platform: here, config: set, layers: two, history: true}},
		"onbuild": {{platform: here, config: `{` + usualPath + `,"OnBuild":["COPY . /onbuild/","ENV BUILT=on","WORKDIR /onbuild"]}`, layers: two, history: true}},
		"onrun":   {{platform: here, config: `{` + usualPath + `,"OnBuild":["ENV A=1","RUN make"]}`, layers: two, history: true}},
		"bare":    {{platform: here, config: `{}`, layers: []string{"x f 0644 0:0 \"x\""}}},
		"deep":    {{platform: here, config: `{` + usualPath + `}`, layers: deep, history: true}},
	}
	for _, arch := range []string{"amd64", "arm64"} {
		all["multi"] = append(all["multi"], imageSpec{platform: linux(arch), config: `{` + usualPath + `,"Cmd":["/bin/sh"]}`, layers: []string{rootfs, "etc d 0755 0:0\netc/arch f 0644 0:0 \"" + arch + "\""}, history: true, oci: true})
	}
	for i, v := range windowsVersions {
		all["windows"] = append(all["windows"], imageSpec{platform: windows(v), config: `{"Env":["Path=C:\\Windows\\system32"],"User":"ContainerUser","Cmd":["c:\\windows\\system32\\cmd.exe"]}`,
			layers: []string{"Files d 0755 0:0\nFiles/Windows d 0755 0:0\nFiles/Windows/version f 0644 0:0 \"" + v + "\"\nHives d 0755 0:0\nFiles/big f 0644 0:0 @" + []string{"1000", "2000", "3000", "4000", "5000"}[i]}, history: true, oci: true})
	}
	return all
}

// A lab has what Dockerfiles are built with: a registry with the bases, a web
// server, a cache and a storage for buildah.
type lab struct {
	registry, web, dir string
	probe, driver      string                         // of buildah's storage
	bases              map[string]map[string]*picture // by repository and platform
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{registry: distribution(t), dir: t.TempDir(), driver: "vfs", bases: map[string]map[string]*picture{}}
	if canOverlay(t) { // a build takes a fifth of the time
		l.driver = "overlay"
		t.Cleanup(func() { _ = unix.Unmount(filepath.Join(l.dir, "storage", "overlay"), unix.MNT_DETACH) })
	}
	web := httptest.NewServer(http.FileServer(http.Dir(l.dir)))
	t.Cleanup(web.Close)
	l.web = web.URL
	l.probe = filepath.Join(l.dir, ".probe")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", l.probe, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(l.probe, os.ModeSetuid|0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(l.probe)
	if err != nil {
		t.Fatal(err)
	}
	for name, specs := range bases() {
		dir := filepath.Join(l.dir, "bases", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeLayout(t, dir, data, specs...)
		if l.bases[name], err = readLayout(dir); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		dray(t, "copy", "oci:"+dir+":1", l.registry+"/"+name+":latest")
	}
	l.bases["scratch"] = map[string]*picture{"": {tree: tree{}}}
	return l
}

// canOverlay tries whether the kernel mounts an overlay here.
func canOverlay(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, "merged")
	if err := unix.Mount("overlay", to, "overlay", 0, fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", dir, dir, dir)); err != nil {
		return false
	}
	return unix.Unmount(to, 0) == nil
}

// base is one of the bases for a platform; scratch is one for any.
func (l *lab) base(name, platform string) *picture {
	if one := l.bases[name][platform]; one != nil {
		return one
	}
	return l.bases[name][""]
}

// expand replaces what a Dockerfile or an argument cannot know.
func (l *lab) expand(c *dockerfileCase, s string) string {
	return strings.NewReplacer("{{registry}}", l.registry, "{{web}}", l.web+"/cases/"+c.name+"/www", "{{arch}}", runtime.GOARCH, "{{cases}}", l.dir+"/cases").Replace(s)
}

// within runs a program in a directory, with a home that all of the lab share.
func (l *lab) within(t *testing.T, dir, name string, args ...string) (out, errOut string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(os.Environ(), "HOME="+l.dir, "DRAY_CACHE="+filepath.Join(l.dir, "cache"), "BUILDAH_LAYERS=", "SOURCE_DATE_EPOCH=", "XDG_RUNTIME_DIR="+l.dir)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}
