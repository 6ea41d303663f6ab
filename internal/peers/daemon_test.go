// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// A dockerEngine is one of the test's own.
type dockerEngine struct {
	t           *testing.T
	sock        string
	docker, env string
}

func newDockerEngine(t *testing.T) dockerEngine {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		missing(t, "a Docker engine needs root on Linux")
	}
	dockerd := need(t, "dockerd")
	dir, err := os.MkdirTemp("", "dray-docker-") // short: the socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := dockerEngine{t: t, sock: dir + "/sock", docker: need(t, "docker"), env: need(t, "env")}
	start(t, dockerd, "--iptables=false", "--ip6tables=false", "--bridge=none", "-H", "unix://"+e.sock,
		"--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid")
	wait(t, "dockerd", func() bool { _, _, err := try(t, e.docker, "-H", "unix://"+e.sock, "version"); return err == nil })
	return e
}

func (e dockerEngine) run(args ...string) string {
	e.t.Helper()
	return command(e.t, e.docker, append([]string{"-H", "unix://" + e.sock}, args...)...)
}

// dray runs dray with the engine behind the host.
func (e dockerEngine) dray(host string, args ...string) (string, string, error) {
	e.t.Helper()
	out, errOut, err := try(e.t, e.env, append([]string{"DOCKER_HOST=" + host, drayBin}, args...)...)
	return strings.TrimSpace(out), errOut, err
}

// counting forwards a socket and counts what goes to the engine.
func (e dockerEngine) counting() (host string, sent *atomic.Int64) {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { l.Close() })
	sent = &atomic.Int64{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", e.sock)
			if err != nil {
				in.Close()
				return
			}
			go func() {
				_, _ = io.Copy(out, io.TeeReader(in, countWriter{sent}))
				out.Close()
			}()
			go func() {
				_, _ = io.Copy(in, out)
				in.Close()
			}()
		}
	}()
	return "tcp://" + l.Addr().String(), sent
}

type countWriter struct{ n *atomic.Int64 }

func (c countWriter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// What dray loads into a Docker engine runs, comes back the same, and is not
// sent twice.
func TestDockerDaemon(t *testing.T) {
	t.Parallel()
	e := newDockerEngine(t)
	host, sent := e.counting()
	src := hello(t)
	image := strings.TrimSuffix(src, ":1.0") + "@" + dray(t, "digest", "--platform=linux/"+runtime.GOARCH, src)
	must := func(args ...string) string {
		t.Helper()
		out, errOut, err := e.dray(host, args...)
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, errOut)
		}
		return out
	}
	must("copy", image, "docker-daemon:team/hello:1")
	first := sent.Swap(0)
	if out := e.run("run", "--rm", "--network=host", "team/hello:1", "you"); !strings.Contains(out, "hello, you, from linux/") {
		t.Errorf("docker run prints %q", out)
	}
	must("copy", image, "docker-daemon:team/hello:2") // another name, the same layers
	again := sent.Swap(0)
	t.Logf("the first copy sent %d bytes, the second %d", first, again)
	if again > 64<<10 || first < 500<<10 {
		t.Errorf("the second copy sent %d bytes, the first %d", again, first)
	}
	if out := e.run("run", "--rm", "--network=host", "team/hello:2", "two"); !strings.Contains(out, "hello, two") {
		t.Errorf("docker run prints %q", out)
	}
	e.run("rmi", "team/hello:1", "team/hello:2")
	must("copy", image, "docker-daemon:team/hello:3") // nothing is there any more
	if third := sent.Swap(0); third < first/2 {
		t.Errorf("the copy after the images were removed sent %d bytes", third)
	}
	config := must("config", image)
	layout := "oci:" + filepath.Join(t.TempDir(), "back")
	id := e.run("image", "inspect", "-f", "{{.Id}}", "team/hello:3")
	for i, ref := range []string{"team/hello:3", id, strings.TrimPrefix(id, "sha256:")[:12]} {
		to := layout + ":" + string(rune('a'+i))
		must("copy", "docker-daemon:"+ref, to)
		if got := must("config", to); got != config {
			t.Errorf("%s: the config came back as %s, want %s", ref, got, config)
		}
	}
	for _, c := range []struct {
		code int
		text string
		args []string
	}{
		{3, "no such image", []string{"digest", "docker-daemon:none:1"}},
		{1, "--platform", []string{"copy", src, "docker-daemon:team/index:1"}},
	} {
		_, errOut, err := e.dray(host, c.args...)
		if exitCode(err) != c.code || !strings.Contains(errOut, c.text) {
			t.Errorf("%v: %v: %s", c.args, err, errOut)
		}
	}
	_, errOut, err := e.dray("unix:///nowhere/sock", "digest", "docker-daemon:none:1")
	if exitCode(err) != 7 || !strings.Contains(errOut, "unix:///nowhere/sock") {
		t.Errorf("no engine: %v: %s", err, errOut)
	}
}
