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
	m := &manifestFlags{}
	cmd := &cobra.Command{
		Use:     "delete REFERENCE | -f FILE [-- ARGS]",
		Aliases: []string{"rm"},
		Short:   "Remove a tag, a manifest, or objects from Kubernetes",
		Long: `Remove a tag and leave the manifest and its other tags, where the registry
can do that. With --digest, or if REFERENCE is a digest, the manifest goes and
all tags that point at it go with it; --dry-run says which.

With -f it is kubectl delete with ARGS, for the objects that dray apply -f would
apply. Nothing is built, and references in them stay what they are.`,
		Example: "  dray delete localhost:5000/a:old\n  dray delete --digest --dry-run localhost:5000/a:old\n  dray delete -f config -l app=web",
	}
	f := cmd.Flags()
	f.BoolVar(&o.ByDigest, "digest", false, "remove the manifest and all its tags")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would go and remove nothing")
	sideFlags(f, &o.Side, "", "the registry")
	format := addFormat(f)
	m.add(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if len(m.files) > 0 {
			if o.DryRun || o.ByDigest {
				return usage(c, errors.New("-n and --digest go with REFERENCE; for -f there is -- --dry-run=client"))
			}
			return a.deleteObjects(c, m, list)
		}
		if err := args(1, 1)(c, list); err != nil {
			return err
		}
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
