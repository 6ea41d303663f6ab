// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What dray writes into a directory is what skopeo writes, byte for byte, and
// each reads what the other wrote.
func TestDirIsSkopeos(t *testing.T) {
	t.Parallel()
	skopeo, diff := need(t, "skopeo"), need(t, "diff")
	registry := distribution(t)
	dray(t, "copy", hello(t), registry+"/hello:1")
	temp := t.TempDir()
	for name, c := range map[string]struct {
		skopeo []string
		image  string
	}{
		"index": {[]string{"--all"}, registry + "/hello:1"},
		"image": {[]string{"--override-os=linux", "--override-arch=arm64"}, registry + "/hello@" + dray(t, "digest", "--platform=linux/arm64", registry+"/hello:1")},
	} {
		theirs, ours := filepath.Join(temp, name+"-skopeo"), filepath.Join(temp, name+"-dray")
		again := filepath.Join(temp, name+"-again")
		skopeoCopy := func(from, to string, more ...string) {
			t.Helper()
			args := append([]string{"--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"}, more...)
			command(t, skopeo, append(args, from, to)...)
		}
		skopeoCopy("docker://"+registry+"/hello:1", "dir:"+theirs, c.skopeo...)
		dray(t, "copy", c.image, "dir:"+ours)
		same := func(a, b string) {
			t.Helper()
			if out, _, err := try(t, diff, "-urN", a, b); err != nil || out != "" {
				t.Errorf("%s: %v: %s", name, err, out)
			}
			if x, y := modes(t, a), modes(t, b); x != y {
				t.Errorf("%s: permissions are\n%s, want\n%s", name, y, x)
			}
		}
		same(theirs, ours)
		dray(t, "copy", "dir:"+theirs, "dir:"+again)
		same(theirs, again)
		dray(t, "copy", registry+"/hello:1", "dir:"+again) // over another, or the same
		dray(t, "copy", c.image, "dir:"+again)
		same(theirs, again)
		want := dray(t, "digest", "dir:"+ours)
		dray(t, "copy", "dir:"+theirs, registry+"/from-skopeo/"+name+":1")
		skopeoCopy("dir:"+ours, "docker://"+registry+"/from-dray/"+name+":1", "--all", "--preserve-digests")
		for _, image := range []string{registry + "/from-skopeo/" + name + ":1", registry + "/from-dray/" + name + ":1"} {
			if got := dray(t, "digest", image); got != want {
				t.Errorf("%s: got %s, want %s", image, got, want)
			}
		}
		skopeoCopy("docker://"+registry+"/hello:1", "dir:"+ours, c.skopeo...) // and skopeo replaces what dray wrote
		same(theirs, ours)
	}
}

// modes lists the files of a directory with their permissions.
func modes(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintln(&out, fi.Mode(), rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What dray puts into the storage of Podman is there for skopeo, and the other
// way round.
func TestContainersStorage(t *testing.T) {
	t.Parallel()
	skopeo := need(t, "skopeo")
	temp := t.TempDir()
	src := hello(t)
	image := strings.TrimSuffix(src, ":1.0") + "@" + dray(t, "digest", "--platform=linux/arm64", src)
	storage := "containers-storage:[vfs@" + temp + "/root+" + temp + "/run]"
	dray(t, "copy", image, storage+"team/hello:1")
	if raw, want := command(t, skopeo, "inspect", "--raw", storage+"team/hello:1"), dray(t, "manifest", image); raw != want {
		t.Errorf("skopeo reads %s, want %s", raw, want)
	}
	command(t, skopeo, "--insecure-policy", "copy", "-q", "--override-os=linux", "--override-arch=arm64", src, storage+"team/theirs:1")
	for _, name := range []string{"team/hello:1", "team/theirs:1"} {
		back := "oci:" + filepath.Join(temp, "back") + ":1"
		dray(t, "copy", storage+name, back) // verifies every byte
		if got, want := dray(t, "config", back), dray(t, "config", image); got != want {
			t.Errorf("%s: the config is %s, want %s", name, got, want)
		}
	}
	if _, errOut, err := try(t, drayBin, "digest", storage+"none:1"); exitCode(err) != 3 {
		t.Errorf("%v: %s", err, errOut)
	}
	if _, errOut, err := try(t, drayBin, "copy", src, storage+"team/index:1"); exitCode(err) != 1 || !strings.Contains(errOut, "--platform") {
		t.Errorf("an index: %v: %s", err, errOut)
	}
}
