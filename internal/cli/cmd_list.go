// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) lsCommand() *cobra.Command {
	var side dray.Side
	var full bool
	cmd := &cobra.Command{
		Use:     "ls REPOSITORY",
		Aliases: []string{"tags"},
		Short:   "List the tags of a repository, sorted",
		Example: "  dray ls docker.io/library/busybox\n  dray ls oci:dir",
		Args:    args(1, 1),
	}
	cmd.Flags().BoolVar(&full, "full", false, "print whole references")
	sideFlags(cmd.Flags(), &side, "", "the registry")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		prefix := ""
		if full {
			prefix = list[0] + ":"
		}
		return a.printList(a.client.Tags(c.Context(), list[0], side), prefix)
	}
	return cmd
}

func (a *app) catalogCommand() *cobra.Command {
	var side dray.Side
	var full bool
	cmd := &cobra.Command{
		Use:     "catalog HOST",
		Short:   "List the repositories of a registry that allows it, sorted",
		Example: "  dray catalog localhost:5000",
		Args:    args(1, 1),
	}
	cmd.Flags().BoolVar(&full, "full", false, "print whole references")
	sideFlags(cmd.Flags(), &side, "", "the registry")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		prefix := ""
		if full {
			prefix = list[0] + "/"
		}
		return a.printList(a.client.Catalog(c.Context(), list[0], side), prefix)
	}
	return cmd
}

// printList prints one name a line.
func (a *app) printList(names iter.Seq2[string, error], prefix string) error {
	w := bufio.NewWriter(a.Out)
	for s, err := range names {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, prefix+printable(s))
	}
	return w.Flush()
}
