// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

// readCommand is a command that reads one thing of a registry.
func (a *app) readCommand(use, short, example string, platform *platformFlag, side *dray.Side) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: "  " + example, Args: args(1, 1)}
	if platform != nil {
		cmd.Flags().Var(platform, "platform", "this platform of an index")
	}
	sideFlags(cmd.Flags(), side, "", "the registry")
	return cmd
}

func (a *app) manifestCommand() *cobra.Command {
	var side dray.Side
	var p platformFlag
	cmd := a.readCommand("manifest REFERENCE", "Print a manifest or index, byte for byte", "dray manifest --platform linux/arm64 busybox | jq .layers", &p, &side)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		m, err := a.client.Manifest(c.Context(), list[0], side, p.p)
		if err == nil {
			_, err = a.Out.Write(m.Raw)
		}
		return err
	}
	return cmd
}

func (a *app) configCommand() *cobra.Command {
	var side dray.Side
	var p platformFlag
	cmd := a.readCommand("config REFERENCE", "Print the config of an image, byte for byte", "dray config --platform linux/arm64 busybox | jq .config.Env", &p, &side)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		raw, err := a.client.Config(c.Context(), list[0], side, p.p)
		if err == nil {
			_, err = a.Out.Write(raw)
		}
		return err
	}
	return cmd
}

func (a *app) blobCommand() *cobra.Command {
	var side dray.Side
	cmd := a.readCommand("blob REPOSITORY@DIGEST", "Print a blob, verified while it is read", "dray blob ghcr.io/a/b@sha256:… | tar tz", nil, &side)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		rc, _, err := a.client.Blob(c.Context(), list[0], side)
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.Copy(a.Out, rc)
		return err
	}
	return cmd
}

func (a *app) digestCommand() *cobra.Command {
	var side dray.Side
	var p platformFlag
	var full bool
	cmd := a.readCommand("digest REFERENCE", "Print the digest that a reference means now", "dray digest --full busybox:1.36", &p, &side)
	cmd.Flags().BoolVar(&full, "full", false, "print REPOSITORY@DIGEST")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		d, err := a.client.Resolve(c.Context(), list[0], side, p.p)
		if err != nil {
			return err
		}
		line := string(d.Digest)
		if full {
			line = resultLine(list[0], d.Digest)
		}
		_, err = fmt.Fprintln(a.Out, line)
		return err
	}
	return cmd
}
