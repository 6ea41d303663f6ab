// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// kubectlMain is kubectl as scripts have it: it says how it was called and keeps
// what it gets in the file $KUBECTL_IN, and ends with $KUBECTL_CODE.
func kubectlMain() int {
	fmt.Println("kubectl", strings.Join(os.Args[1:], " "))
	if path := os.Getenv("KUBECTL_IN"); path != "" && strings.Contains(strings.Join(os.Args, " "), " -f -") {
		in, err := io.ReadAll(os.Stdin)
		if err == nil {
			err = os.WriteFile(path, in, 0o600)
		}
		if err != nil {
			panic(err)
		}
	}
	code, _ := strconv.Atoi(os.Getenv("KUBECTL_CODE"))
	if code != 0 {
		fmt.Fprintln(os.Stderr, "error: the server says no")
	}
	return code
}

// goCache is where the go command of the tests keeps what it has compiled.
var goCache = sync.OnceValue(func() string {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return "off"
	}
	return strings.TrimSpace(string(out))
})

// Without kubectl nothing is built, and none is needed to print YAML.
func TestNoKubectl(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("a: 1\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args      string
		out, errs string
		code      int
	}{
		{"resolve -f a.yaml", "a: 1\r\n", "", 0},
		{"apply -f a.yaml", "", "dray: kubectl is not on PATH\nhint: dray resolve prints what kubectl would get\n", 3},
		{"create -f a.yaml", "", "dray: kubectl is not on PATH\nhint: dray resolve prints what kubectl would get\n", 3},
		{"delete -f a.yaml", "", "dray: kubectl is not on PATH\nhint: dray resolve prints what kubectl would get\n", 3},
		{"run ./cmd/app", "", "dray: kubectl is not on PATH\nhint: dray resolve prints what kubectl would get\n", 3},
	} {
		cmd := exec.Command(exe)
		cmd.Args = append([]string{"dray"}, strings.Fields(c.args)...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir, "HOME=" + dir, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run()
		if out.String() != c.out || errs.String() != c.errs || cmd.ProcessState.ExitCode() != c.code {
			t.Errorf("%s: exit code %d\n%s%s", c.args, cmd.ProcessState.ExitCode(), out.String(), errs.String())
		}
	}
}
