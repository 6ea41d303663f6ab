// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/credential"
	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

// The test program is also every helper: under the name
// docker-credential-X it behaves as X says.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"), "docker-credential-"); ok {
		os.Exit(helperMain(name, os.Args[1]))
	}
	os.Exit(m.Run())
}

func helperMain(name, verb string) int {
	in, _ := io.ReadAll(os.Stdin)
	if dir := os.Getenv("HELPER_DIR"); dir != "" {
		log, _ := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		fmt.Fprintln(log, name, verb, strings.ReplaceAll(string(in), "\n", `\n`))
		log.Close()
	}
	switch name {
	case "keep":
		return keep(verb, in)
	case "token":
		fmt.Print(`{"ServerURL":"x","Username":"<token>","Secret":"refresh"}`)
	case "none":
		fmt.Println("credentials not found in native keychain")
		return 1
	case "empty":
		fmt.Print(`{}`)
	case "fails":
		fmt.Fprintln(os.Stderr, "\x1b[31mkeychain is locked\nsecond line")
		return 7
	case "badjson":
		fmt.Print("<html>s3cret")
	case "huge":
		for {
			if _, err := fmt.Print(strings.Repeat("x", 1<<16)); err != nil {
				return 0
			}
		}
	case "noisy":
		fmt.Fprint(os.Stderr, strings.Repeat("y", 1<<20))
		fmt.Print(`{"Username":"u","Secret":"p"}`)
	case "hang": // with a child that holds the pipes, too
		child := exec.Command(os.Args[0], "get")
		child.Args[0] = strings.Replace(child.Args[0], "-hang", "-child", 1)
		child.Stdin, child.Stdout = os.Stdin, os.Stdout
		if fifo, err := os.OpenFile(os.Getenv("FIFO"), os.O_WRONLY, 0); err == nil {
			child.ExtraFiles = []*os.File{fifo}
		}
		_ = child.Run()
	case "child":
		time.Sleep(10 * time.Minute)
	}
	return 0
}

func keep(verb string, in []byte) int {
	dir := os.Getenv("HELPER_DIR")
	var w struct{ ServerURL string }
	if verb != "store" || json.Unmarshal(in, &w) != nil {
		w.ServerURL = string(in)
	}
	path := filepath.Join(dir, url.PathEscape(w.ServerURL)+".kept")
	switch verb {
	case "store":
		_ = os.WriteFile(path, in, 0o600)
	case "erase":
		_ = os.Remove(path)
	default:
		raw, err := os.ReadFile(path)
		if err != nil {
			fmt.Println("credentials not found in native keychain")
			return 1
		}
		os.Stdout.Write(raw)
	}
	return 0
}

// bench is a store over files in a directory, with helpers.
type bench struct {
	*credential.Store
	dir   string
	paths credential.Paths
	warns chan string
}

func newBench(t testing.TB, files map[string]string, change ...func(*credential.Paths, *credential.Options)) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{dir: dir, warns: make(chan string, 100)}
	for name, text := range files {
		put(t, filepath.Join(dir, filepath.FromSlash(name)), text)
	}
	b.paths = credential.Paths{RuntimeAuth: b.path("run/auth.json"), UserAuth: b.path("user/auth.json"),
		DockerConfig: b.path("docker/config.json"), DockerLegacy: b.path(".dockercfg")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts := credential.Options{
		Warn: func(s string) { b.warns <- s },
		Env: append(os.Environ(), "HELPER_DIR="+dir, "FIFO="+filepath.Join(dir, "fifo"),
			"GORACE=atexit_sleep_ms=0"), // else every helper takes a second to end
		LookPath: func(file string) (string, error) {
			if strings.HasSuffix(file, "-missing") {
				return "", exec.ErrNotFound
			}
			link := filepath.Join(dir, file)
			if runtime.GOOS == "windows" {
				link += ".exe"
			}
			if err := os.Symlink(self, link); err != nil && !errors.Is(err, os.ErrExist) {
				t.Skip("symbolic links are needed:", err)
			}
			return link, nil
		},
	}
	for _, f := range change {
		f(&b.paths, &opts)
	}
	b.Store = credential.Open(b.paths, opts)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

func (b *bench) warned() string {
	var out []string
	for len(b.warns) > 0 {
		out = append(out, <-b.warns)
	}
	return strings.Join(out, "\n")
}

func (b *bench) read(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(b.path(name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(raw)
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func user(name string) transport.Credential {
	return transport.Credential{Username: name, Password: "pw-" + name}
}

func TestHelpers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		config, host string
		want         transport.Credential
		log          string // what the helpers were asked
	}{
		{`{"credHelpers":{"a.io":"token"}}`, "a.io", transport.Credential{IdentityToken: "refresh"}, "token get a.io\n"},
		{`{"credsStore":"token"}`, "a.io:5000", transport.Credential{IdentityToken: "refresh"}, "token get a.io:5000\n"},
		{`{"credsStore":"token"}`, "docker.io", transport.Credential{IdentityToken: "refresh"}, "token get https://index.docker.io/v1/\n"},
		{`{"credHelpers":{"docker.io":"token"}}`, "index.docker.io", transport.Credential{IdentityToken: "refresh"}, "token get docker.io\n"},
		{`{"credHelpers":{"a\nb.io":"token","a.io":"empty"}}`, "a.io", transport.Credential{}, "empty get a.io\n"},
		{`{"credHelpers":{"a.io":"none"},"credsStore":"token"}`, "a.io", transport.Credential{}, "none get a.io\n"},
		{`{"credHelpers":{"a.io":""},"credsStore":"none"}`, "a.io", transport.Credential{}, "none get a.io\n"},
		{`{"credHelpers":{"a.io":"none"},"auths":{"a.io":{"auth":"bWU6cHctbWU="}}}`, "a.io", user("me"), "none get a.io\n"},
		{`{"credsStore":"token","auths":{"a.io":{"auth":"bWU6cHctbWU="}}}`, "a.io", user("me"), ""},
		{`{"credsStore":"token","auths":{"a.io":{}}}`, "a.io", transport.Credential{IdentityToken: "refresh"}, "token get a.io\n"},
		{`{"credHelpers":{"b.io":"token"}}`, "a.io", transport.Credential{}, ""},
	} {
		b := newBench(t, map[string]string{"docker/config.json": tt.config})
		for range 2 { // the second is answered from memory
			got, err := b.Lookup(t.Context(), tt.host, "x/y")
			if err != nil || got != tt.want {
				t.Errorf("%s, %s: %+v, %v", tt.config, tt.host, got, err)
			}
		}
		if log := b.read(t, "log"); log != tt.log {
			t.Errorf("%s, %s: the helpers were asked %q, want %q", tt.config, tt.host, log, tt.log)
		}
		if w := b.warned() + b.LastProblem(tt.host); w != "" {
			t.Errorf("%s, %s: warned of %s", tt.config, tt.host, w)
		}
	}
}

// TestHelperAnswerGrowsOld: an answer is kept for a while, not for ever.
func TestHelperAnswerGrowsOld(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	b := newBench(t, map[string]string{"docker/config.json": `{"credsStore":"token"}`}, func(_ *credential.Paths, o *credential.Options) {
		o.Now = func() time.Time { return now }
	})
	for _, step := range []time.Duration{0, 4 * time.Minute, time.Minute, time.Minute} {
		now = now.Add(step)
		if _, err := b.Lookup(t.Context(), "a.io", ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(b.read(t, "log"), "\n"); n != 2 {
		t.Errorf("the helper was asked %d times, want 2", n)
	}
}

// TestBad_091_Helper: whatever a helper does, the lookup ends, public pulls go
// on, and the reason is known.
func TestBad_091_Helper(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, want string }{
		{"missing", "not found in PATH"},
		{"fails", `keychain is locked`},
		{"badjson", "not a JSON object"},
		{"huge", "more than 65536 bytes"},
		{"hang", "no answer within"},
		{"../../bin/evil", "plain file name"},
		{"a b", "plain file name"},
		{"x\ny", "plain file name"},
		{`..\evil`, "plain file name"},
		{".", "plain file name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name, _ := json.Marshal(tt.name)
			b := newBench(t, map[string]string{"docker/config.json": `{"credHelpers":{"a.io":` + string(name) + `}}`},
				func(_ *credential.Paths, o *credential.Options) {
					if tt.name == "hang" {
						o.HelperTimeout = 300 * time.Millisecond
					}
				})
			got, err := b.Lookup(t.Context(), "a.io", "x")
			if err != nil || got != (transport.Credential{}) {
				t.Fatalf("Lookup = %+v, %v; want nothing", got, err)
			}
			w, p := b.warned(), b.LastProblem("a.io")
			if w != p || !strings.Contains(p, tt.want) || !strings.Contains(p, "docker-credential-") {
				t.Errorf("warned %q, problem %q; want %q", w, p, tt.want)
			}
			if strings.ContainsAny(p, "\x1b\n") || strings.Contains(p, "s3cret") {
				t.Errorf("problem %q shows what the helper wrote as it is", p)
			}
			if p := b.LastProblem("b.io"); p != "" {
				t.Errorf("another host has the problem %q", p)
			}
		})
	}
	b := newBench(t, map[string]string{"docker/config.json": `{"credsStore":"noisy"}`})
	if got, err := b.Lookup(t.Context(), "a.io", ""); err != nil || got.Password != "p" || b.warned() != "" {
		t.Errorf("a helper that writes to stderr: %+v, %v", got, err)
	}
}

// TestBad_091_FailingHelperFallsThrough: another file still counts.
func TestBad_091_FailingHelperFallsThrough(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{
		"user/auth.json":     `{"credHelpers":{"a.io":"missing"}}`,
		"docker/config.json": `{"auths":{"a.io":{"auth":"bWU6cHctbWU="}}}`,
	})
	if got, err := b.Lookup(t.Context(), "a.io", ""); err != nil || got != user("me") {
		t.Errorf("Lookup = %+v, %v", got, err)
	}
}

func TestHelperEndsWithContext(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"docker/config.json": `{"credsStore":"hang"}`})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := b.Lookup(ctx, "a.io", ""); err == nil || err.Error() != "enough" {
		t.Errorf("Lookup = %v, want the cause of the context", err)
	}
	if w := b.warned(); w != "" {
		t.Errorf("warned of %s", w)
	}
}

func TestSaveWithHelper(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ config, host, after string }{
		{`{"credsStore":"keep"}`, "a.io", "{\n\t\"auths\": {\n\t\t\"a.io\": {}\n\t},\n\t\"credsStore\": \"keep\"\n}"},
		{`{"credHelpers":{"docker.io":"keep"},"auths":{"docker.io":{"auth":"bWU6cHctbWU="}}}`, "docker.io",
			"{\n\t\"credHelpers\": {\n\t\t\"docker.io\": \"keep\"\n\t},\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {}\n\t}\n}"},
	} {
		b := newBench(t, map[string]string{"docker/config.json": tt.config})
		for _, c := range []transport.Credential{user("you"), {IdentityToken: "refresh"}} {
			if err := b.Save(t.Context(), tt.host, c); err != nil {
				t.Fatal(err)
			}
			if got, err := b.Lookup(t.Context(), tt.host, ""); err != nil || got != c {
				t.Errorf("Lookup = %+v, %v; want %+v", got, err, c)
			}
		}
		if got := b.read(t, "docker/config.json"); got != tt.after {
			t.Errorf("the file is\n%s\nwant\n%s", got, tt.after)
		}
		if err := b.Save(t.Context(), tt.host, transport.Credential{RegistryToken: "t"}); !errors.Is(err, oci.ErrUnsupported) {
			t.Errorf("Save of a registry token = %v, want ErrUnsupported", err)
		}
		if err := b.Erase(t.Context(), tt.host); err != nil {
			t.Error(err)
		}
		if got, err := b.Lookup(t.Context(), tt.host, ""); err != nil || got != (transport.Credential{}) {
			t.Errorf("after Erase: %+v, %v", got, err)
		}
		if err := b.Erase(t.Context(), tt.host); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("second Erase = %v, want ErrNotFound", err)
		}
	}
	b := newBench(t, map[string]string{"docker/config.json": `{"credsStore":"fails"}`})
	if err := b.Save(t.Context(), "a.io", user("me")); !errors.Is(err, oci.ErrUnauthorized) || strings.Contains(b.read(t, "docker/config.json"), "auth") {
		t.Errorf("Save with a helper that fails = %v, want ErrUnauthorized and nothing written", err)
	}
}
