// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// drayBin is the command, built once from this tree.
var drayBin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "dray-peers-*")
	if err != nil {
		panic(err)
	}
	drayBin = filepath.Join(dir, "dray")
	build := exec.Command("go", "build", "-o", drayBin, "../../cmd/dray")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build dray: %v: %s\n", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// need finds a program, or skips the test by its name; where all of them must
// be there the test fails.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		home, _ := os.UserHomeDir()
		path = filepath.Join(home, "go", "bin", name)
		if _, err = os.Stat(path); err != nil {
			missing(t, name+" is not installed (make test-deps)")
		}
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("DRAY_TEST_REQUIRE") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// command runs a program with a home of its own and returns its stdout.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, errOut, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, errOut)
	}
	return strings.TrimSpace(out)
}

func try(t *testing.T, name string, args ...string) (out, errOut string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env(t)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// env is the environment of a stranger: nothing configured, nothing cached.
func env(t *testing.T) []string {
	home := filepath.Join(os.TempDir(), "dray-peers-home-"+strings.ReplaceAll(t.Name(), "/", "-"))
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home, "DRAY_CACHE=" + filepath.Join(home, "cache"),
		"OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none", "REGCTL_CONFIG=" + filepath.Join(home, "regctl.json")}
}

// dray runs the command and returns what it prints.
func dray(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, drayBin, args...)
}

// exitCode is that of an error of try.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// start runs a server until the test ends, and stops it by its process id.
func start(t *testing.T, name string, args ...string) *bytes.Buffer {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = env(t)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(name), lastLines(log.String()))
		}
	})
	return &log
}

func lastLines(s string) string { return s[max(0, len(s)-3000):] }

// freePort finds a port of the loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// wait polls until something answers; a server that does not come up fails the
// test.
func wait(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		if ready() {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not come up", what)
}

func answers(addr string) bool {
	resp, err := http.Get("http://" + addr + "/v2/")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// distribution starts the distribution project's registry and returns its
// address.
func distribution(t *testing.T) string {
	t.Helper()
	bin := need(t, "registry")
	dir, addr := t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s/data}, delete: {enabled: true}, maintenance: {uploadpurging: {enabled: false}}}
http: {addr: "%s"}
validation: {manifests: {urls: {allow: ["^https?://"]}}}
`, dir, addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, bin, "serve", conf)
	wait(t, "registry", func() bool { return answers(addr) })
	return addr
}

// served starts `dray serve` over a directory and returns its address.
func served(t *testing.T) string {
	t.Helper()
	addr := freePort(t)
	start(t, drayBin, "serve", filepath.Join(t.TempDir(), "images"), "--addr", addr)
	wait(t, "dray serve", func() bool { return answers(addr) })
	return addr
}

// engine starts a Docker engine of the test's own and returns a function that
// runs docker against it.
func engine(t *testing.T) func(args ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		missing(t, "a Docker engine needs root on Linux")
	}
	dockerd, docker := need(t, "dockerd"), need(t, "docker")
	dir, err := os.MkdirTemp("", "dray-docker-") // short: the socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock := "unix://" + dir + "/sock"
	start(t, dockerd, "--iptables=false", "--ip6tables=false", "--bridge=none", "-H", sock,
		"--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid")
	wait(t, "dockerd", func() bool { _, _, err := try(t, docker, "-H", sock, "version"); return err == nil })
	return func(args ...string) string {
		t.Helper()
		return command(t, docker, append([]string{"-H", sock}, args...)...)
	}
}

// hello makes the demo's images, real programs for three platforms, in a
// layout; it returns a reference to the index.
func hello(t *testing.T) string {
	t.Helper()
	name := "oci:" + filepath.Join(t.TempDir(), "hello") + ":1.0"
	cmd := exec.Command(drayBin, "build", "go", "../../internal/demo/hello", "--from", "scratch",
		"--platform", "linux/amd64,linux/arm64,windows/amd64", "--sbom", "none", "--provenance=false", "-t", name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "DRAY_CACHE="+t.TempDir()) // with Go's cache of who runs the test
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}
