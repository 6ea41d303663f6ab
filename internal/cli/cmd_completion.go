// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray/oci"
)

func completionCommand() *cobra.Command {
	shells := []string{"bash", "fish", "powershell", "zsh"}
	cmd := &cobra.Command{
		Use:   "completion bash|fish|powershell|zsh",
		Short: "Print what makes a shell complete dray's commands and flags",
		Example: `  source <(dray completion bash)
  dray completion zsh > "${fpath[1]}/_dray"
  dray completion fish > ~/.config/fish/completions/dray.fish`,
		ValidArgs:         shells,
		Args:              args(1, 1),
		PersistentPreRunE: noSetUp,
	}
	cmd.RunE = func(c *cobra.Command, list []string) error {
		out, root := c.OutOrStdout(), c.Root()
		switch list[0] {
		case "bash":
			return root.GenBashCompletionV2(out, true)
		case "fish":
			return root.GenFishCompletion(out, true)
		case "powershell":
			return root.GenPowerShellCompletionWithDesc(out)
		case "zsh":
			return root.GenZshCompletion(out)
		}
		return usage(c, oci.Errorf(oci.ErrInvalid, "no shell %s: want %s", oci.Quote(list[0]), strings.Join(shells, ", ")))
	}
	return cmd
}

// noSetUp is for commands that work without a client, and so whatever is wrong
// with the user's files.
func noSetUp(*cobra.Command, []string) error { return nil }
