// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/credential"
	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// auths is a config.json with a user of its own for every key.
func auths(keyUser ...string) string {
	var list []string
	for i := 0; i < len(keyUser); i += 2 {
		u := user(keyUser[i+1])
		list = append(list, fmt.Sprintf("%q:{\"auth\":%q}", keyUser[i], base64.StdEncoding.EncodeToString([]byte(u.Username+":"+u.Password))))
	}
	return `{"auths":{` + strings.Join(list, ",") + `}}`
}

func TestLookupKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, host, repo, want string }{
		{auths("a.io", "me"), "a.io", "x/y", "me"},
		{auths("a.io", "me"), "A.IO", "x/y", "me"},
		{auths("a.io", "host", "a.io/x", "ns", "a.io/x/y", "repo"), "a.io", "x/y", "repo"},
		{auths("a.io", "host", "a.io/x", "ns", "a.io/x/y", "repo"), "a.io", "x/y/z", "repo"},
		{auths("a.io", "host", "a.io/x", "ns", "a.io/x/y", "repo"), "a.io", "x/z", "ns"},
		{auths("a.io", "host", "a.io/x", "ns", "a.io/x/y", "repo"), "a.io", "z", "host"},
		{auths("a.io", "host", "a.io/x", "ns"), "a.io", "", "host"},
		{auths("https://a.io", "me"), "a.io", "x", "me"},
		{auths("http://a.io/", "me"), "a.io", "x", "me"},
		{auths("https://a.io/v1/", "me"), "a.io", "x", "me"},
		{auths("https://a.io/v2", "me"), "a.io", "x", "me"},
		{auths("https://a.io:5000/v2/", "me"), "a.io:5000", "x", "me"},
		{auths("a.io/", "me"), "a.io", "x", "me"},
		{auths("https://a.io", "url", "a.io", "plain"), "a.io", "x", "plain"},
		{auths("docker.io", "me"), "docker.io", "library/x", "me"},
		{auths("docker.io", "me"), "registry-1.docker.io", "library/x", "me"},
		{auths("index.docker.io", "me"), "docker.io", "library/x", "me"},
		{auths("registry-1.docker.io", "me"), "index.docker.io", "library/x", "me"},
		{auths("https://index.docker.io/v1/", "me"), "docker.io", "library/x", "me"},
		{auths("https://index.docker.io/v1/access-token", "no"), "docker.io", "library/x", ""},
		{auths("index.docker.io/v1/", "me"), "docker.io", "library/x", "me"},
		{auths("docker.io/org", "ns", "docker.io", "host"), "docker.io", "org/x", "ns"},
		{`{"auths":{"a.io":{"username":"me","password":"pw-me"}}}`, "a.io", "", "me"},
		{`{"auths":{"a.io":{"username":"old","password":"x","auth":"bWU6cHctbWU="}}}`, "a.io", "", "me"},
		{`{"auths":{"a.io":{"auth":"bWU6cHctbWUAAAA="}}}`, "a.io", "", "me"},
		{`{"auths":{"a.io":{"auth":"bWU6cHctbWU"}}}`, "a.io", "", "me"},
		{`{"auths":{"a.io":{"auth":" bWU6cHctbWU=\n"}}}`, "a.io", "", "me"},
		{`{"auths":{"a.io/x":{},"a.io":{"auth":"bWU6cHctbWU="}}}`, "a.io", "x", "me"},
		{"\xef\xbb\xbf" + auths("a.io", "me"), "a.io", "", "me"},
		{`{"auths":null,"credHelpers":null}`, "a.io", "", ""},
		{"", "a.io", "", ""},
		{" \n", "a.io", "", ""},
		{"null", "a.io", "", ""},
	} {
		b := newBench(t, map[string]string{"docker/config.json": tt.file})
		want := transport.Credential{}
		if tt.want != "" {
			want = user(tt.want)
		}
		if got, err := b.Lookup(t.Context(), tt.host, tt.repo); err != nil || got != want {
			t.Errorf("%s: Lookup(%s, %s) = %+v, %v; want %s", tt.file, tt.host, tt.repo, got, err, tt.want)
		}
	}
}

func TestLookupTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"docker/config.json": `{"auths":{
		"id.io":{"auth":"bWU6","identitytoken":"refresh"},
		"reg.io":{"registrytoken":"bearer"}}}`})
	for host, want := range map[string]transport.Credential{
		"id.io":  {Username: "me", IdentityToken: "refresh"},
		"reg.io": {RegistryToken: "bearer"},
	} {
		if got, err := b.Lookup(t.Context(), host, ""); err != nil || got != want {
			t.Errorf("%s: %+v, %v", host, got, err)
		}
	}
}

func TestLookupOrder(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"run/auth.json":      auths("run.io", "run", "all.io", "run"),
		"user/auth.json":     auths("user.io", "user", "all.io", "user"),
		"docker/config.json": auths("docker.io", "docker", "all.io", "docker"),
		".dockercfg":         `{"legacy.io":{"auth":"bWU6cHctbWU=","email":"x"},"all.io":{"auth":"bWU6cHctbWU="}}`,
		"flag.json":          auths("all.io", "flag"),
		"env.json":           auths("all.io", "env"),
	}
	for _, tt := range []struct {
		flag, env, host, want string
	}{
		{"", "", "all.io", "run"},
		{"", "", "run.io", "run"},
		{"", "", "user.io", "user"},
		{"", "", "docker.io", "docker"},
		{"", "", "legacy.io", "me"},
		{"flag.json", "env.json", "all.io", "flag"},
		{"flag.json", "", "user.io", ""},
		{"", "env.json", "all.io", "env"},
		{"", "env.json", "user.io", ""},
		{"", "missing.json", "all.io", ""},
	} {
		b := newBench(t, files, func(p *credential.Paths, _ *credential.Options) {
			dir := filepath.Dir(p.DockerLegacy)
			if tt.flag != "" {
				p.AuthFile = filepath.Join(dir, tt.flag)
			}
			if tt.env != "" {
				p.EnvAuthFile = filepath.Join(dir, tt.env)
			}
		})
		got, err := b.Lookup(t.Context(), tt.host, "x")
		if err != nil || got.Username != tt.want {
			t.Errorf("%+v: %+v, %v", tt, got, err)
		}
	}
	b := newBench(t, files, func(p *credential.Paths, _ *credential.Options) { p.AuthFile = "missing.json" })
	if _, err := b.Lookup(t.Context(), "all.io", ""); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "missing.json") {
		t.Errorf("missing --authfile: %v, want ErrInvalid", err)
	}
}

// TestLookupSeesChanges: a file that another program has written in between.
func TestLookupSeesChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"docker/config.json": auths("a.io", "me")})
	for _, name := range []string{"me", "somebody-else"} { // another length, whatever the clock of the file system
		put(t, b.path("docker/config.json"), auths("a.io", name))
		if got, err := b.Lookup(t.Context(), "a.io", ""); err != nil || got != user(name) {
			t.Errorf("Lookup = %+v, %v; want %s", got, err, name)
		}
	}
}

func TestBad_002_Host(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"docker/config.json": `{"credsStore":"token"}`})
	for _, host := range []string{"", "a\nb", "a.io\n", "a\x00", "a\r", "a%2fb", "a?b", "a#b", "u:p@a.io", "a/b", `a\b`, "a b", "-a", "ä.io", "https://a.io", strings.Repeat("a", 256)} {
		_, errs := b.Lookup(t.Context(), host, "x")
		for _, err := range []error{errs, b.Save(t.Context(), host, user("me")), b.Erase(t.Context(), host)} {
			if !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%q: %v, want ErrInvalid", host, err)
			}
		}
	}
	if log := b.read(t, "log"); log != "" {
		t.Errorf("a helper was asked %q", log)
	}
}

func TestBad_092_Config(t *testing.T) {
	t.Parallel()
	secret := base64.StdEncoding.EncodeToString([]byte("s3cret-without-colon"))
	for _, tt := range []struct{ text, want string }{
		{"{\n\"auths\": {,}}", "line 2: not valid JSON"},
		{"{\n\n\"auths\":", "line 3: not valid JSON"},
		{"[]", "line 1: not a JSON object"},
		{"{}{}", "not valid JSON"},
		{"{\n\"auths\":\n[]}", "line 3: auths is not an object"},
		{"{\n\"credHelpers\": 1}", "line 2: credHelpers is not an object"},
		{"{\"credsStore\": {}}", "line 1: credsStore is not a string"},
		{"{\"credHelpers\": {\n\"a.io\": 1}}", "line 2: the helper of \"a.io\""},
		{"{\"auths\": {\n\"a.io\":\n {\"auth\": 1}}}", "line 3: the entry of \"a.io\""},
		{"{\"auths\": {\n\"a.io\": {\"auth\": \"%%s3cret\"}}}", "line 2: auth of \"a.io\""},
		{"{\"auths\": {\n\"a.io\": {\"auth\": \"" + secret + "\"}}}", "line 2: auth of \"a.io\""},
		{`{"x":"` + strings.Repeat("x", 4<<20) + `"}`, "more than 4194304 bytes"},
		{strings.Repeat("[", 100_000), "not valid JSON"},
	} {
		b := newBench(t, map[string]string{"docker/config.json": tt.text})
		_, err := b.Lookup(t.Context(), "a.io", "x")
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%.60q: %v, want ErrInvalid with %q and the file", tt.text, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), secret)) {
			t.Errorf("%.60q: the error shows the secret: %v", tt.text, err)
		}
	}
	// An entry of another host does no harm.
	b := newBench(t, map[string]string{"docker/config.json": `{"auths":{"b.io":{"auth":"%"},"a.io":{"auth":"bWU6cHctbWU="}}}`})
	if got, err := b.Lookup(t.Context(), "a.io", ""); err != nil || got != user("me") {
		t.Errorf("Lookup = %+v, %v", got, err)
	}
}

func TestBad_092_WorldReadable(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	for text, want := range map[string]bool{auths("a.io", "me"): true, `{"auths":{"a.io":{}},"credsStore":"none"}`: false} {
		b := newBench(t, map[string]string{"docker/config.json": text})
		if err := os.Chmod(b.path("docker/config.json"), 0o644); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := b.Lookup(t.Context(), "a.io", ""); err != nil {
				t.Fatal(err)
			}
		}
		if w := b.warned(); strings.Count(w, "chmod 600") != map[bool]int{true: 1}[want] {
			t.Errorf("%s: warned %q, want %v", text, w, want)
		}
	}
}

func TestBad_093_Scope(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ key, host, repo string }{
		{"quay.io/org", "quay.io", "org-evil/app"},
		{"quay.io/org", "quay.io", "orgevil"},
		{"quay.io/org/app", "quay.io", "org"},
		{"quay.io/org", "quay.io", ""},
		{"quay.io/org", "quay.io.evil.com", "org/app"},
		{"registry.io", "registry.io.evil.com", "x"},
		{"registry.io", "registry.io:5000", "x"},
		{"registry.io:5000", "registry.io", "x"},
		{"registry.io:5000", "registry.io:50001", "x"},
		{"registry.io", "my-registry.io", "x"},
		{"registry.io", "sub.registry.io", "x"},
		{"https://registry.io/v1/", "registry.io.evil.com", "x"},
		{"https://registry.io@evil.com/", "evil.com", "x"},
		{"https://quay.io/org", "quay.io", "other/app"},
		{"docker.io", "evil.docker.io", "x"},
		{"docker.io", "auth.docker.io", "x"},
		{"docker.io", "docker.io.evil.com", "x"},
		{"docker.io", "docker.io:5000", "x"},
		{"hub.docker.com", "docker.io", "x"},
		{"*.io", "a.io", "x"},
	} {
		b := newBench(t, map[string]string{"docker/config.json": auths(tt.key, "me")})
		if got, err := b.Lookup(t.Context(), tt.host, tt.repo); err != nil || got != (transport.Credential{}) {
			t.Errorf("the key %s serves %s/%s: %+v, %v", tt.key, tt.host, tt.repo, got, err)
		}
	}
}

func TestDefaultPaths(t *testing.T) {
	t.Parallel()
	if filepath.Separator != '/' {
		t.Skip("paths with slashes")
	}
	for _, tt := range []struct {
		env  map[string]string
		goos string
		want credential.Paths
	}{
		{map[string]string{"HOME": "/h"}, "linux", credential.Paths{RuntimeAuth: "/run/containers/7/auth.json", UserAuth: "/h/.config/containers/auth.json", DockerConfig: "/h/.docker/config.json", DockerLegacy: "/h/.dockercfg"}},
		{map[string]string{"HOME": "/h"}, "darwin", credential.Paths{UserAuth: "/h/.config/containers/auth.json", DockerConfig: "/h/.docker/config.json", DockerLegacy: "/h/.dockercfg"}},
		{map[string]string{"XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/x", "DOCKER_CONFIG": "/d", "REGISTRY_AUTH_FILE": "/e"}, "linux",
			credential.Paths{EnvAuthFile: "/e", RuntimeAuth: "/r/containers/auth.json", UserAuth: "/x/containers/auth.json", DockerConfig: "/d/config.json"}},
		{nil, "windows", credential.Paths{}},
	} {
		if got := credential.DefaultPaths(func(k string) string { return tt.env[k] }, 7, tt.goos); got != tt.want {
			t.Errorf("%s %v: %+v", tt.goos, tt.env, got)
		}
	}
}
