// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// recipe is a source of the tests of docs/recipes.md.
func recipe(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "recipes", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// compile runs a compiler in a directory, with the environment that it was
// installed in.
func compile(t *testing.T, dir string, more []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), more...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
}

var shared = regexp.MustCompile(`(?:=> |^\s+)(/\S+) \(0x`)

// sharedFiles are what programs and libraries of this machine load when they
// start, by the paths where they look for it.
func sharedFiles(t *testing.T, files ...string) (all []string) {
	t.Helper()
	for line := range strings.Lines(command(t, need(t, "ldd"), files...)) {
		if m := shared.FindStringSubmatch(line); m != nil {
			all = append(all, m[1])
		}
	}
	return all
}

// copyFiles copies files, or what links lead to, into a directory.
func copyFiles(t *testing.T, dir string, files ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// glibcBase is a base for amd64 and arm64 that has nothing but the C library of
// this machine, and that of Debian's cross compiler.
func glibcBase(t *testing.T, dir, program string) string {
	t.Helper()
	const cross = "/usr/aarch64-linux-gnu/lib"
	if _, err := os.Stat(cross + "/ld-linux-aarch64.so.1"); err != nil {
		missing(t, "libc6-arm64-cross is not installed (make test-deps)")
	}
	amd64, arm64 := filepath.Join(dir, "base", "amd64"), filepath.Join(dir, "base", "arm64")
	for _, f := range sharedFiles(t, program) {
		if strings.Contains(f, "/ld-linux") {
			copyFiles(t, filepath.Join(amd64, "lib64"), f)
		} else {
			copyFiles(t, filepath.Join(amd64, "lib"), f)
		}
	}
	for _, name := range []string{"ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"} {
		copyFiles(t, filepath.Join(arm64, "lib"), filepath.Join(cross, name))
	}
	base := "oci:" + filepath.Join(dir, "glibc") + ":1"
	dray(t, "build", "files", filepath.Join(dir, "base", "{arch}"), "--from", "scratch", "--compress", "none", "-t", base)
	return base
}

// platforms are those of the images that a reference names.
func platforms(t *testing.T, ref string) string {
	t.Helper()
	return dray(t, "inspect", "--format", "{{range .images}}{{.platform}} {{end}}", ref)
}

// A program of Rust that is linked statically runs on the base that dray makes; one
// that is not is refused there, and runs where its C library is.
func TestFiles_Rust(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("what is compared is that of an amd64 machine")
	}
	rustc := need(t, "rustc")
	docker := newDockerEngine(t)
	dir := t.TempDir()
	for name, flags := range map[string][]string{"static": {"-C", "target-feature=+crt-static"}, "dynamic": nil} {
		compile(t, dir, nil, rustc, append(flags, "-O", "-C", "strip=symbols", "-o", name, recipe(t, "rust/main.rs"))...)
	}
	const want = "pong from x86_64"
	static, dynamic := filepath.Join(dir, "static"), filepath.Join(dir, "dynamic")
	if _, errOut, err := docker.dray("unix://"+docker.sock, "build", "files", static, "-t", "docker-daemon:rust:1"); err != nil {
		t.Fatalf("%v: %s", err, errOut)
	}
	if got := docker.run("run", "--rm", "--network=none", "rust:1"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, errOut, err := docker.dray("unix://"+docker.sock, "build", "files", dynamic, "-t", "docker-daemon:rust:2")
	if exitCode(err) != 2 || !strings.Contains(errOut, `needs "/lib64/ld-linux-x86-64.so.2" to start, which scratch+certs lacks: link it statically, or name a base with glibc`) {
		t.Errorf("%v: %s", err, errOut)
	}
	libs := map[bool]string{true: filepath.Join(dir, "lib64"), false: filepath.Join(dir, "lib")}
	for _, f := range sharedFiles(t, dynamic) {
		copyFiles(t, libs[strings.Contains(f, "/ld-linux")], f)
	}
	out, errOut, err := docker.dray("unix://"+docker.sock, "build", "files", dynamic, libs[true]+":/lib64", libs[false]+":/lib", "-t", "docker-daemon:rust:3")
	if err != nil || strings.Contains(errOut, "nowhere") {
		t.Fatalf("%v: %s%s", err, out, errOut)
	}
	if got := docker.run("run", "--rm", "--network=none", "rust:3"); got != want {
		t.Errorf("with its libraries: got %q, want %q", got, want)
	}
}

// Programs that Bun compiles for two platforms become an index on a base for both,
// and that of this machine runs.
func TestFiles_Bun(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("the base is made of the libraries of an amd64 machine")
	}
	if _, err := exec.LookPath("bun-linux-arm64"); err != nil {
		t.Skip("bun is not installed: make test-deps does it where npm can") // the one that CI may lack: Rust is there
	}
	bun, other := need(t, "bun"), need(t, "bun-linux-arm64")
	docker := newDockerEngine(t)
	dir := t.TempDir()
	for arch, flags := range map[string][]string{"amd64": {"--target=bun-linux-x64"}, "arm64": {"--target=bun-linux-arm64", "--compile-executable-path=" + other}} {
		compile(t, dir, []string{"HOME=" + dir}, bun, append([]string{"build", "--compile", recipe(t, "bun/app.ts"), "--outfile", "dist/app_linux_" + arch}, flags...)...)
	}
	base := glibcBase(t, dir, filepath.Join(dir, "dist", "app_linux_amd64"))
	app := "oci:" + filepath.Join(dir, "app") + ":1"
	_, errOut, err := try(t, drayBin, "build", "files", filepath.Join(dir, "dist", "app_{os}_{arch}"), "--from", base, "--compress", "none", "-t", app)
	if err != nil || strings.Contains(errOut, "nowhere") {
		t.Fatalf("%v: %s", err, errOut)
	}
	if got := platforms(t, app); got != "linux/amd64 linux/arm64" {
		t.Errorf("platforms %s", got)
	}
	if _, errOut, err := docker.dray("unix://"+docker.sock, "copy", "--platform", "linux/amd64", app, "docker-daemon:bun:1"); err != nil {
		t.Fatalf("%v: %s", err, errOut)
	}
	if got := docker.run("run", "--rm", "--network=none", "bun:1"); got != "pong /ping from x64" {
		t.Errorf("got %q", got)
	}
}

// A static site with a small server beside it answers a request, and a file that
// nobody but its owner may read does so too, for the modes become usual ones.
func TestFiles_Site(t *testing.T) {
	t.Parallel()
	docker := newDockerEngine(t)
	dir := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		compile(t, ".", []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", "build", "-trimpath", "-o", filepath.Join(dir, "site_linux_"+arch), recipe(t, "site/main.go"))
	}
	page := filepath.Join(dir, "public", "a", "index.html")
	if err := os.MkdirAll(filepath.Dir(page), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte("<p>hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	site, addr := "oci:"+filepath.Join(dir, "site")+":1", freePort(t)
	dray(t, "build", "files", filepath.Join(dir, "site_{os}_{arch}"), filepath.Join(dir, "public")+":/srv", "--exposed-port", "8080", "-t", site)
	if got := platforms(t, site); got != "linux/amd64 linux/arm64" {
		t.Errorf("platforms %s", got)
	}
	if _, errOut, err := docker.dray("unix://"+docker.sock, "copy", "--platform", "linux/"+runtime.GOARCH, site, "docker-daemon:site:1"); err != nil {
		t.Fatalf("%v: %s", err, errOut)
	}
	id := docker.run("run", "--detach", "--network=host", "site:1", addr)
	var text []byte
	wait(t, "the site", func() bool {
		resp, err := http.Get("http://" + addr + "/a/")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err = io.ReadAll(resp.Body)
		return err == nil
	})
	if string(text) != "<p>hello" {
		t.Errorf("it answers %q", text)
	}
	docker.run("kill", id)
}
