// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray/internal/credential"
	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

func TestBad_092_SaveKeepsTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"docker/config.json": `{"HttpHeaders":{"Z":"<&>","A":1.50},"auths":{"https://a.io/v1/":{"auth":"b2xkOm9sZA=="},
		"a.io/ns":{"auth":"bnM6bnM=","email":"e"},"b.io":{"auth":"Yjpi","more":[1,{}]}},"psFormat":"x","detachKeys":null}`})
	if err := b.Save(t.Context(), "a.io", user("me")); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`{
>"HttpHeaders": {
>>"Z": "<&>",
>>"A": 1.50
>},
>"auths": {
>>"a.io/ns": {
>>>"auth": "bnM6bnM=",
>>>"email": "e"
>>},
>>"b.io": {
>>>"auth": "Yjpi",
>>>"more": [
>>>>1,
>>>>{}
>>>]
>>},
>>"a.io": {
>>>"auth": "bWU6cHctbWU="
>>}
>},
>"psFormat": "x",
>"detachKeys": null
}`, ">", "\t")
	want = strings.Replace(want, "<&\t", "<&>", 1)
	if got := b.read(t, "docker/config.json"); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
	if err := b.Erase(t.Context(), "a.io"); err != nil {
		t.Fatal(err)
	}
	if got := b.read(t, "docker/config.json"); strings.Contains(got, `"a.io":`) || !strings.Contains(got, `"a.io/ns":`) {
		t.Errorf("after Erase the file is\n%s", got)
	}
}

func TestSaveAndErase(t *testing.T) {
	t.Parallel()
	for _, c := range []transport.Credential{user("me"), {Username: "me", Password: "a:b\"\n<"}, {Password: "only"},
		{Username: "me", IdentityToken: "refresh"}, {IdentityToken: "refresh"}, {RegistryToken: "bearer"}} {
		for _, host := range []string{"a.io", "127.0.0.1:5000", "docker.io", "index.docker.io", "[::1]:5000"} {
			b := newBench(t, nil)
			if err := b.Save(t.Context(), host, c); err != nil {
				t.Fatal(err)
			}
			if got, err := b.Lookup(t.Context(), host, "x"); err != nil || got != c {
				t.Errorf("%s: Lookup = %+v, %v; want %+v", host, got, err, c)
			}
			for name, want := range map[string]os.FileMode{"docker": 0o700, "docker/config.json": 0o600} {
				if info, err := os.Stat(b.path(name)); err != nil || info.Mode().Perm() != want && runtime.GOOS != "windows" {
					t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
				}
			}
			if err := b.Erase(t.Context(), host); err != nil {
				t.Error(err)
			}
			if err := b.Erase(t.Context(), host); !errors.Is(err, oci.ErrNotFound) {
				t.Errorf("second Erase = %v, want ErrNotFound", err)
			}
			if left, _ := filepath.Glob(b.path("docker/.*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if w := b.warned(); w != "" {
				t.Errorf("warned of %s", w)
			}
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, c := range []transport.Credential{{}, {Username: "me"}, {Username: "a:b", Password: "x"}, {Username: "a\nb", Password: "x"}} {
		if err := b.Save(t.Context(), "a.io", c); !errors.Is(err, oci.ErrInvalid) {
			t.Errorf("Save(%+v) = %v, want ErrInvalid", c, err)
		}
	}
	if err := credential.Open(credential.Paths{}, credential.Options{}).Save(t.Context(), "a.io", user("me")); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("Save to nowhere = %v, want ErrInvalid", err)
	}
	broken := newBench(t, map[string]string{"docker/config.json": `{"auths":`})
	if err := broken.Save(t.Context(), "a.io", user("me")); !errors.Is(err, oci.ErrInvalid) || broken.read(t, "docker/config.json") != `{"auths":` {
		t.Errorf("Save to a broken file = %v, want ErrInvalid and the file as it was", err)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ p, want string }{{"", "docker"}, {"env", "env"}, {"flag env", "flag"}} {
		p := credential.Paths{RuntimeAuth: "run", UserAuth: "user", DockerConfig: "docker"}
		if strings.Contains(tt.p, "env") {
			p.EnvAuthFile = "env"
		}
		if strings.Contains(tt.p, "flag") {
			p.AuthFile = "flag"
		}
		if got := credential.Open(p, credential.Options{}).Target(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.p, got, tt.want)
		}
	}
}

// TestOtherFiles: what is hidden by another file, or stays there, is said.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"run/auth.json": auths("a.io", "podman")})
	if err := b.Save(t.Context(), "a.io", user("me")); err != nil {
		t.Fatal(err)
	}
	if w := b.warned(); !strings.Contains(w, "auth.json has a credential for a.io too and is read before") {
		t.Errorf("Save warned %q", w)
	}
	if err := b.Erase(t.Context(), "a.io"); err != nil || !strings.Contains(b.warned(), "auth.json") {
		t.Errorf("Erase = %v, and no warning", err)
	}
	if err := b.Erase(t.Context(), "a.io"); !errors.Is(err, oci.ErrNotFound) || !strings.Contains(err.Error(), "auth.json") {
		t.Errorf("Erase = %v, want ErrNotFound that names the other file", err)
	}
}

func TestSaveFollowsLinks(t *testing.T) {
	t.Parallel()
	for _, exists := range []bool{true, false} {
		b := newBench(t, map[string]string{"dotfiles/README": ""})
		if exists {
			put(t, b.path("dotfiles/docker.json"), `{"x":1}`)
		}
		if err := os.Mkdir(b.path("docker"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../dotfiles/docker.json", b.path("docker/config.json")); err != nil {
			t.Skip("symbolic links are needed:", err)
		}
		if err := b.Save(t.Context(), "a.io", user("me")); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(b.path("docker/config.json"))
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link is gone: %v", err)
		}
		if got := b.read(t, "dotfiles/docker.json"); !strings.Contains(got, "bWU6cHctbWU=") || exists != strings.Contains(got, `"x": 1`) {
			t.Errorf("the target is %s", got)
		}
	}
	b := newBench(t, map[string]string{"docker/README": ""})
	if err := os.Symlink("config.json", b.path("docker/config.json")); err == nil {
		if err := b.Save(t.Context(), "a.io", user("me")); err == nil {
			t.Error("Save through a circle of links worked")
		}
	}
}

// TestSaveAtOnce: of many writers, each with a store of its own, none loses
// what another wrote.
func TestSaveAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if err := credential.Open(b.paths, credential.Options{}).Save(t.Context(), fmt.Sprintf("h%d.io", i), user("me")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var doc struct{ Auths map[string]any }
	if err := json.Unmarshal([]byte(b.read(t, "docker/config.json")), &doc); err != nil || len(doc.Auths) != 12 {
		t.Errorf("%d of 12 are there: %v", len(doc.Auths), err)
	}
}

// need skips a test that wants a program, or fails it where all must be there.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("DRAY_TEST_REQUIRE") == "1" {
		t.Fatalf("%s is needed: %v", name, err)
	}
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// TestPodmanReadsIt: skopeo, which reads as Podman does, finds what Save
// wrote, and takes it away again.
func TestPodmanReadsIt(t *testing.T) {
	t.Parallel()
	skopeo := need(t, "skopeo")
	for _, host := range []string{"a.io", "127.0.0.1:5000", "docker.io"} {
		b := newBench(t, map[string]string{"docker/config.json": `{"psFormat":"x"}`})
		if err := b.Save(t.Context(), host, user("me")); err != nil {
			t.Fatal(err)
		}
		file := b.path("docker/config.json")
		out, err := exec.Command(skopeo, "login", "--authfile", file, "--get-login", host).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "me" {
			t.Errorf("skopeo login --get-login %s: %s, %v", host, out, err)
		}
	}
}

// TestDockerReadsIt: docker logout, which needs no engine, finds what Save
// wrote by file and by helper.
func TestDockerReadsIt(t *testing.T) {
	t.Parallel()
	docker := need(t, "docker")
	for _, config := range []string{`{}`, `{"credsStore":"keep"}`} {
		for _, host := range []string{"a.io", "127.0.0.1:5000", "docker.io"} {
			b := newBench(t, map[string]string{"docker/config.json": config})
			if err := b.Save(t.Context(), host, user("me")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(docker, "--config", b.path("docker"), "logout")
			if host != "docker.io" {
				cmd.Args = append(cmd.Args, host)
			}
			cmd.Env = append(os.Environ(), "HELPER_DIR="+b.dir, "GORACE=atexit_sleep_ms=0", "PATH="+b.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Contains(string(out), "Not logged in") {
				t.Errorf("docker logout %s with %s: %s, %v", host, config, out, err)
			}
			if got, err := b.Lookup(t.Context(), host, ""); err != nil || got != (transport.Credential{}) {
				t.Errorf("after docker logout %s with %s: %+v, %v", host, config, got, err)
			}
		}
	}
}
