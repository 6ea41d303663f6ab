// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// merged makes the root of an image as Debian's are, with links from lib and
// the like into usr, and one program that cannot start if a link is gone.
func merged(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		missing(t, "programs of Linux are needed")
	}
	root, cat := t.TempDir(), need(t, "cat")
	libs, err := exec.Command(need(t, "ldd"), cat).Output()
	if err != nil {
		missing(t, "a program with shared libraries is needed")
	}
	for _, dir := range []string{"bin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"/bin/cat": cat}
	for _, path := range regexp.MustCompile(`/\S+`).FindAllString(string(libs), -1) {
		files[path] = path
	}
	for to, from := range files {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(root, strings.TrimPrefix(to, "/usr"))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// What dray appends to a base with links runs in a Docker engine, which finds
// the new files and the old ones.
func TestDockerRunsAppended(t *testing.T) {
	t.Parallel()
	docker, addr := engine(t), distribution(t)
	root, app := merged(t), t.TempDir()
	for name, text := range map[string]string{"lib/app.txt": "in lib", "lib64/app.txt": "in lib64", "bin/app.txt": "in bin", "srv/app/app.txt": "in srv"} {
		path := filepath.Join(app, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tar := filepath.Join(t.TempDir(), "app.tar.zst")
	dray(t, "pack", "--compress", "zstd", app, tar)
	base, image := addr+"/base/merged:1", addr+"/apps/merged:1"
	dray(t, "append", "-b", "scratch", "--platform", "linux/"+runtime.GOARCH, "--dir", root+":/", "-t", base)
	for _, family := range []string{"oci", "docker"} {
		dray(t, "append", "-b", base, "-f", tar, "--compress", "gzip", "--dir", filepath.Join(app, "srv")+":/opt/", "--entrypoint", "/bin/cat", "--media-types", family, "-t", image)
		dray(t, "validate", image)
		docker("pull", "-q", image)
		out := docker("run", "--rm", "--network=none", image, "/usr/lib/app.txt", "/lib64/app.txt", "/usr/bin/app.txt", "/srv/app/app.txt", "/opt/app/app.txt")
		if want := "in libin lib64in binin srvin srv"; out != want {
			t.Errorf("%s: cat prints %q, want %q", family, out, want)
		}
	}
}

// What crane can read of an image that dray appended to is what dray says.
func TestCraneReadsAppended(t *testing.T) {
	t.Parallel()
	crane, addr := need(t, "crane"), distribution(t)
	dir, image := t.TempDir(), addr+"/apps/one:1"
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	dray(t, "append", "-b", "scratch", "--platform", "linux/amd64,windows/amd64:10.0.20348.1", "--dir", dir+":/app", "-t", image)
	for _, platform := range []string{"linux/amd64", "windows/amd64"} {
		command(t, crane, "validate", "--platform", platform, "--remote", image)
	}
	if a, b := command(t, crane, "digest", image), dray(t, "digest", image); a != b {
		t.Errorf("crane: %s, dray: %s", a, b)
	}
}
