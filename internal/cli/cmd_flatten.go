// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
)

func (a *app) flattenCommand() *cobra.Command {
	o := &dray.FlattenOptions{}
	cmd, flags := a.flattening("flatten IMAGE", "Make one layer of all layers", o, func(*pflag.FlagSet) {})
	cmd.Long = `Make one layer of all layers of an image, or of each image of an index: what
upper layers took away is gone, the files are the same. All else of the image
stays, but for annotations that say what its base is. The same layers give the same digest. Layers of Windows images become one
if only one of them changes the registry.

The layers are read; what became of them is remembered. Prints REPOSITORY@DIGEST.`
	cmd.Example = `  dray flatten registry.example/app:1 -t registry.example/app:flat
  dray flatten --compress zstd --platform linux/amd64 registry.example/app:1 -t oci:flat:1`
	cmd.RunE = func(c *cobra.Command, list []string) error { return a.flatten(c, list[0], o, flags) }
	return cmd
}

func (a *app) squashCommand() *cobra.Command {
	o := &dray.FlattenOptions{}
	cmd, flags := a.flattening("squash IMAGE", "Make one layer of the top layers", o, func(f *pflag.FlagSet) {
		f.VarP(layersFlag{&o.Top}, "layers", "n", "make one of the top `N` layers")
	})
	cmd.Long = `Make one layer of the top layers of an image, or of each image of an index,
which does what they did together: what it takes away of layers below stays
taken away. The layers below are not read, and stay as they are. -n is the
number of layers here, --dry-run has no short form.

Prints REPOSITORY@DIGEST.`
	cmd.Example = `  dray squash -n 3 registry.example/app:1 -t registry.example/app:squashed`
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if o.Top < 2 {
			return usage(c, errors.New("--layers: want 2 or more"))
		}
		return a.flatten(c, list[0], o, flags)
	}
	return cmd
}

// layersFlag is a number of layers.
type layersFlag struct{ n *int }

func (layersFlag) String() string { return "" }
func (layersFlag) Type() string   { return "int" }
func (l layersFlag) Set(s string) (err error) {
	if *l.n, err = strconv.Atoi(s); err != nil {
		err = errors.New("it is the number of layers; --dry-run has no short form here")
	}
	return err
}

// flattening is what both commands have.
func (a *app) flattening(use, short string, o *dray.FlattenOptions, own func(*pflag.FlagSet)) (*cobra.Command, *editFlags) {
	flags := &editFlags{}
	cmd := &cobra.Command{Use: use, Short: short, Args: args(1, 1)}
	f := cmd.Flags()
	own(f)
	f.Var(packingFlag{&o.Packing}, "compress", "how the new layer is packed: gzip, zstd, none or estargz, with :LEVEL if wanted")
	addPlatforms(f, flags)
	addEditFlags(f, flags, "IMAGE")
	return cmd, flags
}

func (a *app) flatten(c *cobra.Command, name string, o *dray.FlattenOptions, flags *editFlags) error {
	work := func() (*dray.Edited, error) {
		o.EditOptions = flags.EditOptions
		tell, done := a.showWork()
		defer done()
		o.Packs = func(name string, n int) { tell(name, 0, n) }
		return a.client.Flatten(c.Context(), name, *o)
	}
	return a.edit(c, flags, work, nil)
}
