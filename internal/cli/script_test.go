// SPDX-License-Identifier: Apache-2.0

// The scripts in testdata/script are the manual and the test of the command:
// each begins with the prose of a manual page and goes on with commands that
// must do what it says. Beside testscript's own commands they have those of
// the table below.
package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dray-tools/dray/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dray": func() { os.Exit(drayMain()) }, "kubectl": func() { os.Exit(kubectlMain()) }})
}

// TestScript runs the manual, and renders the cookbook from what it said.
func TestScript(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	t.Cleanup(func() { cookbook(t, root) })
	testscript.Run(t, params(testscript.Params{Dir: filepath.Join("testdata", "script"), WorkdirRoot: root}))
}

// params adds the commands of the scripts, and a world of its own for each. None may
// have the name of one of testscript's own, which would run instead.
func params(p testscript.Params) testscript.Params {
	p.RequireUniqueNames = true
	p.Setup = func(e *testscript.Env) error {
		for name, dir := range map[string]string{"HOME": "home", "USERPROFILE": "home", "DRAY_CACHE": "home/cache",
			"DOCKER_CONFIG": "home/.docker", "XDG_CONFIG_HOME": "home/.config", "XDG_RUNTIME_DIR": "home/run",
			"CONTAINERS_REGISTRIES_CONF": "home/registries.conf", transcriptEnv: ".transcript"} {
			e.Setenv(name, filepath.Join(e.WorkDir, filepath.FromSlash(dir)))
		}
		e.Setenv("NL", "\n")
		e.Setenv("GOCACHE", goCache())                               // so that not every script compiles the standard library
		e.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // a second for each of many processes
		e.Values[worldKey{}] = &world{running: map[string]*running{}, hangs: map[string]<-chan struct{}{}, begun: map[string]*background{}}
		for _, dir := range []string{".docker", ".config", "run"} {
			if err := os.MkdirAll(filepath.Join(e.WorkDir, "home", dir), 0o700); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(e.WorkDir, "home", "registries.conf"), nil, 0o600)
	}
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "var": setVar, "subst": subst, "interrupt": interrupt,
		"registry": startRegistry, "halt": stopRegistry, "odd": startOdd,
		"mkimage": mkImage, "mklayers": mkLayers, "mkindex": mkIndex, "mkartifact": mkArtifact,
		"begin": begin, "await": await, "end": end,
		"mkprogram": mkProgram, "mkjar": mkJar,
		"htpasswd": mkHtpasswd, "certificate": mkCertificate, "helper": mkHelper,
	}
	return p
}

// A world is what the commands of one script share.
type world struct {
	running map[string]*running
	begun   map[string]*background
	hangs   map[string]<-chan struct{} // signalled by "odd NAME hang" when a request hangs
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

const transcriptEnv = "DRAY_TEST_TRANSCRIPT"

// A record is one run of dray in a transcript: what the documentation shows.
type record struct {
	Args []string
	Out  string // both streams, as a terminal shows them
	Code int
}

// drayMain is the command, which also writes down what it did.
func drayMain() int {
	w, out := cli.System(), &lockedBuffer{}
	w.Out, w.Err = io.MultiWriter(w.Out, out), io.MultiWriter(w.Err, out)
	code := cli.Main(os.Args[1:], w)
	path := os.Getenv(transcriptEnv)
	if path == "" {
		return code
	}
	line, err := json.Marshal(record{os.Args[1:], out.b.String(), code})
	if err == nil {
		err = appendTo(path, append(line, '\n'))
	}
	if err != nil {
		panic(err)
	}
	return code
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func appendTo(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

// exits CODE command args...: the command must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// var NAME: sets a variable to what stdout was.
func setVar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: var NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// subst file...: replaces $NAME in files.
func subst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: subst file...")
	}
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// interrupt NAME CODE command args...: starts the command, waits until a
// request hangs at the odd registry NAME, interrupts the command and compares
// its exit code.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interrupt NAME CODE command args...")
	}
	cmd := command(ts, args[2], args[3:]...)
	var out, errs bytes.Buffer
	hung := worldOf(ts).hangs[args[0]]
	for len(hung) > 0 { // of commands before
		<-hung
	}
	cmd.Stdout, cmd.Stderr = &out, &errs
	ts.Check(cmd.Start())
	<-hung
	ts.Check(cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	_, err := ts.Stdout().Write(out.Bytes())
	ts.Check(err)
	_, err = ts.Stderr().Write(errs.Bytes())
	ts.Check(err)
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit code %s, want %s\n%s", got, args[1], errs.String())
	}
}

// command is a process in the environment of a script.
func command(ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	path := name
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		for _, ext := range []string{"", ".exe"} {
			if fi, err := os.Stat(filepath.Join(dir, name+ext)); err == nil && !fi.IsDir() && path == name {
				path = filepath.Join(dir, name+ext)
			}
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH")}
	for _, v := range []string{"HOME", "USERPROFILE", "DRAY_CACHE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "CONTAINERS_REGISTRIES_CONF",
		"TMPDIR", "GOCOVERDIR", "GORACE", "SystemRoot"} {
		if s := ts.Getenv(v); s != "" {
			cmd.Env = append(cmd.Env, v+"="+s)
		}
	}
	return cmd
}
