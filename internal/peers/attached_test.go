// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A killer stands before a registry and ends a process when it sends so many
// writes: before the last of them comes to the registry, or right after.
type killer struct {
	addr string

	mu    sync.Mutex
	after bool
	left  int // writes until then; below 0: never
	cmd   *exec.Cmd
}

func newKiller(t *testing.T, upstream string) *killer {
	t.Helper()
	k := &killer{left: -1}
	rp := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream})
	rp.ErrorLog = log.New(io.Discard, "", 0)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dead := r.Method != http.MethodGet && r.Method != http.MethodHead && k.write()
		if dead && !k.after {
			panic(http.ErrAbortHandler)
		}
		rp.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	k.addr = strings.TrimPrefix(srv.URL, "http://")
	return k
}

// write counts a write and kills the process at the last one.
func (k *killer) write() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left < 0 {
		return false
	}
	if k.left--; k.left > 0 {
		return false
	}
	if k.left == 0 {
		_ = k.cmd.Process.Kill()
	}
	k.left = 0
	return true
}

// run runs a command that is killed at its nth write, and reports whether it came
// to its end before.
func (k *killer) run(t *testing.T, n int, after bool, name string, args ...string) (done bool) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env(t)
	k.mu.Lock() // no write is counted before the process is known
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.cmd, k.left, k.after = cmd, n, after
	k.mu.Unlock()
	err := cmd.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = -1
	return err == nil
}

// A build is killed at each of its writes. No tag is there then without all that
// is attached to the image, and the next build makes everything complete.
func TestBuildKilled(t *testing.T) {
	t.Parallel()
	site := filepath.Join(t.TempDir(), "site")
	if err := os.MkdirAll(site, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(site, "index.html"), site + "-old"} {
		if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, start := range map[string]func(*testing.T) string{"without referrers": distribution, "with referrers": served} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := start(t)
			k := newKiller(t, registry)
			for n := 1; ; n++ {
				repo := fmt.Sprintf("/site%d:1", n)
				args := []string{"build", "-q", "files", site + ":/srv", "--from", "scratch+certs", "--platform", "linux/amd64,linux/arm64", "-t", k.addr + repo}
				if n%3 == 0 { // the tag means something already, which has all of its own
					dray(t, "build", "-q", "files", site+"-old:/old", "--from", "scratch+certs", "--platform", "linux/amd64,linux/arm64", "-t", registry+repo)
				}
				done := k.run(t, n, n%2 == 0, drayBin, args...)
				if _, _, err := try(t, drayBin, "digest", registry+repo); err == nil {
					complete(t, n, registry+repo)
				} else if exitCode(err) != 3 {
					t.Fatalf("killed at write %d: %v", n, err)
				}
				dray(t, args...)
				complete(t, n, registry+repo)
				if done {
					t.Logf("%d writes", n-1)
					if n < 20 {
						t.Errorf("only %d writes were seen", n-1)
					}
					return
				}
			}
		})
	}
}

// complete checks that an index of two images is there, with three bills of
// materials and one provenance.
func complete(t *testing.T, n int, image string) {
	t.Helper()
	dray(t, "validate", "-q", image)
	all := dray(t, "referrers", "--format", "json", image)
	if bills, provenance := strings.Count(all, `"application/spdx+json"`), strings.Count(all, `"application/vnd.in-toto+json"`); bills != 3 || provenance != 1 {
		t.Fatalf("killed at write %d: %d bills of materials and %d provenances: %s", n, bills, provenance, all)
	}
}

// regctl finds what is attached, and reads it, also under the tag of cosign.
func TestAttachedForOthers(t *testing.T) {
	t.Parallel()
	regctl, file := need(t, "regctl"), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(*testing.T) string{"without referrers": distribution, "with referrers": served} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry, bills := start(t), t.TempDir()
			image := registry + "/app:1"
			out := dray(t, "build", "-q", "files", file+":/srv/file", "--from", "scratch+certs", "--platform", "linux/amd64", "--sbom-tag", "--sbom-dir", bills, "-t", image)
			raw, err := os.ReadFile(filepath.Join(bills, "file-linux-amd64.spdx.json"))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(string(raw))
			command(t, regctl, "registry", "set", registry, "--tls", "disabled")
			if got := command(t, regctl, "artifact", "get", "--subject", image, "--filter-artifact-type", "application/spdx+json"); got != want {
				t.Errorf("the referrer is\n%s\nwant\n%s", got, want)
			}
			_, hex, _ := strings.Cut(out, "@sha256:")
			if got := command(t, regctl, "artifact", "get", registry+"/app:sha256-"+hex+".sbom"); got != want {
				t.Errorf("under the tag is\n%s\nwant\n%s", got, want)
			}
			statement := command(t, regctl, "artifact", "get", "--subject", image, "--filter-artifact-type", "application/vnd.in-toto+json")
			if !strings.Contains(statement, `"predicateType":"https://slsa.dev/provenance/v1"`) || !strings.Contains(statement, `"sha256":"`+hex+`"`) {
				t.Errorf("provenance is %s", statement)
			}
		})
	}
}
