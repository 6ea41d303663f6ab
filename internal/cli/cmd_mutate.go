// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
)

func (a *app) mutateCommand() *cobra.Command {
	o := &editFlags{}
	m := &mutateFlags{}
	cmd := &cobra.Command{
		Use:   "mutate IMAGE",
		Short: "Change the config and annotations of an image",
		Long: `Change what the config of an image says, and its annotations, without reading
its layers. Of an index all images are changed, or those of --platform. What
is not named keeps its bytes. Changes are made in the order of the flags.

--entrypoint, --cmd, --shell and --onbuild take a JSON list, or are repeated
with one word each; commas separate nothing, and one of them leaves the others
alone. '[]' or '' is the empty list, --unset takes the member out. What begins
with [ is a JSON list: the one word [x is written '["[x"]'.

--history sets created_by of a new line, --amend-history the comment of the
last one.

An annotation is one of the image's manifest, unless it begins with index: or
manifest-descriptor: (its entry in the index); manifest[linux/arm64]: is for
one platform. Docker's media types have none: --media-types oci gives others.

With -n it prints what would change, member by member, before the plan.

--time also changes the files in the layers: it reads them, and makes those new
that have later times. SOURCE_DATE_EPOCH is the time of "now"; if it is set, no
time in the config becomes later.`,
		Example: `  dray mutate -l org.example.team=a -e TZ=UTC ghcr.io/a/b:1 -t ghcr.io/a/b:2
  dray mutate --entrypoint '["/bin/sh","-c"]' --unset cmd ghcr.io/a/b:1
  dray mutate --platform linux/arm64 --set-platform linux/arm64/v9 ghcr.io/a/b:1
  dray mutate -a index:org.opencontainers.image.vendor=A ghcr.io/a/b:1`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	m.add(f, a.now)
	addPlatforms(f, o)
	addEditFlags(f, o, "IMAGE")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		mo, err := m.options(a.Getenv("SOURCE_DATE_EPOCH"))
		if err == nil && mo.nothing() && o.MediaTypes == "" {
			err = errors.New("nothing to change")
		}
		if err != nil {
			return usage(c, err)
		}
		tell, packed := a.showPacking()
		defer packed()
		return a.edit(c, o, func() (*dray.Edited, error) {
			defer packed()
			mo.EditOptions, mo.Packs = o.EditOptions, tell
			e, err := a.client.Mutate(c.Context(), list[0], mo.MutateOptions)
			return e, annotationHint(err)
		}, nil)
	}
	return cmd
}

// annotationHint says what helps where there are no annotations.
func annotationHint(err error) error {
	if errors.Is(err, edit.ErrNoAnnotations) {
		return hinted{err, "--media-types oci gives the result media types that have them"}
	}
	return err
}

// now is the time, or what SOURCE_DATE_EPOCH says it is.
func (a *app) now() (time.Time, error) {
	t, err := sourceDate(a.Getenv("SOURCE_DATE_EPOCH"))
	if err == nil && t.IsZero() {
		t = time.Now().Truncate(time.Second)
	}
	return t, err
}
