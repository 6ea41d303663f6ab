// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) referrersCommand() *cobra.Command {
	var side dray.Side
	var artifactType string
	cmd := &cobra.Command{
		Use:   "referrers REFERENCE",
		Short: "Show what refers to an image (signatures, SBOMs, attestations), as a tree",
		Long: `Show what refers to an image, to its platforms if it is an index, and to those
artifacts in turn, as a tree. dray cat REPOSITORY@DIGEST prints what one of them
holds; dray cat --artifact-type TYPE REFERENCE finds it too.`,
		Example: `  dray referrers ghcr.io/a/b:1
  dray referrers --artifact-type application/spdx+json ghcr.io/a/b:1
  dray cat ghcr.io/a/b@sha256:…`,
		Args: args(1, 1),
	}
	f := cmd.Flags()
	f.StringVar(&artifactType, "artifact-type", "", "only artifacts of `TYPE`, and what refers to them")
	sideFlags(f, &side, "", "the registry")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		r, tree, err := a.client.Referrers(c.Context(), list[0], side, artifactType)
		if err != nil {
			return err
		}
		if !format.text() {
			return format.print(a.Out, tree)
		}
		fmt.Fprintln(a.Out, r.WithDigest(tree.Digest))
		printTree(a.Out, tree, "")
		return nil
	}
	return cmd
}

func printTree(w io.Writer, t *dray.ReferrerTree, indent string) {
	for i, x := range t.Referrers {
		branch, more := "├── ", "│   "
		if i == len(t.Referrers)-1 {
			branch, more = "└── ", "    "
		}
		name := cmp.Or(x.Platform, x.ArtifactType, x.MediaType)
		fmt.Fprintf(w, "%s%s%s  %s  %s\n", indent, branch, x.Digest, printable(name), size(x.Size))
		printTree(w, x, indent+more)
	}
}
