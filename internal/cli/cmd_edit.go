// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

func (a *app) editCommand() *cobra.Command {
	o := &editFlags{}
	e := &editor{a: a}
	cmd := &cobra.Command{
		Use:   "edit config|manifest IMAGE",
		Short: "Change the JSON of a config or manifest in an editor",
		Long: `Open the config or manifest of an image, or an index, in $VISUAL or $EDITOR,
check what comes of it, and write that, byte for byte. If stdin is no terminal,
the new JSON is read from it. What does not pass the check is kept in a file.
If nothing was changed nothing is written, except to -t; nor is anything if the
tag has moved meanwhile.`,
		Example: `  dray edit config --platform linux/arm64 ghcr.io/a/b:1 -t ghcr.io/a/b:2
  dray config ghcr.io/a/b:1 | jq '.config.User = "1000"' | dray edit config ghcr.io/a/b:1`,
		Args: args(2, 2),
	}
	f := cmd.Flags()
	f.StringVar(&e.command, "editor", "", "edit with this `COMMAND`, also if stdin is no terminal")
	f.BoolVar(&e.pretty, "pretty", false, "show the JSON with line breaks; what had none has none afterwards")
	f.Var(platformsFlag{&o.Platforms}, "platform", "the image of this platform of an index")
	addEditFlags(f, o, "IMAGE")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		change := a.client.EditManifest
		switch list[0] {
		case "manifest":
		case "config":
			change = a.client.EditConfig
		default:
			return usage(c, errors.New("want edit config or edit manifest, not "+oci.Quote(list[0])))
		}
		if err := e.choose(); err != nil {
			return usage(c, err)
		}
		err := a.edit(c, o, func() (*dray.Edited, error) {
			return change(c.Context(), list[1], func(raw []byte) ([]byte, error) {
				now, err := e.change(c.Context(), raw)
				if errors.Is(err, errUnchanged) && (len(o.Targets) > 0 || o.MediaTypes != "") { // there is something to write
					return raw, nil
				}
				return now, err
			}, o.EditOptions)
		}, nil)
		return e.finish(err)
	}
	return cmd
}
