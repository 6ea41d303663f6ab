// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray/kubeyaml"
	"github.com/dray-tools/dray/oci"
)

// exited is the end of a program that dray was run for: its exit code is dray's.
type exited struct {
	name string
	code int
}

func (e exited) Error() string { return fmt.Sprintf("%s ended with exit code %d", e.name, e.code) }

// findKubectl looks for kubectl before anything is built for it.
func findKubectl() (string, error) {
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return "", hinted{oci.Errorf(oci.ErrNotFound, "kubectl is not on PATH"), "dray resolve prints what kubectl would get"}
	}
	return path, nil
}

// kubectl runs a command of kubectl and passes on what it says.
func (a *app) kubectl(ctx context.Context, path string, in io.Reader, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, a.Out, a.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
		return exited{"kubectl " + args[0], e.ExitCode()}
	}
	return oci.Wrap("", "kubectl "+args[0], err)
}

// pipe runs a command of kubectl on YAML. Without any it is not run.
func (a *app) pipe(ctx context.Context, path string, yaml []byte, verb string, args []string) error {
	if len(bytes.TrimSpace(yaml)) == 0 {
		a.note("there is nothing to %s", verb)
		return nil
	}
	return a.kubectl(ctx, path, bytes.NewReader(yaml), append([]string{verb, "-f", "-"}, args...)...)
}

// afterDash cuts the arguments behind -- off the list.
func afterDash(c *cobra.Command, list []string) (own, others []string) {
	if n := c.ArgsLenAtDash(); n >= 0 {
		return list[:n], list[n:]
	}
	return list, nil
}

// deleteObjects removes the objects of files: those that dray apply would apply.
// Nothing is built: which objects they are does not depend on their images.
func (a *app) deleteObjects(c *cobra.Command, m *manifestFlags, list []string) error {
	own, args := afterDash(c, list)
	if len(own) > 0 {
		return usage(c, errors.New("want REFERENCE, or -f FILE"))
	}
	kubectl, err := findKubectl()
	if err != nil {
		return err
	}
	files, err := m.read(a, c)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := kubeyaml.Write(&out, files, nil); err != nil {
		return err
	}
	return a.pipe(c.Context(), kubectl, out.Bytes(), "delete", args)
}
