// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
)

func (a *app) deleteCommand() *cobra.Command {
	var o dray.DeleteOptions
	cmd := &cobra.Command{
		Use:     "delete REFERENCE",
		Aliases: []string{"rm"},
		Short:   "Remove a tag, or with --digest the manifest with all its tags",
		Long: `Remove a tag and leave the manifest and its other tags, where the registry
can do that. With --digest, or if REFERENCE is a digest, the manifest goes and
all tags that point at it go with it; --dry-run says which.`,
		Example: "  dray delete localhost:5000/a:old\n  dray delete --digest --dry-run localhost:5000/a:old",
		Args:    args(1, 1),
	}
	f := cmd.Flags()
	f.BoolVar(&o.ByDigest, "digest", false, "remove the manifest and all its tags")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would go and remove nothing")
	sideFlags(f, &o.Side, "", "the registry")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		d, err := a.client.Delete(c.Context(), list[0], o)
		if errors.Is(err, oci.ErrUnsupported) && !o.ByDigest {
			return hinted{err, "dray delete --digest removes the manifest and all its tags"}
		}
		if err != nil {
			return err
		}
		if !format.text() {
			return format.print(a.Out, d)
		}
		verb := "removed"
		if o.DryRun {
			verb = "would remove"
		}
		if len(d.Tags) > 0 {
			a.note("%s %s", verb, strings.Join(d.Tags, ", "))
		}
		_, err = fmt.Fprintln(a.Out, resultLine(list[0], d.Digest))
		return err
	}
	return cmd
}
