// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/dray-tools/dray/oci"
)

// A tool runs the go command, and not too often at a time.
type tool struct {
	name   string
	env    []string
	slots  chan struct{}
	mu     sync.Mutex // of stderr
	stderr io.Writer
	begin  func(what string) (end func()) // Options.Compiling
}

func newTool(o Options) *tool {
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	// What the user has set comes later, and counts.
	env := append([]string{"CGO_ENABLED=0"}, (&exec.Cmd{}).Environ()...)
	return &tool{name: cmp.Or(o.Go, "go"), env: append(env, o.Env...), slots: make(chan struct{}, jobs), stderr: o.Stderr, begin: o.Compiling}
}

// environment is that of a program: the user's, with more.
func (t *tool) environment(more ...string) []string {
	return append(t.env[:len(t.env):len(t.env)], more...)
}

// run runs the go command and returns what it prints. What it says beside that is
// shown if it fails.
func (t *tool) run(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	return t.show(ctx, "", dir, env, args...)
}

// show runs the go command as run does, and tells the user meanwhile what it does;
// "": not.
func (t *tool) show(ctx context.Context, what, dir string, env []string, args ...string) ([]byte, error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if what != "" && t.begin != nil {
		defer t.begin(what)()
	}
	out, said, err := command(ctx, dir, t.environment(env...), t.name, args...)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return nil, oci.Errorf(oci.ErrNotFound, "%s is not on PATH: programs are compiled with the user's own Go", oci.Quote(t.name))
	case err != nil:
		t.say(said)
		return nil, oci.Wrap("", "go "+args[0], err)
	}
	return out, nil
}

// say shows what a command said, in one piece.
func (t *tool) say(text []byte) {
	if t.stderr == nil || len(text) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.stderr.Write(append(bytes.TrimRight(text, "\n"), '\n')) // an error is on its way already
}

// command runs a command to its end. One that has to end early is interrupted, so
// that it can remove its files.
func command(ctx context.Context, dir string, env []string, name string, args ...string) (out, said []byte, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	cmd.Cancel = func() error {
		if runtime.GOOS == "windows" {
			return cmd.Process.Kill()
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	return o.Bytes(), e.Bytes(), err
}

// variants are the values of go's variables, which it does not always check
// itself (go help environment).
var variants = map[string]*regexp.Regexp{
	"GOAMD64": regexp.MustCompile(`^v[1-4]$`), "GOARM": regexp.MustCompile(`^[5-7]$`), "GOARM64": regexp.MustCompile(`^v(8\.[0-9]|9\.[0-5])$`),
	"GOPPC64": regexp.MustCompile(`^power(8|9|10)$`), "GORISCV64": regexp.MustCompile(`^rva2[0-9]u64$`), "GO386": regexp.MustCompile(`^(sse2|softfloat)$`),
}

// variables are those of the go command that mean a platform.
func variables(p oci.Platform) ([]string, error) {
	p = oci.NormalizePlatform(p)
	env := []string{"GOOS=" + p.OS, "GOARCH=" + p.Architecture}
	if p.Variant == "" {
		return env, nil
	}
	name, value := "", p.Variant
	switch p.Architecture {
	case "amd64":
		name = "GOAMD64"
	case "arm":
		name, value = "GOARM", strings.TrimPrefix(value, "v")
		if value == "8" { // there is no such GOARM
			value = "7"
		}
	case "arm64":
		name = "GOARM64"
		if !strings.Contains(value, ".") {
			value += ".0"
		}
		if !strings.HasPrefix(value, "v") {
			value = "v" + value
		}
	case "ppc64", "ppc64le":
		name = "GOPPC64"
	case "riscv64":
		name = "GORISCV64"
	case "386":
		name = "GO386"
	}
	if variants[name] != nil && variants[name].MatchString(value) {
		return append(env, name+"="+value), nil
	}
	return nil, oci.Errorf(oci.ErrUnsupported, "go has no variant %s of %s", oci.Quote(p.Variant), p.Architecture)
}
