// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) tagCommand() *cobra.Command {
	var side dray.Side
	cmd := &cobra.Command{
		Use:     "tag REFERENCE TAG...",
		Short:   "Give an image more tags in its repository",
		Example: "  dray tag ghcr.io/a/b:1.2.3 1.2 1 latest",
		Args:    args(2, -1),
	}
	sideFlags(cmd.Flags(), &side, "", "the registry")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		d, err := a.client.Tag(c.Context(), list[0], side, list[1:]...)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.Out, resultLine(list[0], d.Digest))
		return err
	}
	return cmd
}
