// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/transfer"
)

func (a *app) appendCommand() *cobra.Command {
	o := &appendFlags{}
	cmd := &cobra.Command{
		Use:   "append --base REF... --layer FILE... -t REF [REF...]",
		Short: "Put layers on images",
		Long: `Make images out of bases and new layers. Nothing of a base is moved that the
target's registry has, and no layer of it is read unless its links have to be
known: a file lib/x goes to usr/lib/x where lib is a link to that, and the link
stays. They need not be known below names at the top that no distribution has
and that neither config nor history of the base mention, if its history tells
of each layer what it did; --deep reads them always. For Windows bases layers
get the form that Windows needs.

A base that is an index gives an index of all its images; several bases give an
index of all of theirs, and --platform chooses. Arguments are bases too, so that
--base REPOSITORY:{A,B} is what it seems to be. The base scratch is empty, and
needs --platform.

A FILE is a tar, plain or packed with gzip, zstd, bzip2 or xz; - is stdin, and
REPOSITORY@DIGEST a layer of another image. Large layers are sent while they
are packed (a run that was killed begins such a layer anew), and what became of
one is remembered. The same inputs give the same image: unless --created or
SOURCE_DATE_EPOCH says otherwise, it is said to have been made when its base
was.

Prints REPOSITORY@DIGEST of the result.`,
		Example: `  dray append --base debian:12 --layer app.tar -t registry.example/app:1
  dray append --base scratch --platform linux/amd64 --dir ./app:/app --entrypoint /app -t oci:app:1
  dray append --base mcr.example/windows/nanoserver:{1809,ltsc2022} \
      --layer app.tar --entrypoint dotnet.exe -t registry.example/app:1`,
		Args: args(0, -1),
		RunE: func(c *cobra.Command, list []string) error {
			if err := o.add(list); err != nil {
				return usage(c, err)
			}
			return a.append(c, o)
		},
	}
	a.addAppendFlags(cmd.Flags(), o)
	return cmd
}

func (a *app) append(c *cobra.Command, o *appendFlags) error {
	if err := o.finish(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return usage(c, err)
	}
	tell, packed := a.showWork()
	defer packed()
	o.Packs = o.packs(tell)
	var e *dray.Edited
	err := a.edit(c, &o.edit, func() (_ *dray.Edited, err error) {
		defer packed()
		o.EditOptions = o.edit.EditOptions
		e, err = a.client.Append(c.Context(), o.AppendOptions)
		return e, annotationHint(err)
	}, nil)
	return foreignHint(err, e, o.BaseLayers)
}

// foreignHint says what may help where layers are kept elsewhere.
func foreignHint(err error, e *dray.Edited, base string) error {
	switch {
	case e == nil || !errors.Is(err, oci.ErrNotFound) && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrDenied):
	case base == dray.CopyBase:
		return hinted{err, "if a foreign layer is what is not found, the base's registry does not keep it: without --base-layers copy it stays where its URLs say"}
	case slices.ContainsFunc(e.Steps, func(s *transfer.Step) bool { return s.Why == "foreign" }):
		return hinted{err, "some registries refuse images with foreign layers; --base-layers copy copies those that the base's registry keeps"}
	}
	return err
}
