// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What edits make passes validate, and runs in a real engine.
func TestEditsRun(t *testing.T) {
	t.Parallel()
	e := newDockerEngine(t)
	host := "unix://" + e.sock
	src := hello(t)
	repo := strings.TrimSuffix(src, ":1.0")
	platform := "--platform=linux/" + runtime.GOARCH
	loads := 0
	runs := func(ref, want string, args ...string) {
		t.Helper()
		dray(t, "validate", ref)
		loads++
		name := fmt.Sprintf("edited/hello:%d", loads)
		if _, errOut, err := e.dray(host, "copy", platform, ref, "docker-daemon:"+name); err != nil {
			t.Fatalf("%s: %v: %s", ref, err, errOut)
		}
		if out := e.run(append([]string{"run", "--rm", "--network=host", name}, args...)...); !strings.Contains(out, want) {
			t.Errorf("%s prints %q, want %q", ref, out, want)
		}
	}
	digest := func(ref string) string { return dray(t, "digest", ref) }

	dray(t, "mutate", src, "--cmd", `["engine"]`, "--label", "a=b", "-t", repo+":mutated")
	runs(repo+":mutated", "hello, engine")
	dray(t, "mutate", repo+":mutated", "--remove-label", "a", "--time", "0", "-t", repo+":clamped")
	runs(repo+":clamped", "hello, engine")

	extra := filepath.Join(t.TempDir(), "extra")
	for i, text := range []string{"one", "two"} {
		if err := os.MkdirAll(extra, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(extra, "text"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		dray(t, "append", "--base", src, "--dir", extra+":/srv", "-t", fmt.Sprintf("%s:more%d", repo, i))
		src = fmt.Sprintf("%s:more%d", repo, i)
		runs(src, "hello, two", "two")
	}
	dray(t, "squash", "-n", "2", src, "-t", repo+":squashed")
	runs(repo+":squashed", "hello, squash", "squash")
	dray(t, "flatten", src, "-t", repo+":flat")
	runs(repo+":flat", "hello, flat", "flat")
	if got := dray(t, "cat", platform, repo+":flat", "srv/text"); got != "two" {
		t.Errorf("the flat image has %q", got)
	}

	// The application more1 is on the base more0; it moves to another one, and back.
	dray(t, "append", "--base", repo+":1.0", "--dir", extra+":/opt/base", "-t", repo+":base")
	dray(t, "rebase", src, "--old-base", repo+":more0", "--new-base", repo+":base", "-t", repo+":rebased")
	runs(repo+":rebased", "hello, base", "base")
	dray(t, "rebase", repo+":rebased", "--old-base", repo+":base", "--new-base", repo+":more0", "-t", repo+":back")
	if a, b := digest(src), digest(repo+":back"); a != b {
		t.Errorf("rebased and back is %s, it was %s", b, a)
	}
	dray(t, "index", "filter", src, platform, "-t", repo+":filtered")
	runs(repo+":filtered", "hello, index", "index")
	dray(t, "index", "create", "-t", repo+":created", repo+":filtered")
	runs(repo+":created", "hello, created", "created")
}
