// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: args(0, 0), PersistentPreRunE: noSetUp}
	format := addFormat(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		v := map[string]string{"version": dray.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
		if !format.text() {
			return format.print(a.Out, v)
		}
		_, err := fmt.Fprintf(a.Out, "dray %s (%s, %s)\n", v["version"], v["go"], v["platform"])
		return err
	}
	return cmd
}
