// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// childEnv makes the test program a process that builds: REF DIR CACHE [BASE].
const childEnv = "DRAY_TEST_BUILD"

// TestBuildChild is what other tests run as a process of its own.
func TestBuildChild(t *testing.T) {
	words := strings.Fields(os.Getenv(childEnv))
	if len(words) == 0 {
		t.Skip("it is part of other tests")
	}
	j := dray.BuildJob{Builder: &plain{name: "x", in: input.Dir(words[1], "/srv", layer.CreateOptions{})}, Targets: words[:1]}
	if j.Want.From = words[3:]; len(j.Want.From) == 0 {
		j.Want.Platforms = []oci.Platform{{OS: "linux", Architecture: "amd64"}}
	}
	b := mustBuild(t, dray.Env{CacheDir: words[2], TempDir: t.TempDir()}, dray.BuildOptions{Attestors: []build.Attestor{notary{"a"}}}, j)
	status, _ := os.ReadFile("/proc/self/status") // what it used before it became this program does not count there
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println("built", b.Builds[0].Root.Digest, strings.TrimSpace(strings.Split(peak+"kB", "kB")[0]))
}

// child builds in another process, and tells what memory that took at most, in
// kB, where the system does.
func child(t *testing.T, words ...string) (digest, peak string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBuildChild$", "-test.v")
	cmd.Env = append(cmd.Environ(), childEnv+"="+strings.Join(words, " "), "GOMEMLIMIT=64MiB")
	out, err := cmd.CombinedOutput()
	_, said, ok := strings.Cut(string(out), "built ")
	if err != nil || !ok {
		t.Errorf("%v: %s", err, out)
	}
	said, _, _ = strings.Cut(said, "\n")
	digest, peak, _ = strings.Cut(said, " ")
	return digest, peak
}

// Several processes that share a cache make the same image.
func TestBuildProcesses(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	cache, dir := t.TempDir(), t.TempDir()
	for n := range 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", n)), ocitest.Random(uint64(n), 100_000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	digests := make([]string, 4)
	for range 2 { // without anything in the cache, and with all
		var wg sync.WaitGroup
		for n := range digests {
			wg.Go(func() {
				digests[n], _ = child(t, fmt.Sprintf("%s/app:%d", h.name, n), dir, cache, h.name+"/base:1")
			})
		}
		wg.Wait()
		for n, d := range digests {
			if d == "" || d != digests[0] {
				t.Errorf("%q", digests)
			}
			h.validated(fmt.Sprint("app:", n))
		}
	}
}

// What is larger than the memory is built in little of it.
func TestBuildLarge(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it packs half a gigabyte")
	}
	dir := t.TempDir()
	const size, most = 512 << 20, 300 << 20
	f, err := os.Create(filepath.Join(dir, "zeros"))
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	_, peak := child(t, "oci:"+t.TempDir()+":1", dir, t.TempDir())
	if peak == "" {
		t.Skip("the system does not tell how much memory it was")
	}
	kb, err := strconv.Atoi(peak)
	if err != nil || kb<<10 > most {
		t.Errorf("%d MB for a file of %d MB (%v)", kb>>10, size>>20, err)
	}
}

// What cannot be read, or is changed while it is, is named, and no tag is written.
func TestBuildBadFiles(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	for _, c := range []struct {
		name, text string
		harm       func(path string) error
		during     bool // while it is packed
		kind       error
	}{
		{"grows", "was changed while it was read", func(path string) error { return os.WriteFile(path, ocitest.Random(2, 13<<20), 0o644) }, true, oci.ErrBusy},
		{"shrinks", "was changed while it was read", func(path string) error { return os.Truncate(path, 10) }, true, oci.ErrBusy},
		{"mode 0", "deep/file: permission denied", func(path string) error { return os.Chmod(path, 0) }, false, os.ErrPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := h.job("", "app:bad", "base:1")
			var once sync.Once
			dir := t.TempDir()
			path := filepath.Join(dir, "deep", "file")
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, ocitest.Random(1, 12<<20), 0o644)); err != nil {
				t.Fatal(err)
			}
			j.Builder = &plain{name: "./site", in: input.Dir(dir, "/srv", layer.CreateOptions{})}
			harm := func() {
				if err := c.harm(path); err != nil {
					t.Error(err)
				}
			}
			if !c.during {
				harm()
				if f, err := os.Open(path); err == nil {
					f.Close()
					t.Skip("this user can read everything")
				}
			}
			o := dray.BuildOptions{Packs: func(_ string, n int) {
				if c.during && n > 0 { // it is open
					once.Do(harm)
				}
			}}
			_, err := built(t, dray.Env{TempDir: t.TempDir()}, o, j)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
			if _, err := h.repo("app").Resolve(context.Background(), "bad"); !errors.Is(err, oci.ErrNotFound) {
				t.Errorf("%v", err)
			}
		})
	}
}
