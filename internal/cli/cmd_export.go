// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) exportCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	cmd := &cobra.Command{
		Use:   "export IMAGE [FILE]",
		Short: "Write the files of an image as one tar",
		Long: `Write the file system that the layers of an image make, as one tar, to FILE or
stdout. Directories come first, then files in the order of the layers; what a
layer removed is not there. Two exports of one image are the same bytes.`,
		Example: `  dray export --platform linux/amd64 busybox busybox.tar
  dray export ghcr.io/a/b:1 | tar t`,
		Args: args(1, 2),
	}
	cmd.Flags().Var(&platform, "platform", "this platform of an index")
	sideFlags(cmd.Flags(), &side, "", "the registry")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		write := func(w io.Writer) error { return a.client.Export(c.Context(), list[0], side, platform.p, w) }
		if len(list) == 2 && list[1] != "-" {
			return writeFile(list[1], write)
		}
		if isTerminal(a.Out) {
			return usage(c, errors.New("a terminal cannot show a tar: name a FILE or pipe it"))
		}
		return write(a.Out)
	}
	return cmd
}

// writeFile writes a file beside its place and moves it there when it is
// complete. What is no file, such as a pipe, is written at once.
func writeFile(path string, write func(io.Writer) error) (err error) {
	fi, err := os.Stat(path)
	switch {
	case err == nil && !fi.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	case err == nil:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	beside := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.dray-%s", filepath.Base(path), rand.Text()[:8]))
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			e.Path = path
		}
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return nil
}
