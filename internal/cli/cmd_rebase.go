// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/rebase"
)

func (a *app) rebaseCommand() *cobra.Command {
	var o dray.RebaseOptions
	var flags editFlags
	cmd := &cobra.Command{
		Use:   "rebase IMAGE",
		Short: "Move an image from its base to another one",
		Long: `Put an image on another base, as if it had been built on that: the base's
layers are replaced, and what the config has of the old base becomes what the
new base has. What the application has set itself stays: variables, what it put
before and after the base's PATH, labels, user and so on. No layer is moved that
the registry has, and none is read. Each image of an index goes on the base's
image of its platform.

The old base is the one of --old-base, else of the annotations that dray append
and others write, else of the label of buildpacks, else the tag whose layers are
the lowest of the image. All of its layers must be there. The new base is by
default what the name of the old one means now. The base annotations are renewed
where the image has them. The base scratch is empty. What an image says of its
base is only read from a registry, not from files or engines of this machine,
nor from a registry on loopback that is named nowhere else.

The report names variables without their values, which may be secrets.

Prints REPOSITORY@DIGEST; --dry-run also prints what came from where.`,
		Example: `  dray rebase registry.example/app:1
  dray rebase registry.example/app:1 --old-base debian:12.1 --new-base debian:12.2 -t registry.example/app:1.1
  dray rebase --deep --dry-run registry.example/app:1 --new-base mcr.example/windows/nanoserver:ltsc2025`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	f.StringVar(&o.OldBase, "old-base", "", "the image is made on `REF` (default: found)")
	f.StringVar(&o.NewBase, "new-base", "", "put it on `REF` (default: what the name of its base means now)")
	f.BoolVar(&o.Deep, "deep", false, "read the application's layers, to see what they do to the base")
	f.BoolVar(&o.Force, "force", false, "do it although it is likely not to work")
	addEditFlags(f, &flags, "IMAGE")
	addPlatforms(f, &flags)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		var r *dray.Rebased
		return a.edit(c, &flags, func() (*dray.Edited, error) {
			o.EditOptions = flags.EditOptions
			var err error
			if r, err = a.client.Rebase(c.Context(), list[0], o); err != nil {
				return nil, forceHint(err)
			}
			return r.Edited, nil
		}, func() ([]string, any) { return rebaseLines(r, flags.dryRun), r.Images })
	}
	return cmd
}

func forceHint(err error) error {
	if errors.Is(err, rebase.ErrRefused) {
		return hinted{err, "--force does it all the same"}
	}
	return err
}
