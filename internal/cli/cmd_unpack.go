// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/layer"
)

func (a *app) unpackCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	var o layer.UnpackOptions
	cmd := &cobra.Command{
		Use:   "unpack IMAGE DIR",
		Short: "Write the files of an image to a directory",
		Long: `Write the file system that the layers of an image make to DIR, which must not
be there yet or be empty. It is built beside DIR and renamed when it is
complete. Nothing outside of DIR is touched, whatever the layers say.

As root, owners, devices and set-user-ID bits are as in the image; as another
user the files are yours, and stderr says how many of what was left out.`,
		Example: `  dray unpack --platform linux/amd64 busybox rootfs
  sudo dray unpack ghcr.io/a/b:1 /var/lib/machines/b`,
		Args: args(2, 2),
	}
	f := cmd.Flags()
	f.Var(&platform, "platform", "this platform of an index")
	f.BoolVar(&o.NoOwner, "no-owner", false, "let the files be yours, also as root")
	f.Int64Var(&o.MaxBytes, "max-bytes", 0, "refuse images whose files have more than `N` bytes (default: 64 GiB)")
	sideFlags(f, &side, "", "the registry")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		r, err := a.client.Unpack(c.Context(), list[0], side, platform.p, list[1], o)
		if err != nil {
			return err
		}
		if !format.text() {
			return format.print(a.Out, r)
		}
		a.note("%s, %s", count(r.Files, "file"), size(r.Bytes))
		for _, line := range r.Notes() {
			a.note("%s", line)
		}
		return nil
	}
	return cmd
}
