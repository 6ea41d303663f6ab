// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// A background is a command that runs on, with what it says line by line.
type background struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// begin NAME command args...: starts a command that runs on.
func begin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: begin NAME command args...")
	}
	cmd := command(ts, args[1], args[2:]...)
	r, w, err := os.Pipe()
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = w, w
	ts.Check(cmd.Start())
	ts.Check(w.Close())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.Close()
	})
	worldOf(ts).begun[args[0]] = &background{cmd, bufio.NewScanner(r)}
}

// await NAME REGEXP: reads what a command says until a line matches. None
// before it may tell of a change.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME REGEXP")
	}
	b, want := worldOf(ts).begun[args[0]], regexp.MustCompile(args[1])
	for b.lines.Scan() {
		_, err := io.WriteString(ts.Stderr(), b.lines.Text()+"\n")
		ts.Check(err)
		if want.MatchString(b.lines.Text()) {
			return
		}
		if strings.HasPrefix(b.lines.Text(), "changed: ") {
			ts.Fatalf("%s: %s", args[0], b.lines.Text())
		}
	}
	ts.Fatalf("%s ended: %v", args[0], b.lines.Err())
}

// end NAME CODE: interrupts a command, and compares its exit code.
func end(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: end NAME CODE")
	}
	b := worldOf(ts).begun[args[0]]
	ts.Check(b.cmd.Process.Signal(os.Interrupt))
	for b.lines.Scan() {
		_, err := io.WriteString(ts.Stderr(), b.lines.Text()+"\n")
		ts.Check(err)
	}
	_ = b.cmd.Wait()
	if got := b.cmd.ProcessState.ExitCode(); got != number(ts, args[1], 0) {
		ts.Fatalf("exit code %d, want %s", got, args[1])
	}
}
